// Package kvtransfer speaks the protocols by which one engine hands the KV cache of a prompt to
// another, and keeps the books about the handles. It edits bodies and reads answers; it knows
// nothing of queues, workers or HTTP.
package kvtransfer

import (
	"errors"
	"fmt"
	"time"
)

// Sentinels by which workers decide what becomes of a job.
var (
	ErrNoHandle = errors.New("the answer holds no KV handle")
	ErrExpired  = errors.New("the KV handle has expired")
	ErrMismatch = errors.New("the KV handle belongs to another request")
)

// Connector is one protocol. Implementations are stateless and safe for concurrent use; none
// changes the slices that it is given.
type Connector interface {
	// Name is what configuration calls it and what a Handle carries.
	Name() string
	// PreparePrefill makes the prefill leg's body from the client's.
	PreparePrefill(body []byte) ([]byte, error)
	// HandleFrom reads the prefill leg's answer. It fills Connector, Params, PromptTokens and
	// CachedTokens. ErrNoHandle: the answer is well-formed but gives no handle.
	HandleFrom(answer []byte) (Handle, error)
	// PrepareDecode makes the decode leg's body from the client's and a handle that passed Check.
	PrepareDecode(body []byte, h *Handle) ([]byte, error)
}

// ByName returns the connector that configuration names.
func ByName(name string) (Connector, error) {
	switch name {
	case "nixl":
		return NIXL{}, nil
	}
	return nil, fmt.Errorf("connector %q is unknown, want nixl", name)
}

// Check tells whether the handle may be used at now for the body with digest: ErrMismatch if it
// belongs to another body, ErrExpired if its lease ends within margin.
func (h *Handle) Check(now time.Time, digest string, margin time.Duration) error {
	if h.Digest == "" || h.Digest != digest {
		return fmt.Errorf("check handle %d of %s: %w", h.Serial, h.Worker, ErrMismatch)
	}
	if left := h.Expires.Sub(now); left <= margin {
		return fmt.Errorf("check handle %d of %s, %v of its lease left: %w", h.Serial, h.Worker, left, ErrExpired)
	}
	return nil
}
