package relay

import (
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Near knows the frontends of this process, so that the frames of the workers beside them need no message. The zero
// value knows none; a nil one never does. It is safe for concurrent use.
type Near struct{ receivers sync.Map } // *Receiver by frontend

// Add has the frames for r's frontend go to r by a call, until remove is called.
func (n *Near) Add(r *Receiver) (remove func()) {
	n.receivers.Store(r.frontend, r)
	return func() { n.receivers.CompareAndDelete(r.frontend, r) }
}

func (n *Near) find(frontend string) *Receiver {
	if n == nil {
		return nil
	}
	r, ok := n.receivers.Load(frontend)
	if !ok {
		return nil
	}
	return r.(*Receiver)
}

// deliver takes the next frame of a run of a worker in this process, and tells whether it has it and whether the client
// has all up to it. Nothing of that is acknowledged by message. A frame that it does not take goes the way of all
// others, and is answered there.
func (r *Receiver) deliver(worker string, f *wire.Frame, alone bool, now time.Time) (received, consumed bool) {
	in := r.lookup(RunID{Worker: worker, Run: f.Run}, f.Stream)
	if in == nil {
		return false, false
	}
	in.order.Lock()
	defer in.order.Unlock()
	in.mu.Lock()
	if !in.cancelled.IsZero() || f.Seq != in.next {
		in.mu.Unlock()
		return false, false
	}
	r.enter(in, f)
	in.heard, in.near = now, true
	in.mu.Unlock()
	keep := in.sink.Frame(in.id, *f, alone)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.near = false
	if !keep && in.cancelled.IsZero() {
		r.cancel(in)
	}
	if in.consumed < in.next {
		return true, false
	}
	in.unacked = 0
	return true, true
}
