package app

import (
	"context"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
)

// engineProbe asks an engine again and again whether it lives and what it serves.
type engineProbe struct {
	client *engine.Client
	every  time.Duration

	changed func() // called when the engine has become ready or unready; set before Run

	mu    sync.Mutex
	cards []wire.Model
	ready bool
}

func newEngineProbe(client *engine.Client, every time.Duration) *engineProbe {
	return &engineProbe{client: client, every: every}
}

// Run probes until ctx ends. An engine that stops answering is not ready, but what it serves is
// not forgotten.
func (e *engineProbe) Run(ctx context.Context) error {
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	for {
		e.ask(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askTime bounds one probe; an engine on a busy machine may be slow to answer and yet live.
const askTime = 5 * time.Second

func (e *engineProbe) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	cards, err := e.client.Models(ctx)
	ready := err == nil && len(cards) > 0
	e.mu.Lock()
	changed := ready != e.ready
	e.ready = ready
	if ready {
		e.cards = cards
	}
	e.mu.Unlock()
	if changed {
		e.changed()
	}
}

func (e *engineProbe) state() (cards []wire.Model, ready bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cards, e.ready
}
