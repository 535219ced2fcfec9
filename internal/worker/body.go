package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
)

// Bodies is where bodies are that a job does not carry.
type Bodies interface {
	GetBody(ctx context.Context, ref string) ([]byte, error)
	Request(ctx context.Context, subject string, request []byte) ([]byte, error)
}

// Errors of Body.
var (
	ErrBodyGone  = errors.New("request's body is gone")
	ErrBodyOther = errors.New("body is not the one that was admitted")
)

// Body returns the client's body: the one in the job, else, within a time, the one in the bucket, else the
// frontend's. It is checked against the request's digest.
func Body(ctx context.Context, within time.Duration, from Bodies, r *wire.Request, inline []byte) ([]byte, error) {
	body := inline
	if len(inline) == 0 {
		var err error
		if body, err = fetchBody(ctx, within, from, r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrBodyGone, err)
		}
	}
	if !wire.IsBody(body, r.Digest) {
		return nil, fmt.Errorf("%w: digest is %.12s, want %.12s", ErrBodyOther, wire.BodyDigest(body), r.Digest)
	}
	return body, nil
}

func fetchBody(ctx context.Context, within time.Duration, from Bodies, r *wire.Request) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if r.BodyRef != "" {
		return from.GetBody(ctx, r.BodyRef)
	}
	return ask(ctx, from, r)
}

const (
	// askTries is how often a frontend is asked. One that has just lost its connection is back soon; for
	// one that is dead a worker should not wait for long, because many jobs may be of it.
	askTries = 4
	askPause = 500 * time.Millisecond
)

// ask has the frontend send a body. What the frontend itself says is final.
func ask(ctx context.Context, from Bodies, r *wire.Request) (body []byte, err error) {
	question, err := json.Marshal(wire.BodyRequest{Stream: r.Stream})
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		body, err = from.Request(ctx, wire.BodySubject(r.Frontend), question)
		if _, said := errors.AsType[bus.RemoteError](err); err == nil || said || try == askTries {
			return body, err
		}
		if sleep(ctx, askPause); ctx.Err() != nil {
			return nil, err
		}
	}
}
