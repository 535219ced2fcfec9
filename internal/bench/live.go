package bench

import (
	"sync"
	"time"
)

// Snapshot is the state of a run at one moment.
type Snapshot struct {
	Elapsed   time.Duration
	Planned   int // requests
	Sent      int
	Waiting   int // in flight without a token
	Streaming int // in flight with a token
	Completed int
	Failed    int
	Events    int // with tokens, so far; at most as many as tokens

	Recent []time.Duration // gaps between tokens since the snapshot before
	Since  time.Duration   // time since then
	Done   bool            // the last one
}

// live counts what goes on for those who watch. It is safe for concurrent use.
type live struct {
	on bool // somebody watches

	mu   sync.Mutex
	now  Snapshot
	gaps []time.Duration
	last time.Duration // Elapsed of the snapshot before
}

func newLive(planned int, on bool) *live { return &live{on: on, now: Snapshot{Planned: planned}} }

func (l *live) update(f func(s *Snapshot)) {
	if !l.on {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.now)
}

func (l *live) sent() { l.update(func(s *Snapshot) { s.Sent++; s.Waiting++ }) }

func (l *live) first() {
	l.update(func(s *Snapshot) { s.Waiting--; s.Streaming++; s.Events++ })
}

func (l *live) gap(d time.Duration) {
	l.update(func(s *Snapshot) { s.Events++; l.gaps = append(l.gaps, d) })
}

// unsent counts a request that failed before it was sent.
func (l *live) unsent() { l.update(func(s *Snapshot) { s.Failed++ }) }

func (l *live) ended(spoke, failed bool) {
	l.update(func(s *Snapshot) {
		if spoke {
			s.Streaming--
		} else {
			s.Waiting--
		}
		if failed {
			s.Failed++
		} else {
			s.Completed++
		}
	})
}

// snapshot takes the gaps too.
func (l *live) snapshot(elapsed time.Duration) Snapshot {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.now
	s.Elapsed, s.Since, s.Recent = elapsed, elapsed-l.last, l.gaps
	l.gaps, l.last = nil, elapsed
	return s
}

// watch calls opts.Progress until the function that it returns is called; that makes the last call.
func (l *live) watch(begun time.Time, opts Options) (stop func()) {
	if !l.on {
		return func() {}
	}
	interval := opts.Interval
	if interval <= 0 {
		interval = time.Second
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				opts.Progress(l.snapshot(time.Since(begun)))
			case <-end:
				s := l.snapshot(time.Since(begun))
				s.Done = true
				opts.Progress(s)
				return
			}
		}
	}()
	return func() { close(end); <-ended }
}
