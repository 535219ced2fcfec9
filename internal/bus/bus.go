// Package bus is the only code that speaks NATS: the connection, the two work queues, the bucket
// for large bodies, and plain publish, subscribe and request. What the messages say is wire's;
// who fetches, orders or retries is the stages'.
package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Errors that callers decide by.
var (
	ErrNoJetStream = errors.New("the NATS server has no JetStream")
	ErrNoResponder = errors.New("nobody answers on this subject")
	ErrFull        = errors.New("queue is full")
	ErrTooLarge    = errors.New("message is larger than the NATS server takes")
)

// RemoteError is the other side's own word why it has no answer.
type RemoteError string

// Error returns the other side's text.
func (e RemoteError) Error() string { return string(e) }

// Bus is one process's connection to NATS. Its methods are safe for concurrent use.
type Bus struct {
	cfg     Config
	nc      *nats.Conn
	js      jetstream.JetStream
	log     *slog.Logger
	metrics *metrics
	prefill *Queue[wire.PrefillJob]
	decode  *Queue[wire.DecodeJob]
	bodies  atomic.Pointer[jetstream.ObjectStore]
	owner   bool                  // of what is at the server: it updates what exists
	denied  atomic.Pointer[error] // the server's last word on a missing permission

	clock  clock
	skewed atomic.Bool // and the log has it
	line   line
	local  sync.Map // func(data []byte) by subject: of SubscribeOwn

	answers inboxes // of exchange
	acks    acks

	stop   context.CancelFunc // ends the keep-alive goroutines
	owned  sync.WaitGroup
	closed chan struct{} // the connection is closed for good
}

// Dial connects the process called name (Config.Name goes first) as Connect does, but leaves what is at
// the server alone: for a process that listens and asks, and has no queues. The caller must Close the bus.
func Dial(ctx context.Context, cfg Config, name string, inproc nats.InProcessConnProvider, reg prometheus.Registerer, log *slog.Logger) (*Bus, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.ConnectTimeout, fmt.Errorf("no success within nats.connect_timeout %v", cfg.ConnectTimeout))
	defer cancel()
	b := &Bus{
		cfg: cfg, log: log, metrics: newMetrics(reg), stop: func() {}, closed: make(chan struct{}), clock: clock{now: time.Now},
		answers: inboxes{room: 2}, // an answer, and the loss of the connection
	}
	b.acks.bus = b
	if err := b.dial(ctx, cmp.Or(cfg.Name, name), inproc); err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", cfg.where(inproc), err)
	}
	return b, nil
}

// Connect connects the process called name (Config.Name goes first), to inproc if that is not nil, and
// creates or updates the streams and the bucket: it is of the kind whose settings count, a frontend. It
// tries until it works, Config.ConnectTimeout is over or ctx ends. Afterwards a lost connection comes back
// by itself. The caller must Close the bus.
func Connect(ctx context.Context, cfg Config, name string, inproc nats.InProcessConnProvider, reg prometheus.Registerer, log *slog.Logger) (*Bus, error) {
	return connect(ctx, cfg, name, true, inproc, reg, log)
}

// Join is Connect for everyone else: it creates what is missing, and takes what exists as it is.
func Join(ctx context.Context, cfg Config, name string, inproc nats.InProcessConnProvider, reg prometheus.Registerer, log *slog.Logger) (*Bus, error) {
	return connect(ctx, cfg, name, false, inproc, reg, log)
}

func connect(ctx context.Context, cfg Config, name string, owner bool, inproc nats.InProcessConnProvider, reg prometheus.Registerer, log *slog.Logger) (*Bus, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.ConnectTimeout, fmt.Errorf("no success within nats.connect_timeout %v", cfg.ConnectTimeout))
	defer cancel()
	b, err := Dial(ctx, cfg, name, inproc, reg, log)
	if err != nil {
		return nil, err
	}
	b.owner = owner
	b.prefill, b.decode = b.queues()
	if err := b.open(ctx); err != nil {
		b.nc.Close()
		<-b.closed
		if errors.Is(err, ErrNoJetStream) {
			return nil, fmt.Errorf("the NATS server at %s has no JetStream; start it with `nats-server -js`: %w", cfg.where(inproc), err)
		}
		return nil, fmt.Errorf("prepare JetStream at %s: %w", cfg.where(inproc), err)
	}
	reg.MustRegister(newDepthCollector(prefillQueue, b.prefill.Stats), newDepthCollector(decodeQueue, b.decode.Stats))
	ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.owned.Go(func() { b.prefill.keepAlive(ctx) })
	b.owned.Go(func() { b.decode.keepAlive(ctx) })
	b.owned.Go(func() { b.keepTime(ctx) })
	return b, nil
}

