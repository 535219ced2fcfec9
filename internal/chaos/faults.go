package chaos

import (
	"context"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

// engineFaults are those that a simulated engine has by itself.
var engineFaults = map[Kind]enginesim.Faults{
	EngineCrash:    {Crash: true},
	EngineHang:     {Hang: true},
	EngineErrors:   {Status: 500, Every: 2},
	EngineGarbage:  {Garbage: true},
	EngineSlow:     {Slow: 10},
	EngineCut:      {CutAfter: 5},
	EngineTransfer: {RefuseTransfer: true},
}

// injected is a fault that was carried out.
type injected struct {
	Fault

	begun, back time.Time // back: the part is up again
}

// injectAll carries the plan out and returns when every part is up again.
func (r *run) injectAll(ctx context.Context, faults []Fault) {
	for _, f := range faults {
		if !sleep(ctx, time.Until(r.begun.Add(f.At))) {
			break
		}
		r.injecting.Go(func() { r.inject(ctx, f) })
	}
	r.injecting.Wait()
}

func (r *run) inject(ctx context.Context, f Fault) {
	p := r.byName[f.Part]
	p.turn.Lock()
	defer p.turn.Unlock()
	free, ok := r.spare(ctx, f.Part)
	if !ok {
		return
	}
	defer func() { time.AfterFunc(settlingOf(group(f.Part)), free) }()
	i := &injected{Fault: f, begun: time.Now()}
	r.note(i)
	var err error
	switch _, how, _ := strings.Cut(string(f.Kind), "."); how {
	case "kill":
		p.signal(sigKill)
		err = p.gone(ctx, r.endTime())
		sleep(ctx, f.For)
		err = r.revive(ctx, p, err)
	case "drain":
		p.signal(sigTerm)
		err = p.gone(ctx, r.endTime())
		sleep(ctx, f.For)
		err = r.revive(ctx, p, err)
	case "stop":
		p.signal(sigStop)
		sleep(ctx, f.For)
		p.signal(sigCont)
	default:
		if err = p.setFaults(ctx, engineFaults[f.Kind]); err == nil {
			sleep(ctx, f.For)
			err = p.setFaults(context.WithoutCancel(ctx), enginesim.Faults{})
		}
	}
	if err == nil && p.probe != "" {
		err = p.await(ctx)
	}
	if err != nil && ctx.Err() == nil {
		r.broken("%s of %s: %v", f.Kind, f.Part, err)
	}
	r.mu.Lock()
	i.back = time.Now()
	r.mu.Unlock()
}

// spare waits until another unit of the part's group can do without it: what was planned may take longer here, such as
// a drain. It is not ok if the run is over by then.
func (r *run) spare(ctx context.Context, part string) (free func(), ok bool) {
	room := r.spares[group(part)]
	if room == nil {
		return func() {}, true
	}
	if room.Acquire(ctx, 1) != nil {
		return nil, false
	}
	free = func() { room.Release(1) }
	if time.Since(r.begun) > r.cfg.Duration {
		free()
		return nil, false
	}
	return free, true
}

// group is the role of a worker, its engine or a frontend; "nats" of the server.
func group(part string) string {
	role, _, _ := strings.Cut(strings.TrimPrefix(part, engineOf("")), "-")
	return role
}

// revive starts a part that has ended; one that does not end is killed.
func (r *run) revive(ctx context.Context, p *part, stuck error) error {
	if stuck != nil && ctx.Err() == nil {
		r.broken("%v", stuck)
		p.signal(sigKill)
		stuck = p.gone(ctx, r.endTime())
	}
	if stuck != nil {
		return stuck
	}
	return p.start()
}

// drainTime is how long a frontend that is asked to end waits for its requests: longer than any may be silent.
func (r *run) drainTime() time.Duration { return r.cfg.Patience + 30*time.Second }

// endTime is how long a part that is asked to end may take.
func (r *run) endTime() time.Duration { return r.drainTime() + 30*time.Second }

// note enters a fault into the books.
func (r *run) note(i *injected) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, i)
}

// during names the faults that a span of time saw.
func (r *run) during(from, to time.Time) (faults []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, i := range r.faults {
		if i.begun.Before(to) && (i.back.IsZero() || i.back.Add(settling).After(from)) {
			faults = append(faults, string(i.Kind)+" "+i.Part)
		}
	}
	return faults
}
