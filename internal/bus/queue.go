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

	bus     *Bus
	metrics queueMetrics
	log     *slog.Logger

	mu        sync.Mutex
	handle    jetstream.Stream
	consumers map[string]*consumer // by key; as many as this process serves
	open      map[*Delivery[J]]struct{}

	pulls inboxes
	here  sync.Map // func(ack string, job *J) by subject: of Receive, for what this process forwards
}

func newQueue[J any](b *Bus, spec queueSpec[J]) *Queue[J] {
	return &Queue[J]{
		queueSpec: spec, bus: b, metrics: b.metrics.of(spec.name), log: b.log.With(slog.String("queue", spec.name)),
		consumers: map[string]*consumer{}, pulls: inboxes{room: mostPulled + 1}, open: map[*Delivery[J]]struct{}{},
	}
}

// ensure creates the stream; the owner updates one that is otherwise where the server allows. One that is as it should be
// is let alone: an update is written to disk, and races with consumers that are created meanwhile
// (https://github.com/nats-io/nats-server/pull/7700 took the lock between the two away).
func (q *Queue[J]) ensure(ctx context.Context) error {
	stream, err := q.bus.js.CreateStream(ctx, q.streamConfig())
	if q.bus.owner && errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		stream, err = q.bus.js.UpdateStream(ctx, q.streamConfig())
	}
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
	ack, err := q.bus.store(ctx, q.stream, msg)
	if lost(err) || isImmortal(err) {
		err = q.bus.request(ctx, func(ctx context.Context) (err error) {
			ack, err = q.mend(ctx, msg)
			return err
		})
	}
	if isFull(err) {
		err = ErrFull
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("publish %s job: %w", q.name, tooLarge(err))
	}
	if !ack.Duplicate {
		q.metrics.published.Inc()
	}
	return Receipt{Seq: ack.Sequence, Duplicate: ack.Duplicate}, nil
}

// mend publishes a message that the server has refused: what it lacks is made or left out.
func (q *Queue[J]) mend(ctx context.Context, msg *nats.Msg) (jetstream.PubAck, error) {
	if err := q.ensure(ctx); err != nil {
		return jetstream.PubAck{}, err
	}
	ack, err := q.bus.store(ctx, q.stream, msg)
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
			got, more, err := q.some(ctx, whole, key, left, yield)
			if left -= got; got > 0 {
				pause = backoffFirst
			}
			if err == nil && !more {
				return
			}
			if err == nil {
				continue
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

// some makes one pull request for up to n that lasts until the deadline of ctx, or until whole ends. There may be more
// if all that it asked for came.
func (q *Queue[J]) some(ctx, whole context.Context, key string, n int, yield func(*Delivery[J], error) bool) (got int, more bool, err error) {
	c, err := q.consumer(ctx, key)
	if errors.Is(ctx.Err(), context.Canceled) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	deadline, _ := ctx.Deadline()
	remaining := time.Until(deadline)
	if remaining <= 0 {
		return 0, false, nil
	}
	asked := min(n, mostPulled)
	came, left := 0, false // messages; the loop that we yield to
	take := func(m *nats.Msg, more bool) bool {
		came++
		if d := q.deliver(ctx, m); d != nil {
			got++
			d.More = more
			left = !yield(d, nil)
		}
		return !left
	}
	rest := func(m *nats.Msg) {
		if left {
			q.handBack(m)
		} else {
			take(m, false)
		}
	}
	err = q.pull(whole, c, pullRequest{Batch: asked, Expires: remaining}, take, rest)
	if left || ctx.Err() != nil {
		return got, false, nil
	}
	return got, came == asked, err
}

// deliver turns a message into a delivery that is kept alive, or drops it and returns nil.
func (q *Queue[J]) deliver(ctx context.Context, msg *nats.Msg) *Delivery[J] {
	from, err := originOf(msg.Reply)
	var job J
	if err == nil {
		job, err = q.decode(wire.Message{Header: msg.Header, Data: msg.Data})
	}
	if err != nil {
		q.metrics.undecodable.Inc()
		q.log.ErrorContext(ctx, "message is no job, dropped", slog.String("subject", msg.Subject), slog.Any("error", err))
		q.drop(ctx, msg)
		return nil
	}
	if from.deliveries > uint64(q.cfg.MaxDeliver) {
		q.metrics.exhausted.Inc()
		q.log.ErrorContext(ctx, "job dropped after its last delivery", slog.Uint64("seq", from.seq), slog.Int("max_deliver", q.cfg.MaxDeliver))
		q.drop(ctx, msg)
		return nil
	}
	d := q.inHand(job, from, msg.Reply)
	q.metrics.delivered.Inc()
	if d.Deliveries > 1 {
		q.metrics.redelivered.Inc()
	} else {
		q.metrics.wait.Observe(d.Queued.Seconds())
	}
	return d
}

// inHand makes the delivery of a job that is in this process's hands, and has it kept alive.
func (q *Queue[J]) inHand(job J, from origin, ack string) *Delivery[J] {
	d := &Delivery[J]{
		Job: job, Deliveries: int(from.deliveries), Last: from.deliveries >= uint64(q.cfg.MaxDeliver),
		Queued: max(0, time.Since(q.bus.clock.inward(from.published))), ack: ack, queue: q,
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open[d] = struct{}{}
	return d
}

func (q *Queue[J]) drop(ctx context.Context, msg *nats.Msg) {
	if err := q.bus.Publish(msg.Reply, ackDrop); err != nil {
		q.log.WarnContext(ctx, "message not dropped", slog.Any("error", err))
	}
}

func (q *Queue[J]) handBack(msg *nats.Msg) {
	if err := q.bus.Publish(msg.Reply, ackRetry); err != nil {
		q.log.Warn("job not handed back, it comes again after ack_wait", slog.Any("error", err))
	}
}

func (q *Queue[J]) forget(d *Delivery[J]) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.open, d)
}

func (q *Queue[J]) consumer(ctx context.Context, key string) (*consumer, error) {
	q.mu.Lock()
	c, ok := q.consumers[key]
	q.mu.Unlock()
	if ok {
		return c, nil
	}
	cfg := q.consumerConfig(key)
	create := func() error {
		_, err := q.bus.js.CreateOrUpdateConsumer(ctx, q.stream, cfg)
		return err
	}
	err := create()
	if lost(err) {
		if err = q.ensure(ctx); err == nil {
			err = create()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("create consumer of %s: %w", key, err)
	}
	c = &consumer{subject: jetstream.DefaultAPIPrefix + "CONSUMER.MSG.NEXT." + q.stream + "." + cfg.Durable}
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
			if err := d.KeepAlive(); err != nil && !errors.Is(err, ErrSettled) {
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