// queues are both queues of the bus; nothing of them need be at the server yet.
func (b *Bus) queues() (*Queue[wire.PrefillJob], *Queue[wire.DecodeJob]) {
	cfg := &b.cfg
	encodePrefill, decodePrefill := timed(&b.clock, wire.PrefillJob.At, (*wire.PrefillJob).Encode, wire.DecodePrefillJob)
	encodeDecode, decodeDecode := timed(&b.clock, wire.DecodeJob.At, (*wire.DecodeJob).Encode, wire.DecodeDecodeJob)
	prefill := newQueue(b, queueSpec[wire.PrefillJob]{
		name: prefillQueue, stream: wire.PrefillStream, subjects: wire.PrefillSubjects, cfg: cfg.Prefill,
		maxBytes: cfg.maxBytes(cfg.Prefill.MaxBytes, 1<<30, 4<<30),
		filter:   wire.PrefillFilter, pinned: true,
		subject: func(j *wire.PrefillJob) string { return wire.PrefillSubject(j.Model, j.Class) },
		encode:  encodePrefill, decode: decodePrefill,
	})
	decode := newQueue(b, queueSpec[wire.DecodeJob]{
		name: decodeQueue, stream: wire.DecodeStream, subjects: wire.DecodeSubjects, cfg: cfg.Decode,
		maxBytes: cfg.maxBytes(cfg.Decode.MaxBytes, 1<<30, 4<<30),
		filter:   wire.DecodeFilter, fleeting: true,
		subject: func(j *wire.DecodeJob) string { return wire.DecodeSubject(j.Model, j.Worker) },
		// The worker that it is for may be gone, and nobody else takes it.
		void: func(j *wire.DecodeJob) (at time.Time) {
			if j.Handle != nil {
				at = j.Handle.Expires
			}
			return at
		},
		encode: encodeDecode, decode: decodeDecode,
	})
	return prefill, decode
}

// open prepares what the bus keeps at the server. A JetStream that just starts refuses for a while.
func (b *Bus) open(ctx context.Context) error {
	account := func(ctx context.Context) error {
		_, err := b.js.AccountInfo(ctx)
		if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
			return ErrNoJetStream
		}
		return err
	}
	try := func() error {
		for _, step := range []func(context.Context) error{account, b.prefill.ensure, b.decode.ensure, b.openBodies, b.look} {
			bounded, cancel := b.bound(ctx)
			err := step(bounded)
			cancel()
			if err != nil {
				return b.permitted(err)
			}
		}
		return nil
	}
	return persist(ctx, try, func(err error) bool { return errors.Is(err, ErrDenied) || !transient(err) })
}

// Close sends what is buffered, within Config.CloseTimeout, and ends the connection. Open
// deliveries are no longer kept alive. It may be called once.
func (b *Bus) Close() {
	b.stop()
	b.owned.Wait()
	b.acks.close()
	timer := time.NewTimer(b.cfg.CloseTimeout)
	defer timer.Stop()
	if err := b.nc.Drain(); err == nil {
		select {
		case <-b.closed:
			return
		case <-timer.C:
		}
	}
	b.nc.Close()
	<-b.closed
}

// Prefill is the queue of prefill jobs.
func (b *Bus) Prefill() *Queue[wire.PrefillJob] { return b.prefill }

// Decode is the queue of decode jobs.
func (b *Bus) Decode() *Queue[wire.DecodeJob] { return b.decode }

// Connected tells whether the server is reachable now.
func (b *Bus) Connected() bool { return b.nc.IsConnected() }

// MaxPayload is the most bytes of one message, headers included.
func (b *Bus) MaxPayload() int { return int(b.nc.MaxPayload()) }

// bound gives a request its longest time.
func (b *Bus) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, b.cfg.RequestTimeout)
}

// request makes a request within Config.RequestTimeout. An answer that is awaited when the connection is lost does not
// come any more: the request is then made again, and must bear that.
func (b *Bus) request(ctx context.Context, send func(context.Context) error) error {
	deadline := time.Now().Add(b.cfg.RequestTimeout)
	for {
		once, cancel := context.WithDeadline(ctx, deadline)
		cut := hold{cancel}
		b.line.hold(&cut)
		err := send(once)
		lost := b.line.release(&cut)
		cancel()
		if err == nil || !lost || ctx.Err() != nil || !time.Now().Before(deadline) {
			return err
		}
	}
}

func (b *Bus) keptAsItIs(ctx context.Context, what string, err error) {
	b.log.WarnContext(ctx, "server refused to change what exists, using it as it is", slog.String("name", what), slog.Any("error", err))
}

func (c Config) storage() jetstream.StorageType {
	if c.Storage == File {
		return jetstream.FileStorage
	}
	return jetstream.MemoryStorage
}
