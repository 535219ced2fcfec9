package bus

import "sync"

// line is the connection between two losses of it. The zero value is ready.
type line struct {
	mu   sync.Mutex
	held map[*hold]struct{}
}

// hold is one who waits for what does not come once the connection is lost.
type hold struct{ cut func() }

// hold has h cut when the connection is lost the next time. The caller releases it.
func (l *line) hold(h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[*hold]struct{}{}
	}
	l.held[h] = struct{}{}
}

// release tells whether the connection was lost meanwhile.
func (l *line) release(h *hold) (lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, whole := l.held[h]
	delete(l.held, h)
	return !whole
}

// lost cuts all that hold.
func (l *line) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for h := range l.held {
		h.cut()
	}
	clear(l.held)
}
