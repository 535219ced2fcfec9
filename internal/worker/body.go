package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

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

// Body returns the client's body: the one in the job, else the one in the bucket, else the
// frontend's. It is checked against the request's digest.
func Body(ctx context.Context, from Bodies, r *wire.Request, inline []byte) ([]byte, error) {
	body, err := inline, error(nil)
	switch {
	case len(inline) > 0:
	case r.BodyRef != "":
		body, err = from.GetBody(ctx, r.BodyRef)
	default:
		var ask []byte
		if ask, err = json.Marshal(wire.BodyRequest{Stream: r.Stream}); err == nil {
			body, err = from.Request(ctx, wire.BodySubject(r.Frontend), ask)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBodyGone, err)
	}
	if digest := wire.BodyDigest(body); digest != r.Digest {
		return nil, fmt.Errorf("%w: digest is %.12s, want %.12s", ErrBodyOther, digest, r.Digest)
	}
	return body, nil
}
