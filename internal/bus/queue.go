package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Receipt says where a published job is.
type Receipt struct {
	Seq       uint64 // in the stream, for Remove
	Duplicate bool   // the same try was published before; Seq is that one's
}

// Depth is what a queue holds, delivered and unfinished jobs included.
type Depth struct {
	Messages uint64
	Bytes    uint64
	Oldest   time.Duration // age of the first job; 0: empty
}

// maxAckPending never binds before the stream's own limit on jobs.
const maxAckPending = 1 << 20

// queueSpec is all in which the queues differ.
type queueSpec[J any] struct {
	name, stream, subjects string

	cfg      QueueConfig
	maxBytes int64
	filter   func(key string) string // what Fetch's key selects
	pinned   bool                    // one process at a time gets the jobs of a key
	fleeting bool                    // a key that nobody fetches any more is forgotten
	subject  func(*J) string
	void     func(*J) time.Time // when the server is to remove the job, whoever holds it; nil or zero: at MaxAge
	encode   func(*J) (wire.Message, error)
	decode   func(wire.Message) (J, error)
}

const (
	// pinGroup is the only priority group of pinned consumers.
	pinGroup = "dispatch"
	// pinTTL is how long the pinned process may go without asking for jobs before another is pinned.
	pinTTL = 2 * time.Second
	// fleetingAfter is when the server removes the consumer of a key that nobody fetches.
	fleetingAfter = 10 * time.Minute
)

// Queue is a durable work queue of jobs: a job leaves it when a delivery of it is settled. Its
// methods are safe for concurrent use.
type Queue[J any] struct {
	queueSpec[J]

	bus *Bus
	log *slog.Logger

	mu        sync.Mutex
	handle    jetstream.Stream
	consumers map[string]jetstream.Consumer // by key; as many as this process serves
	open      map[*Delivery[J]]struct{}

	here sync.Map // func(ack string, job *J) by subject: of Receive, for what this process forwards
}

func newQueue[J any](b *Bus, spec queueSpec[J]) *Queue[J] {
	return &Queue[J]{
		queueSpec: spec, bus: b, log: b.log.With(slog.String("queue", spec.name)),
		consumers: map[string]jetstream.Consumer{}, open: map[*Delivery[J]]struct{}{},
	}
}

// ensure creates the stream; the owner updates one that exists where the server allows.
func (q *Queue[J]) ensure(ctx context.Context) error {
	create := q.bus.js.CreateStream
	if q.bus.owner {
		create = q.bus.js.CreateOrUpdateStream
	}
	stream, err := create(ctx, q.streamConfig())
	if err != nil {
		existing, e := q.bus.js.Stream(ctx, q.stream)
		if e != nil {
			return fmt.Errorf("create stream %s: %w", q.stream, err)
		}
		if r := existing.CachedInfo().Config.Retention; r != jetstream.WorkQueuePolicy {
			return fmt.Errorf("stream %s exists with retention %v, want a work queue; delete it: %w", q.stream, r, err)
		}
		q.bus.keptAsItIs(ctx, q.stream, err)
		stream = existing
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.handle = stream
	return nil
}

// streamConfig is the stream as the settings want it.
func (q *Queue[J]) streamConfig() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:       q.stream,
		Subjects:   []string{q.subjects},
		Retention:  jetstream.WorkQueuePolicy,
		Discard:    jetstream.DiscardNew,
		MaxMsgs:    q.cfg.MaxMsgs,
		MaxBytes:   q.maxBytes,
		MaxAge:     q.cfg.MaxAge,
		Duplicates: q.cfg.duplicates(),
		Storage:    q.bus.cfg.storage(),
		Replicas:   q.bus.cfg.Replicas,

		AllowMsgTTL: true, // a server does not take that back
	}
}

