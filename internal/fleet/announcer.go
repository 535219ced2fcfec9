package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Transport is what the fleet needs of NATS. Handlers may be called from any goroutine.
type Transport interface {
	Publish(subject string, data []byte) error
	Subscribe(subject string, handle func(data []byte)) (stop func(), err error)
}

// Announcer says to all that its process lives.
type Announcer struct {
	t        Transport
	interval time.Duration
	state    func() wire.Announcement
	log      *slog.Logger
	now      chan struct{} // 1 slot
}

// NewAnnouncer makes an Announcer that publishes state's result each interval. It sets Interval
// and At itself. state is called from one goroutine.
func NewAnnouncer(t Transport, interval time.Duration, state func() wire.Announcement, log *slog.Logger) *Announcer {
	return &Announcer{t: t, interval: interval, state: state, log: log, now: make(chan struct{}, 1)}
}

// Now has the process announced at once, because its state has changed. It never blocks.
func (a *Announcer) Now() {
	select {
	case a.now <- struct{}{}:
	default:
	}
}

// Run announces at once, each interval and when a newcomer says hello, until ctx ends; its last
// word is that the process is gone. It fails only if it cannot listen for newcomers.
func (a *Announcer) Run(ctx context.Context) error {
	stop, err := a.t.Subscribe(wire.HelloSubject, func([]byte) { a.Now() })
	if err != nil {
		return fmt.Errorf("listen for newcomers: %w", err)
	}
	defer stop()
	tick := time.NewTicker(a.interval)
	defer tick.Stop()
	for {
		a.announce(false)
		select {
		case <-ctx.Done():
			a.announce(true)
			return nil
		case <-tick.C:
		case <-a.now:
		}
	}
}

func (a *Announcer) announce(gone bool) {
	said := a.state()
	said.Interval, said.At = a.interval, time.Now()
	if gone {
		said.Leaving, said.Gone = true, true
	}
	data, err := json.Marshal(said)
	if err == nil {
		err = a.t.Publish(wire.AnnounceSubject, data)
	}
	if err != nil {
		a.log.Warn("announcement failed", slog.Bool("gone", gone), slog.Any("error", err))
	}
}
