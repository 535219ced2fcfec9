package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

const (
	// longAnswer is the length in tokens of the streams that lose their worker: all are under way together.
	longAnswer = 400
	// longPrompt is the most bytes of their prompts, short and split ones: all are computed again.
	longPrompt = 4000
	// slowly is the engines' time scale then: about 60 ms a token, and 5000 prompt tokens a second.
	slowly = 0.25
	// undisturbed is how long all streams run before the kill, for comparison.
	undisturbed = 3 * time.Second
)

// phase is how far that run has come: silences are kept apart by it.
type phase int32

const (
	opening phase = iota // streams begin; other scenarios have only this phase
	calm                 // all are under way
	after                // their worker was killed
	phases
)

// drawLong makes the one request of a client.
func drawLong(seed uint64, client, _ int) (*request, error) {
	rng := rand.New(rand.NewPCG(seed, 1<<62|uint64(client))) //nolint:gosec // Repeatable on purpose; not negative.
	r := &request{id: fmt.Sprintf("chaos-%d-long-%d", seed, client), path: pathChat, stream: true, usage: true}
	r.think = time.Duration(rng.IntN(1000)) * time.Millisecond
	var err error
	r.body, err = json.Marshal(map[string]any{
		"model": model, "stream": true, "stream_options": map[string]bool{"include_usage": true}, "max_tokens": longAnswer, "ignore_eos": true,
		"messages": []map[string]string{{"role": "user", "content": r.id + words(rng, rng.IntN(longPrompt))}},
	})
	if err == nil {
		r.want, err = enginesim.Expect(r.path, r.body)
	}
	return r, err
}

// killDecode waits until one decode worker has all streams, has the others come back, and kills it.
func (r *run) killDecode(ctx context.Context) {
	victim := r.byName[names("decode", 1)[0]]
	if err := r.gather(ctx, victim); err != nil {
		r.broken("%v", err)
		return
	}
	for _, p := range r.parts {
		if !p.late {
			continue
		}
		if err := p.start(); err != nil {
			r.broken("%v", err)
			return
		}
	}
	if err := r.complete(ctx); err != nil {
		r.broken("%v", err)
		return
	}
	r.phase.Store(int32(calm))
	sleep(ctx, undisturbed)
	i := &injected{Fault: Fault{Kind: WorkerKill, Part: victim.name, At: time.Since(r.begun)}, begun: time.Now()}
	r.note(i)
	if s, err := r.byName[engineOf(victim.name)].stats(ctx); err != nil || s.Running != r.cfg.Clients {
		r.broken("at the kill %s has %d of %d streams: %v", victim.name, s.Running, r.cfg.Clients, err)
	}
	r.phase.Store(int32(after))
	victim.signal(sigKill)
	err := r.revive(ctx, victim, victim.gone(ctx, r.endTime()))
	if err == nil {
		err = victim.await(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.broken("%s of %s: %v", i.Kind, i.Part, err)
	}
	r.mu.Lock()
	i.back = time.Now()
	r.mu.Unlock()
}

// gather waits until all clients' streams run at the engine of a worker.
func (r *run) gather(ctx context.Context, victim *part) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		s, err := r.byName[engineOf(victim.name)].stats(ctx)
		if err == nil && s.Running == r.cfg.Clients && int(r.live.Load()) == r.cfg.Clients {
			return nil
		}
		if !sleep(ctx, askEvery) {
			return fmt.Errorf("after %s %d of %d streams have begun, and %d run at %s", startTime, r.live.Load(), r.cfg.Clients, s.Running, victim.name)
		}
	}
}
