package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	backoffFirst = 50 * time.Millisecond
	backoffMost  = 2 * time.Second
)

func (b *Bus) dial(ctx context.Context, name string, inproc nats.InProcessConnProvider) error {
	opts, err := b.options(name, inproc)
	if err != nil {
		return err
	}
	err = persist(ctx, func() (err error) {
		b.nc, err = nats.Connect(b.cfg.URL, opts...)
		return err
	}, refused)
	if err != nil {
		return advise(err)
	}
	b.js, err = jetstream.New(b.nc, jetstream.WithDefaultTimeout(b.cfg.RequestTimeout))
	return err
}

func (b *Bus) options(name string, inproc nats.InProcessConnProvider) ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name("baton " + name),
		nats.CustomInboxPrefix(wire.InboxPrefix(name)),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, 500*time.Millisecond),
		nats.ReconnectBufSize(8 << 20),
		nats.PingInterval(20 * time.Second),
		nats.DrainTimeout(b.cfg.CloseTimeout),
		nats.ConnectHandler(func(*nats.Conn) { b.metrics.connected.Set(1) }),
		nats.ReconnectHandler(func(*nats.Conn) {
			b.metrics.reconnects.Inc()
			b.metrics.connected.Set(1)
			b.log.Info("connected to NATS again")
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.line.lost()
			b.metrics.connected.Set(0)
			if err != nil {
				b.log.Warn("lost the connection to NATS", slog.Any("error", err))
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, sub *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrSlowConsumer) {
				b.metrics.slowConsumers.Inc()
			}
			if errors.Is(err, nats.ErrPermissionViolation) {
				b.denied.Store(&err)
			}
			attrs := []any{slog.Any("error", err)}
			if sub != nil {
				attrs = append(attrs, slog.String("subject", sub.Subject))
			}
			b.log.Error("NATS reported an error", attrs...)
		}),
		nats.ClosedHandler(func(*nats.Conn) { close(b.closed) }),
	}
	if inproc != nil {
		opts = append(opts, nats.InProcessServer(inproc))
	}
	c := b.cfg
	if c.Creds != "" {
		opts = append(opts, nats.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		key, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, fmt.Errorf("read nats.nkey: %w", err)
		}
		opts = append(opts, key)
	}
	if c.User != "" {
		opts = append(opts, nats.UserInfo(c.User, c.Password))
	}
	if c.Token != "" {
		opts = append(opts, nats.Token(c.Token))
	}
	if c.TLSCA != "" {
		opts = append(opts, nats.RootCAs(c.TLSCA))
	}
	if c.TLSCert != "" {
		opts = append(opts, nats.ClientCert(c.TLSCert, c.TLSKey))
	}
	return opts, nil
}

// where names the servers for people, without passwords.
func (c Config) where(inproc nats.InProcessConnProvider) string {
	if inproc != nil {
		return "(embedded server)"
	}
	urls := strings.Split(c.URL, ",")
	for i, raw := range urls {
		u, err := url.Parse(strings.TrimSpace(raw))
		if err != nil {
			urls[i] = "(URL that cannot be read)"
			continue
		}
		urls[i] = u.Redacted()
	}
	return strings.Join(urls, ",")
}

// persist calls try until it succeeds, its error is final or ctx ends; it returns the last error.
func persist(ctx context.Context, try func() error, final func(error) bool) error {
	for pause := backoffFirst; ; pause = min(2*pause, backoffMost) {
		err := try()
		if err == nil || final(err) {
			return err
		}
		if e := sleep(ctx, pause); e != nil {
			return errors.Join(err, e)
		}
	}
}

// sleep waits between half of d and d.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// transient tells whether the same call may succeed a moment later.
func transient(err error) bool {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code == 503 {
		return !errors.Is(err, jetstream.ErrJetStreamNotEnabled)
	}
	for _, e := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrReconnectBufExceeded, jetstream.ErrNoHeartbeat, jetstream.ErrConsumerLeadershipChanged, jetstream.ErrServerShutdown,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return lost(err)
}

// lost tells whether what the call needs is no longer at the server and must be created again, as
// after the restart of a server that keeps streams in memory.
func lost(err error) bool {
	for _, e := range []error{
		jetstream.ErrStreamNotFound, jetstream.ErrNoStreamResponse, jetstream.ErrConsumerNotFound, jetstream.ErrConsumerDeleted,
		jetstream.ErrConsumerDoesNotExist, nats.ErrNoResponders,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
