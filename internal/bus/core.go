package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go"
)

// Publish sends one message to whoever listens. It does not wait for the server: while the
// connection is lost, messages are buffered up to a bound and refused beyond it. data may be used
// again after the call.
func (b *Bus) Publish(subject string, data []byte) error {
	if handle, ok := b.local.Load(subject); ok {
		handle.(func([]byte))(data)
		return nil
	}
	b.acks.send()
	if err := b.nc.Publish(subject, data); err != nil {
		return fmt.Errorf("publish to %s: %w", subject, tooLarge(err))
	}
	return nil
}

// send is Publish of a whole message, which nobody of this process takes.
func (b *Bus) send(msg *nats.Msg) error {
	b.acks.send()
	return b.nc.PublishMsg(msg)
}

// Subscribe calls handle for each message of subject, one after the other. data belongs to handle.
// When Subscribe returns, the server knows of the subscription. A handle that lags behind by more
// than the configured bounds loses messages, which is counted. stop does not wait for a call of
// handle that is under way.
func (b *Bus) Subscribe(subject string, handle func(data []byte)) (stop func(), err error) {
	return b.subscribe(subject, func(m *nats.Msg) { handle(m.Data) })
}

// SubscribeOwn is Subscribe for a subject that nobody else listens to, as those have that hold this process's name: what
// this process itself publishes to it never goes to the server. handle is then called within Publish, maybe by several
// goroutines at once; it must not block, and data is not valid after it returns.
func (b *Bus) SubscribeOwn(subject string, handle func(data []byte)) (stop func(), err error) {
	unsubscribe, err := b.Subscribe(subject, handle)
	if err != nil {
		return nil, err
	}
	b.local.Store(subject, handle)
	return func() {
		b.local.Delete(subject)
		unsubscribe()
	}, nil
}

// Answer replies to each request to subject with what handle returns, one after the other. An
// error reaches the one who asked as a RemoteError, so its text must be fit to leave the process.
func (b *Bus) Answer(subject string, handle func(req []byte) (reply []byte, err error)) (stop func(), err error) {
	return b.subscribe(subject, func(m *nats.Msg) {
		reply := nats.NewMsg(m.Reply)
		data, err := handle(m.Data)
		if err == nil && len(data) > b.MaxPayload() {
			err = fmt.Errorf("answer of %d bytes is larger than the NATS server takes", len(data))
		}
		if err != nil {
			reply.Header.Set(wire.ErrorHeader, err.Error())
		} else {
			reply.Data = data
		}
		if err := m.RespondMsg(reply); err != nil {
			b.log.Warn("answer not sent", slog.String("subject", subject), slog.Any("error", err))
		}
	})
}

func (b *Bus) subscribe(subject string, handle nats.MsgHandler) (stop func(), err error) {
	sub, err := b.nc.Subscribe(subject, handle)
	if err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	if err := errors.Join(sub.SetPendingLimits(b.cfg.PendingMessages, b.cfg.PendingBytes), b.nc.FlushTimeout(b.cfg.RequestTimeout)); err != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", subject, errors.Join(err, sub.Unsubscribe()))
	}
	return func() {
		if err := sub.Unsubscribe(); err != nil && !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrBadSubscription) {
			b.log.Warn("subscription not ended", slog.String("subject", subject), slog.Any("error", err))
		}
	}, nil
}

// Request asks subject and returns the answer, within Config.RequestTimeout; it asks again where the connection was lost
// meanwhile. Errors: ErrNoResponder, RemoteError, ctx's.
func (b *Bus) Request(ctx context.Context, subject string, req []byte) ([]byte, error) {
	reply, err := b.exchange(ctx, &nats.Msg{Subject: subject, Data: req})
	if errors.Is(err, nats.ErrNoResponders) {
		err = ErrNoResponder
	}
	if err == nil {
		if text, ok := reply.Header[wire.ErrorHeader]; ok && len(text) > 0 {
			err = RemoteError(text[0])
		}
	}
	if err != nil {
		return nil, fmt.Errorf("request to %s: %w", subject, tooLarge(err))
	}
	return reply.Data, nil
}

// Deserted sends data to subject and is true if the server says that nobody listens to it. It is false if somebody does,
// who need not answer, and if ctx ends before the server has said anything.
func (b *Bus) Deserted(ctx context.Context, subject string, data []byte) bool {
	_, err := b.nc.RequestWithContext(ctx, subject, data)
	return errors.Is(err, nats.ErrNoResponders)
}

// Connection is the number of the connection to the server, from 1; each loss of it makes another.
func (b *Bus) Connection() uint64 { return 1 + b.nc.Stats().Reconnects }

func tooLarge(err error) error {
	if errors.Is(err, nats.ErrMaxPayload) {
		return ErrTooLarge
	}
	return err
}
