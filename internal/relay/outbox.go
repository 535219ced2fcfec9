package relay

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Publish sends one batch to a subject. It must not keep batch after it returns, and may block.
type Publish func(subject string, batch []byte) error

// gather is how long after a publish items wait for others that go the same way. Where little is sent nothing
// waits: the last publish was longer ago. Where thousands of streams go on at once it makes one message of many.
const gather = 500 * time.Microsecond

// outbox gathers encoded items per subject and publishes them from one goroutine: what is added
// while a publish is under way, or within gather of it, goes out in one batch after it.
type outbox struct {
	publish    Publish
	header     []byte // what each batch starts with
	maxBatch   int
	maxPending int
	published  func(subject string, items int, err error) // called without the lock

	mu      sync.Mutex
	dests   map[string]*dest
	order   []*dest // those with something pending, each once; served in turns
	pending int     // bytes in all batches
	free    [][]byte
	spare   []*dest
	wake    chan struct{} // 1 slot: there is something
	hurry   chan struct{} // 1 slot: it must not wait
}

type dest struct {
	subject string
	batches []batch // the last one still takes items
}

type batch struct {
	data  []byte
	items int
}

// maxFree bounds the buffers, and the destinations, kept for reuse.
const maxFree = 8

func newOutbox(publish Publish, header []byte, cfg *Config, published func(string, int, error)) *outbox {
	return &outbox{
		publish: publish, header: header, maxBatch: cfg.MaxBatch, maxPending: cfg.MaxPending, published: published,
		dests: map[string]*dest{}, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
	}
}

// add queues a copy of item. It never blocks; false means that too much is pending already and
// the item was dropped. An urgent one takes all that is pending with it at once.
func (o *outbox) add(subject string, item []byte, urgent bool) bool {
	o.mu.Lock()
	if o.pending+len(item) > o.maxPending {
		o.mu.Unlock()
		return false
	}
	first := len(o.order) == 0
	d := o.dests[subject]
	if d == nil {
		d = o.dest()
		d.subject = subject
		o.dests[subject] = d
		o.order = append(o.order, d)
	}
	n := len(d.batches)
	if n == 0 || len(d.batches[n-1].data)+len(item) > o.maxBatch {
		d.batches = append(d.batches, batch{data: append(o.buffer(), o.header...)})
		o.pending += len(o.header)
		n++
	}
	b := &d.batches[n-1]
	b.data = append(b.data, item...)
	b.items++
	o.pending += len(item)
	urgent = urgent || o.pending >= o.maxBatch
	o.mu.Unlock()

	if first {
		signal(o.wake)
	}
	if urgent {
		signal(o.hurry)
	}
	return true
}

func signal(slot chan<- struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

func (o *outbox) buffer() []byte {
	n := len(o.free)
	if n == 0 {
		return nil
	}
	b := o.free[n-1]
	o.free = o.free[:n-1]
	return b
}

func (o *outbox) dest() *dest {
	n := len(o.spare)
	if n == 0 {
		return &dest{}
	}
	d := o.spare[n-1]
	o.spare = o.spare[:n-1]
	return d
}

// run publishes until ctx ends, and then what is left.
func (o *outbox) run(ctx context.Context) {
	patience := time.NewTimer(gather)
	defer patience.Stop()
	for {
		o.flush()
		last := time.Now()
		select {
		case <-o.wake:
		case <-o.hurry: // what hurried is gone, or its wake follows
			continue
		case <-ctx.Done():
			o.flush()
			return
		}
		wait := gather - time.Since(last)
		if wait <= 0 || o.empty() { // the last flush took what the wake was for
			continue
		}
		patience.Reset(wait)
		select {
		case <-patience.C:
		case <-o.hurry:
		case <-ctx.Done():
		}
	}
}

func (o *outbox) empty() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.order) == 0
}

func (o *outbox) flush() {
	for {
		subject, b, ok := o.take()
		if !ok {
			return
		}
		err := o.publish(subject, b.data)
		o.published(subject, b.items, err)
		o.giveBack(b.data)
	}
}

// take removes the oldest batch of the next destination in turn.
func (o *outbox) take() (subject string, b batch, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.order) == 0 {
		return "", batch{}, false
	}
	d := o.order[0]
	o.order = slices.Delete(o.order, 0, 1)
	b, subject = d.batches[0], d.subject
	d.batches = slices.Delete(d.batches, 0, 1)
	o.pending -= len(b.data)
	if len(d.batches) > 0 {
		o.order = append(o.order, d)
		return subject, b, true
	}
	delete(o.dests, subject)
	if len(o.spare) < maxFree {
		o.spare = append(o.spare, d)
	}
	return subject, b, true
}

func (o *outbox) giveBack(buf []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.free) < maxFree {
		o.free = append(o.free, buf[:0])
	}
}
