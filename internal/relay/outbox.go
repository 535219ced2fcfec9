package relay

import (
	"context"
	"sync"
)

// Publish sends one batch to a subject. It must not keep batch after it returns, and may block.
type Publish func(subject string, batch []byte) error

// outbox gathers encoded items per subject and publishes them from one goroutine: what is added
// while a publish is under way goes out in one batch after it.
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
	wake    chan struct{} // 1 slot
}

type dest struct {
	subject string
	batches []batch // the last one still takes items
}

type batch struct {
	data  []byte
	items int
}

// maxFree bounds the buffers kept for reuse.
const maxFree = 8

func newOutbox(publish Publish, header []byte, cfg *Config, published func(string, int, error)) *outbox {
	return &outbox{
		publish: publish, header: header, maxBatch: cfg.MaxBatch, maxPending: cfg.MaxPending, published: published,
		dests: map[string]*dest{}, wake: make(chan struct{}, 1),
	}
}

// add queues a copy of item. It never blocks; false means that too much is pending already and
// the item was dropped.
func (o *outbox) add(subject string, item []byte) bool {
	o.mu.Lock()
	if o.pending+len(item) > o.maxPending {
		o.mu.Unlock()
		return false
	}
	d := o.dests[subject]
	if d == nil {
		d = &dest{subject: subject}
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
	o.mu.Unlock()

	select {
	case o.wake <- struct{}{}:
	default:
	}
	return true
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

// run publishes until ctx ends, and then what is left.
func (o *outbox) run(ctx context.Context) {
	for {
		o.flush()
		select {
		case <-o.wake:
		case <-ctx.Done():
			o.flush()
			return
		}
	}
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
	o.order = o.order[1:]
	b = d.batches[0]
	d.batches = d.batches[1:]
	o.pending -= len(b.data)
	if len(d.batches) > 0 {
		o.order = append(o.order, d)
	} else {
		delete(o.dests, d.subject)
	}
	return d.subject, b, true
}

func (o *outbox) giveBack(buf []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.free) < maxFree {
		o.free = append(o.free, buf[:0])
	}
}
