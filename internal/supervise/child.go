package supervise

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	askEvery = 250 * time.Millisecond // between two questions whether a program is ready
	askTime  = 10 * time.Second       // of one such question: a program that loads may be slow to answer
)

// Spec says what to run.
type Spec struct {
	Name    string   // for people: of status, log lines and metrics
	Command []string // program and arguments
	Env     []string // NAME=value, in place of what this process has under the name
	Default []string // NAME=value, where this process has nothing under the name
	LogFile string   // gets the program's lines; empty: this process's log does, at level debug

	// Ready is nil when the program can serve.
	Ready func(ctx context.Context) error
	// Phase reads from a line what the program is doing, one of Phases, and how far it is; ok is false if
	// the line does not say. Of Phases an earlier one never follows a later one: a program may be many
	// processes, not all of which are equally far. Nil: nothing is known between start and ready.
	Phase  func(line string) (phase, detail string, ok bool)
	Phases []string
	// IsCause tells whether a line says why the program will fail. Nil: none does.
	IsCause func(line string) bool
}

// Child is one program that is kept running.
type Child struct {
	spec    Spec
	cfg     Config
	changed func(Status)
	metrics metrics
	log     *slog.Logger

	mu     sync.Mutex
	status Status
}

// New returns a child; Run starts it. changed is called with each new status, from several goroutines
// but one at a time; it must not block.
func New(spec Spec, cfg Config, changed func(Status), reg prometheus.Registerer, log *slog.Logger) *Child {
	return &Child{
		spec: spec, cfg: cfg, changed: changed, metrics: newMetrics(reg, spec.Name),
		log: log.With(slog.String("engine", spec.Name)), status: Status{Name: spec.Name},
	}
}

// Run keeps the program running until ctx ends, and returns once nothing of it is left. A program that
// ends before it was ever ready is an error that wraps ErrFailed and holds its last words.
func (c *Child) Run(ctx context.Context) error {
	delay := backoff{first: c.cfg.RestartDelay, most: c.cfg.RestartDelayMax}
	served := false
	for {
		ready, err := c.once(ctx)
		if ctx.Err() != nil {
			c.set(func(s *Status) { *s = Status{Name: s.Name, State: Stopped, Begun: s.Begun} })
			return err
		}
		if !ready.IsZero() {
			served = true
			if time.Since(ready) >= c.cfg.RestartReset {
				delay.reset()
			}
		}
		pause := delay.pause()
		if !served {
			pause = 0
		}
		c.set(func(s *Status) { s.State, s.Err, s.Pause = Down, err, pause })
		if !served {
			return err
		}
		c.log.WarnContext(ctx, "engine ended, starting it again", slog.Duration("pause", pause), slog.Any("error", err))
		if !sleep(ctx, pause) {
			return nil
		}
	}
}

// once runs the program to its end, or until ctx ends, and says when it became ready, if it did. The
// error says how it ended; after ctx's end nil means that nothing of it is left.
func (c *Child) once(ctx context.Context) (ready time.Time, err error) {
	end := &endError{name: c.spec.Name, said: last{isCause: c.spec.IsCause}}
	out, closeLog, err := c.output(ctx, &end.said)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w: %w", c.spec.Name, ErrFailed, err)
	}
	defer closeLog()
	c.metrics.starts.Inc()
	c.set(func(s *Status) { *s = Status{Name: s.Name, State: Starting, Begun: time.Now()} })
	proc, err := start(c.spec.Command, environment(c.spec.Env, c.spec.Default), out)
	if err != nil {
		return time.Time{}, fmt.Errorf("%s: %w: %w", c.spec.Name, ErrFailed, err)
	}
	asking, stopAsking := context.WithCancel(ctx)
	isReady := make(chan struct{})
	var asks sync.WaitGroup
	asks.Go(func() {
		if c.awaitReady(asking) {
			close(isReady)
		}
	})
	defer func() {
		stopAsking()
		asks.Wait()
		c.metrics.ready.Set(0)
	}()

	late := time.NewTimer(c.cfg.StartTimeout)
	defer late.Stop()
	for {
		select {
		case <-isReady:
			isReady = nil
			late.Stop()
			ready = time.Now()
			c.metrics.ready.Set(1)
			c.set(func(s *Status) { s.State, s.Phase, s.Detail = Ready, "", "" })
		case <-late.C:
			_ = proc.stop(c.cfg.StopTimeout)
			end.how = fmt.Errorf("%w: not ready after %s (supervise.start_timeout)", ErrFailed, c.cfg.StartTimeout)
			return ready, end
		case <-ctx.Done():
			return ready, proc.stop(c.cfg.StopTimeout)
		case <-proc.ended:
			if ctx.Err() != nil {
				return ready, nil
			}
			end.how = proc.err
			if proc.err == nil {
				end.how = errors.New("it ended without an error")
			}
			if ready.IsZero() {
				end.how = fmt.Errorf("%w: %w", ErrFailed, end.how)
			}
			return ready, end
		}
	}
}

// awaitReady tells whether the program became ready before ctx ended.
func (c *Child) awaitReady(ctx context.Context) bool {
	for sleep(ctx, askEvery) {
		ask, cancel := context.WithTimeout(ctx, askTime)
		err := c.spec.Ready(ask)
		cancel()
		if err == nil && ctx.Err() == nil {
			return true
		}
	}
	return false
}

// output is where the program's lines go.
func (c *Child) output(ctx context.Context, said *last) (*lines, func(), error) {
	write := func(line string) { c.log.DebugContext(ctx, "engine says", slog.String("line", line)) }
	closeLog := func() {}
	if c.spec.LogFile != "" {
		file, err := openLog(c.spec.LogFile)
		if err != nil {
			return nil, nil, err
		}
		closeLog = file.close
		write = func(line string) {
			if err := file.line(line); err != nil {
				c.log.WarnContext(ctx, "engine's line not written", slog.Any("error", err))
			}
		}
	}
	return &lines{each: func(line string) {
		write(line)
		said.add(line)
		if c.spec.Phase == nil {
			return
		}
		if phase, detail, ok := c.spec.Phase(line); ok {
			c.progress(phase, detail)
		}
	}}, closeLog, nil
}

// progress notes what a program that starts is doing.
func (c *Child) progress(phase, detail string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	order := cmp.Compare(slices.Index(c.spec.Phases, phase), slices.Index(c.spec.Phases, c.status.Phase))
	if c.status.State != Starting || order < 0 || order == 0 && c.status.Detail == detail {
		return
	}
	c.status.Phase, c.status.Detail = phase, detail
	c.tell()
}

func (c *Child) set(change func(s *Status)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.status)
	c.tell()
}

// tell needs the lock.
func (c *Child) tell() {
	c.status.At = time.Now()
	c.changed(c.status)
}

// sleep is false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
