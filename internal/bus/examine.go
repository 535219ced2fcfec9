package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Server is the NATS server that a bus is connected to.
type Server struct {
	Name       string
	Version    string
	Cluster    string        // empty: it is alone
	URL        string        // without a password; empty: in this process
	RoundTrip  time.Duration // median of five
	MaxPayload int           // bytes of one message
	TLS        bool
	Users      bool // it asks who its clients are
}

// Server asks how far the server is and what it says of itself.
func (b *Bus) Server(ctx context.Context) (Server, error) {
	var trips []time.Duration
	for range 5 {
		sent := time.Now()
		if err := b.flush(ctx); err != nil {
			return Server{}, fmt.Errorf("ask the NATS server: %w", err)
		}
		trips = append(trips, time.Since(sent))
	}
	slices.Sort(trips)
	_, err := b.nc.TLSConnectionState()
	return Server{
		Name: b.nc.ConnectedServerName(), Version: b.nc.ConnectedServerVersion(), Cluster: b.nc.ConnectedClusterName(),
		URL: b.nc.ConnectedUrlRedacted(), RoundTrip: trips[len(trips)/2], MaxPayload: b.MaxPayload(), TLS: err == nil, Users: b.nc.AuthRequired(),
	}, nil
}

// flush returns when the server has taken all that was sent, and has answered to it.
func (b *Bus) flush(ctx context.Context) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	return b.nc.FlushWithContext(ctx)
}

// Space is what an account may keep in one kind of storage, in bytes.
type Space struct {
	Used     uint64
	Reserved uint64 // by the limits of its streams
	Most     int64  // -1: the account has no bound of its own
}

// JetStream is what the account of a bus keeps at the server.
type JetStream struct {
	Memory, File Space
	Streams      int
}

// JetStream asks the server for its account. ErrNoJetStream: there is none.
func (b *Bus) JetStream(ctx context.Context) (JetStream, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	info, err := b.js.AccountInfo(ctx)
	if errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return JetStream{}, ErrNoJetStream
	}
	if err != nil {
		return JetStream{}, fmt.Errorf("ask for the JetStream account: %w", b.permitted(err))
	}
	return JetStream{
		Memory:  Space{Used: info.Memory, Reserved: info.ReservedMemory, Most: info.Limits.MaxMemory},
		File:    Space{Used: info.Store, Reserved: info.ReservedStore, Most: info.Limits.MaxStore},
		Streams: info.Streams,
	}, nil
}

// Denied tries what PermissionsOf(role, name) lists and returns what the server refuses, as "publish to
// PATTERN" or "subscribe to PATTERN". Nothing comes of what is tried: the processes and models that it is
// for do not exist, and requests to JetStream are cut short. Purging the bodies, which a server might take
// from a request that it cannot read, is not tried.
func (b *Bus) Denied(ctx context.Context, role wire.Role, name string) (denied []string, err error) {
	p, err := PermissionsOf(role, name)
	if err != nil {
		return nil, err
	}
	try := func(what, word, pattern, subject string, act func() error) error {
		if err := errors.Join(act(), b.flush(ctx)); err != nil {
			return fmt.Errorf("try to %s to %s: %w", what, subject, err)
		}
		// The server's word comes before its answer to the flush, and stays until the next one.
		last := b.nc.LastError()
		if errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), word+` to "`+subject+`"`) {
			denied = append(denied, what+" to "+pattern)
		}
		return nil
	}
	for _, pattern := range p.Publish {
		if strings.HasPrefix(pattern, "$JS.API.STREAM.PURGE.") {
			continue
		}
		m := trial(pattern)
		if err := try("publish", "Publish", pattern, m.Subject, func() error { return b.nc.PublishMsg(m) }); err != nil {
			return denied, err
		}
	}
	for _, subject := range p.Subscribe {
		if err := try("subscribe", "Subscription", subject, subject, func() error {
			sub, err := b.nc.Subscribe(subject, func(*nats.Msg) {})
			if err != nil {
				return err
			}
			return errors.Join(b.flush(ctx), sub.Unsubscribe())
		}); err != nil {
			return denied, err
		}
	}
	return denied, nil
}

// trialName is a process, model or consumer that is not there.
const trialName = "baton-doctor"

// trial is a message that a pattern of Permissions covers and nobody acts on.
func trial(pattern string) *nats.Msg {
	m := nats.NewMsg(strings.NewReplacer("*", trialName, ">", trialName).Replace(pattern))
	switch {
	case strings.HasPrefix(pattern, "$JS.API."):
		m.Data = []byte("{") // no JSON
	case pattern == wire.PrefillSubjects || pattern == wire.DecodeSubjects:
		m.Header.Set(jetstream.ExpectedStreamHeader, trialName) // so that the stream does not store it
	case pattern == wire.AnnounceSubject:
		m.Data = mustJSON(wire.Announcement{ID: trialName, Interval: time.Second, Leaving: true, Gone: true})
	case pattern == wire.ReportSubject:
		m.Data = (&wire.Report{Worker: trialName}).Append(nil)
	}
	return m
}

func mustJSON(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers
	}
	return text
}