// Publish stores a job and returns when the server has it. Errors: ErrFull when a limit of the
// queue refuses it, ErrTooLarge when its body must go to PutBody first. After any other error the
// job may or may not be stored; publishing it again with the same attempt cannot make it two.
func (q *Queue[J]) Publish(ctx context.Context, job *J) (Receipt, error) {
	m, err := q.encode(job)
	if err != nil {
		return Receipt{}, err
	}
	msg := &nats.Msg{Subject: q.subject(job), Header: nats.Header(m.Header), Data: m.Data}
	if q.void != nil {
		if at := q.void(job); !at.IsZero() {
			msg.Header.Set(jetstream.MsgTTLHeader, lifetime(time.Until(at)))
		}
	}
	if size := msg.Size() - len(msg.Subject); size > q.bus.MaxPayload() {
		return Receipt{}, fmt.Errorf("publish %s job of %d bytes, %d allowed: %w", q.name, size, q.bus.MaxPayload(), ErrTooLarge)
	}
	var ack *jetstream.PubAck
	err = q.bus.request(ctx, func(ctx context.Context) (err error) {
		ack, err = q.put(ctx, msg)
		return err
	})
	if isFull(err) {
		err = ErrFull
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("publish %s job: %w", q.name, tooLarge(err))
	}
	if !ack.Duplicate {
		q.bus.metrics.published.WithLabelValues(q.name).Inc()
	}
	return Receipt{Seq: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// put publishes once; what the server lacks for it is made or left out.
func (q *Queue[J]) put(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	ack, err := q.bus.store(ctx, q.stream, msg)
	if lost(err) {
		if err = q.ensure(ctx); err == nil {
			ack, err = q.bus.store(ctx, q.stream, msg)
		}
	}
	if isImmortal(err) {
		msg.Header.Del(jetstream.MsgTTLHeader)
		ack, err = q.bus.store(ctx, q.stream, msg)
	}
	return ack, err
}

// lifetime is a message's time to live as the server takes it: whole seconds, one or more.
func lifetime(d time.Duration) string {
	const least = time.Second
	return max(least, (d + least - 1).Truncate(least)).String()
}

// isImmortal tells whether the stream is of a time before baton gave its messages a time to live, and no frontend
// has updated it yet.
func isImmortal(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == 10166
}

// isFull tells whether a limit of the stream or the server refused a message.
func isFull(err error) bool {
	api, ok := errors.AsType[*jetstream.APIError](err)
	if !ok {
		return false
	}
	switch api.ErrorCode {
	case 10023, 10028, 10047: // insufficient resources, memory, storage
		return true
	case 10077: // the store refused, and says why
		return strings.Contains(api.Description, "maximum messages") || strings.Contains(api.Description, "maximum bytes")
	default:
		return false
	}
}

func (q *Queue[J]) current() jetstream.Stream {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.handle
}

// Fetch yields up to n jobs of key (a model of prefill jobs, the worker of decode jobs) as they come,
// and ends after n, soon after wait, when ctx ends or with an error; a job that was under way when ctx
// ended may still be yielded, or comes again after ack_wait. Who breaks off early hands back what came
// meanwhile. Jobs are kept alive only once yielded, so a loop body with n > 1 must not block for long.
// Of prefill jobs one process at a time gets all there are of a model: the one that fetched first, as
// long as it calls Fetch or Hold more often than every two seconds. Fetch creates the key's consumer on
// first use, creates it again when it is lost, and yields an error only if that, or whatever else went
// wrong, lasts until wait is over.
func (q *Queue[J]) Fetch(ctx context.Context, key string, n int, wait time.Duration) iter.Seq2[*Delivery[J], error] {
	return func(yield func(*Delivery[J], error) bool) {
		whole := ctx
		ctx, cancel := context.WithTimeout(whole, wait)
		defer cancel()
		left := n
		for pause := backoffFirst; left > 0 && ctx.Err() == nil; pause = min(2*pause, backoffMost) {
			got, err := q.pull(ctx, whole, key, left, yield)
			if left -= got; got > 0 {
				pause = backoffFirst
			}
			if err == nil {
				return
			}
			if errors.Is(err, jetstream.ErrPinIDMismatch) {
				continue // another may have been pinned; the client has dropped its pin and asks as anyone
			}
			q.forgetConsumer(key)
			if !transient(err) {
				yield(nil, fmt.Errorf("fetch %s jobs: %w", q.name, err))
				return
			}
			q.log.WarnContext(ctx, "fetch interrupted", slog.Any("error", err))
			if sleep(ctx, pause) != nil {
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					yield(nil, fmt.Errorf("fetch %s jobs: %w", q.name, err))
				}
				return
			}
		}
	}
}

// patient is a context with a deadline that ends later: the server is to end a pull request at the
// deadline, and to say so after the last job. Who left before it did would lose the jobs that are on
// their way for a whole ack_wait.
type patient struct {
	context.Context //nolint:containedctx // it is one

	deadline time.Time
}

func (p patient) Deadline() (time.Time, bool) { return p.deadline, true }

// untilDeadline is a patient ctx for jetstream.FetchContext, which has the server end a request a tenth
// of the time, and at most a second, before the deadline.
func untilDeadline(ctx context.Context, remaining time.Duration) context.Context {
	return patient{ctx, time.Now().Add(remaining + min(remaining/9, time.Second))}
}

// pull makes one pull request of n that lasts until the deadline of ctx, or until whole ends. Without
// an error there is nothing more to fetch now.
func (q *Queue[J]) pull(ctx, whole context.Context, key string, n int, yield func(*Delivery[J], error) bool) (got int, err error) {
	consumer, err := q.consumer(ctx, key)
	if errors.Is(ctx.Err(), context.Canceled) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	deadline, _ := ctx.Deadline()
	remaining := time.Until(deadline)
	if remaining <= 0 {
		return 0, nil
	}
	asking, cancel := context.WithCancel(whole)
	defer cancel()
	opts := []jetstream.FetchOpt{jetstream.FetchContext(untilDeadline(asking, remaining))}
	if q.pinned {
		opts = append(opts, jetstream.FetchPriorityGroup(pinGroup))
	}
	batch, err := consumer.Fetch(n, opts...)
	if err != nil && ctx.Err() != nil {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	for msg := range batch.Messages() {
		d := q.deliver(ctx, msg)
		if d == nil {
			continue
		}
		got++
		if !yield(d, nil) {
			cancel()
			for msg := range batch.Messages() {
				q.handBack(msg)
			}
			return got, nil
		}
	}
	if ctx.Err() != nil {
		return got, nil
	}
	return got, batch.Error()
}

// deliver turns a message into a delivery that is kept alive, or drops it and returns nil.
func (q *Queue[J]) deliver(ctx context.Context, msg jetstream.Msg) *Delivery[J] {
	meta, err := msg.Metadata()
	var job J
	if err == nil {
		job, err = q.decode(wire.Message{Header: msg.Headers(), Data: msg.Data()})
	}
	if err != nil {
		q.bus.metrics.undecodable.WithLabelValues(q.name).Inc()
		q.log.ErrorContext(ctx, "message is no job, dropped", slog.String("subject", msg.Subject()), slog.Any("error", err))
		q.drop(ctx, msg)
		return nil
	}
	if meta.NumDelivered > uint64(q.cfg.MaxDeliver) {
		q.bus.metrics.exhausted.WithLabelValues(q.name).Inc()
		q.log.ErrorContext(ctx, "job dropped after its last delivery", slog.Uint64("seq", meta.Sequence.Stream), slog.Int("max_deliver", q.cfg.MaxDeliver))
		q.drop(ctx, msg)
		return nil
	}
	d := q.inHand(job, meta.NumDelivered, meta.Timestamp, msg.Reply(), msg)
	q.bus.metrics.delivered.WithLabelValues(q.name).Inc()
	if d.Deliveries > 1 {
		q.bus.metrics.redelivered.WithLabelValues(q.name).Inc()
	} else {
		q.bus.metrics.wait.WithLabelValues(q.name).Observe(d.Queued.Seconds())
	}
	return d
}

// inHand makes the delivery of a job that is in this process's hands, and has it kept alive.
func (q *Queue[J]) inHand(job J, deliveries uint64, published time.Time, ack string, msg message) *Delivery[J] {
	d := &Delivery[J]{
		Job: job, Deliveries: int(deliveries), Last: deliveries >= uint64(q.cfg.MaxDeliver),
		Queued: max(0, time.Since(q.bus.clock.inward(published))), ack: ack, msg: msg, queue: q,
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open[d] = struct{}{}
	return d
}

func (q *Queue[J]) drop(ctx context.Context, msg jetstream.Msg) {
	if err := msg.Term(); err != nil {
		q.log.WarnContext(ctx, "message not dropped", slog.Any("error", err))
	}
}

func (q *Queue[J]) handBack(msg jetstream.Msg) {
	if err := msg.Nak(); err != nil {
		q.log.Warn("job not handed back, it comes again after ack_wait", slog.Any("error", err))
	}
}

func (q *Queue[J]) forget(d *Delivery[J]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.open, d)
}

func (q *Queue[J]) consumer(ctx context.Context, key string) (jetstream.Consumer, error) {
	q.mu.Lock()
	c, ok := q.consumers[key]
	q.mu.Unlock()
	if ok {
		return c, nil
	}
	create := func() (jetstream.Consumer, error) {
		return q.bus.js.CreateOrUpdateConsumer(ctx, q.stream, q.consumerConfig(key))
	}
	c, err := create()
	if lost(err) {
		if err = q.ensure(ctx); err == nil {
			c, err = create()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create consumer of %s: %w", key, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.consumers[key] = c
	return c, nil
}

func (q *Queue[J]) consumerConfig(key string) jetstream.ConsumerConfig {
	cfg := jetstream.ConsumerConfig{
		Durable:       wire.Token(key),
		FilterSubject: q.filter(key),
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       q.cfg.AckWait,
		MaxDeliver:    -1, // deliver counts: a message past the server's own limit stays in the stream unseen
		MaxAckPending: maxAckPending,
		Replicas:      q.bus.cfg.Replicas,
	}
	if q.pinned {
		cfg.PriorityPolicy, cfg.PriorityGroups, cfg.PinnedTTL = jetstream.PriorityPolicyPinned, []string{pinGroup}, pinTTL
	}
	if q.fleeting {
		cfg.InactiveThreshold = fleetingAfter
	}
	return cfg
}

func (q *Queue[J]) forgetConsumer(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.consumers, key)
}

// keepAlive tells the server three times per ack_wait that the open deliveries are in hand.
func (q *Queue[J]) keepAlive(ctx context.Context) {
	ticker := time.NewTicker(q.cfg.AckWait / 3)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		failed := 0
		var last error
		for _, d := range q.held() {
			if err := d.KeepAlive(); err != nil && !errors.Is(err, ErrSettled) && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
				failed, last = failed+1, err
			}
		}
		if failed > 0 {
			q.log.WarnContext(ctx, "deliveries not kept alive", slog.Int("count", failed), slog.Any("error", last))
		}
	}
}

func (q *Queue[J]) held() []*Delivery[J] {
	q.mu.Lock()
	defer q.mu.Unlock()
	held := make([]*Delivery[J], 0, len(q.open))
	for d := range q.open {
		held = append(held, d)
	}
	return held
}
