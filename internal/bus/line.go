package bus

import (
	"context"
	"sync"
)

// line is the connection between two losses of it. The zero value is ready.
type line struct {
	mu    sync.Mutex
	holds context.Context //nolint:containedctx // it is the line; nil: nobody has asked
	cut   context.CancelFunc
}

// until is a ctx that ends when the connection is lost the next time. The caller calls end.
func (l *line) until(ctx context.Context) (_ context.Context, end func()) {
	l.mu.Lock()
	if l.holds == nil {
		l.holds, l.cut = context.WithCancel(context.Background())
	}
	holds := l.holds
	l.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	unhook := context.AfterFunc(holds, cancel)
	return ctx, func() {
		unhook()
		cancel()
	}
}

// lost ends what until made.
func (l *line) lost() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holds != nil {
		l.cut()
		l.holds, l.cut = nil, nil
	}
}
