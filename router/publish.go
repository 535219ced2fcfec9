package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
)

// drive drives the call until its answer begins; the error is that of its final state.
func (c *call) drive(ctx context.Context) error {
	for {
		c.mu.Lock()
		begun, state, again, attempt, err := c.begun, c.state, c.again, c.attempt, c.err
		c.mu.Unlock()
		switch {
		case state == Done || begun && state != Cancelled:
			return nil
		case state.Final():
			return err
		case again && c.pause(attempt):
			c.publish(ctx)
			continue
		}
		<-c.wake // every way on pokes, and ctx's end is one
	}
}

// pause waits before an attempt from the second on; false if the call ended meanwhile.
func (c *call) pause(attempt uint32) bool {
	if attempt == 1 {
		return true
	}
	timer := time.NewTimer(c.r.cfg.backoff(attempt))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case <-c.wake:
		}
		c.mu.Lock()
		final := c.state.Final()
		c.mu.Unlock()
		if final {
			c.poke()
			return false
		}
	}
}

// publish puts the current attempt's job into its queue, or ends the call.
func (c *call) publish(ctx context.Context) {
	c.mu.Lock()
	if c.state.Final() {
		c.mu.Unlock()
		return
	}
	now := time.Now()
	settle := c.goOn(now)
	c.again = false // from here frames of this attempt count
	c.enqueued(now)
	attempt, ask := c.attempt, c.ask
	c.mu.Unlock()
	if settle != nil {
		settle()
		return
	}
	at, err := c.enqueue(ctx, attempt, &ask)
	switch {
	case err == nil:
		c.queuedAt(at, attempt)
	case ctx.Err() != nil:
		c.stop(context.Cause(ctx))
	case !c.req.Deadline.IsZero() && !time.Now().Before(c.req.Deadline):
		c.stop(errDeadline)
	case errors.Is(err, bus.ErrFull):
		c.settle(Failed, tooMany("queue_full", c.r.admission.retryAfter(time.Now())))
	default:
		c.r.log.WarnContext(ctx, "request not queued", slog.String("request_id", c.req.ID), slog.Any("error", err))
		c.settle(Failed, unpublished())
	}
}

const publishPause = 100 * time.Millisecond

// envelope is more than a message has beside a body.
const envelope = 4 << 10

// enqueue tries for PublishTimeout, and not after the deadline; the same attempt published twice is one job.
func (c *call) enqueue(ctx context.Context, attempt uint32, ask *ask) (receipt, error) {
	until := time.Now().Add(c.r.cfg.PublishTimeout)
	if due := c.req.Deadline; !due.IsZero() && due.Before(until) {
		until = due
	}
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	stored := len(ask.body) > min(c.r.cfg.StoreBody, c.r.deps.Bodies.MaxPayload()-envelope)
	for pause := publishPause; ; pause = min(2*pause, time.Second) {
		at, err := c.put(ctx, attempt, ask, stored)
		switch {
		case err == nil || errors.Is(err, bus.ErrFull):
			return at, err
		case errors.Is(err, bus.ErrTooLarge) && !stored:
			stored = true
			continue
		case errors.Is(err, bus.ErrTooLarge):
			return at, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return receipt{}, err
		}
	}
}

// put publishes once. A small body travels in the job, a larger one waits here until a worker asks for
// it, and one that no message holds is stored first.
func (c *call) put(ctx context.Context, attempt uint32, ask *ask, stored bool) (receipt, error) {
	body := ask.body
	ref, err := c.storedBody(ctx, body, stored)
	if err != nil {
		return receipt{}, err
	}
	if len(body) > c.r.cfg.InlineBody || ref != "" {
		body = nil
	}
	c.mu.Lock()
	avoid, parent := slices.Clone(c.avoid), c.parent
	c.mu.Unlock()
	meta := wire.Request{
		ID: c.req.ID, Frontend: c.r.name, Stream: c.stream, Attempt: attempt, Model: c.req.Model, Path: c.req.Path,
		Streaming: c.req.Streaming, Usage: c.req.Usage, Counts: c.sent != nil, Class: c.req.Class, Tenant: c.req.Tenant,
		Digest: ask.digest, BodySize: len(ask.body), BodyRef: ref,
		PromptTokens: ask.promptTokens, MaxTokens: ask.maxTokens,
		Admitted: ask.since, Deadline: c.req.Deadline, Avoid: avoid, Traceparent: parent,
	}
	job := &wire.PrefillJob{Request: meta, Whole: c.req.Whole, Prefix: c.req.Prefix, Body: body}
	at, err := c.r.deps.Queue.Publish(ctx, job)
	if err != nil {
		return receipt{}, fmt.Errorf("queue request: %w", err)
	}
	return receipt{key: job.MsgID(), model: job.Model, seq: at.Seq}, nil
}

// storedBody returns the reference of the stored body, if it has one or shall have.
func (c *call) storedBody(ctx context.Context, body []byte, want bool) (string, error) {
	c.mu.Lock()
	ref := c.ask.ref
	c.mu.Unlock()
	if ref != "" || !want {
		return ref, nil
	}
	ref, err := c.r.deps.Bodies.PutBody(ctx, body)
	if err != nil {
		return "", fmt.Errorf("store body: %w", err)
	}
	c.mu.Lock()
	final := c.state.Final()
	if !final {
		c.ask.ref = ref
	}
	c.mu.Unlock()
	if final {
		c.r.dropBody(ref)
	}
	return ref, nil
}
