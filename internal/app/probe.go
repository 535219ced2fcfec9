package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
)

// engineProbe asks an engine again and again whether it lives and what it serves.
type engineProbe struct {
	client *engine.Client
	every  time.Duration

	changed func()                                        // called when the engine has become ready or unready; set before Run
	doubted chan struct{}                                 // 1 slot: ask at once
	check   func(ctx context.Context, model string) error // once, before it is ready for the first time; nil: none

	mu    sync.Mutex
	cards []wire.Model
	why   string // the engine is not ready; empty: it is
}

func newEngineProbe(client *engine.Client, every time.Duration) *engineProbe {
	return &engineProbe{client: client, every: every, doubted: make(chan struct{}, 1), why: "its engine was not asked yet"}
}

// doubt takes the news that a call found no engine or lost it: it counts as not ready until it answers a probe.
// It does not block.
func (e *engineProbe) doubt() {
	e.mu.Lock()
	was := e.why
	if was == "" {
		e.why = "a call found no engine, or lost it"
	}
	e.mu.Unlock()
	if was != "" {
		return // the next probe is due soon
	}
	e.changed()
	select {
	case e.doubted <- struct{}{}:
	default:
	}
}

// Run probes until ctx ends. An engine that stops answering is not ready, but what it serves is
// not forgotten. It fails if the engine is unfit for its worker.
func (e *engineProbe) Run(ctx context.Context) error {
	tick := time.NewTicker(e.every)
	defer tick.Stop()
	for {
		if err := e.ask(ctx); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-e.doubted:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// askTime bounds one probe; an engine on a busy machine may be slow to answer and yet live.
const askTime = 5 * time.Second

// ask returns the error of an unfit engine alone.
func (e *engineProbe) ask(ctx context.Context) error {
	cards, err := e.answers(ctx)
	if err == nil && e.check != nil {
		if err = e.check(ctx, cards[0].ID); errors.Is(err, errUnfit) {
			return err
		}
		if err == nil {
			e.check = nil
		}
	}
	if ctx.Err() != nil {
		return nil // the probe ends; that says nothing of the engine
	}
	e.mu.Lock()
	changed := (err == nil) != (e.why == "")
	e.why = ""
	if err != nil {
		e.why = err.Error()
	} else {
		e.cards = cards
	}
	e.mu.Unlock()
	if changed {
		e.changed()
	}
	return nil
}

// answers asks the engine whether it lives and what it serves. Its models do not tell the first: vLLM's HTTP
// server lists them also when the core behind it is dead.
func (e *engineProbe) answers(ctx context.Context) ([]wire.Model, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	var status *engine.StatusError
	err := e.client.Health(ctx)
	silent := errors.As(err, &status) && status.Status == http.StatusNotFound // an engine may have no such path
	if err != nil && !silent {
		return nil, fmt.Errorf("it is not healthy: %w", err)
	}
	cards, err := e.client.Models(ctx)
	if err == nil && len(cards) == 0 {
		err = errors.New("it serves no model")
	}
	return cards, err
}

// state is what the engine serves, and why it is not ready; empty: it is.
func (e *engineProbe) state() (cards []wire.Model, why string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cards, e.why
}
