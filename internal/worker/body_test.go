package worker_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
)

// frontend answers requests for bodies; the first ones with errors.
type frontend struct {
	errs  []error
	asked int
}

func (f *frontend) GetBody(context.Context, string) ([]byte, error) { return []byte("stored"), nil }

func (f *frontend) Request(context.Context, string, []byte) ([]byte, error) {
	f.asked++
	if f.asked <= len(f.errs) {
		return nil, f.errs[f.asked-1]
	}
	return []byte("asked"), nil
}

func TestBodyComesFromWhereItIs(t *testing.T) {
	away := fmt.Errorf("request: %w", bus.ErrNoResponder)
	over := fmt.Errorf("request: %w", bus.RemoteError("request is over"))
	for name, tc := range map[string]struct {
		inline, ref string
		errs        []error
		want        string // "": it is gone
		asked       int
	}{
		"in the job":                    {inline: "inline", want: "inline"},
		"in the bucket":                 {ref: "x", want: "stored"},
		"at the frontend":               {want: "asked", asked: 1},
		"at a frontend that comes back": {errs: []error{away, context.DeadlineExceeded}, want: "asked", asked: 3},
		"at a frontend that is dead":    {errs: []error{away, away, away, away, away, away}, asked: 4},
		"of a request that is over":     {errs: []error{over}, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &frontend{errs: tc.errs}
				r := &wire.Request{Digest: wire.BodyDigest([]byte(tc.want)), BodyRef: tc.ref}
				begun := time.Now()
				body, err := worker.Body(t.Context(), time.Minute, f, r, []byte(tc.inline))
				if string(body) != tc.want || (tc.want == "") != errors.Is(err, worker.ErrBodyGone) {
					t.Errorf("Body = %q, %v, want %q", body, err, tc.want)
				}
				if took := time.Since(begun); f.asked != tc.asked || took > 3*time.Second {
					t.Errorf("the frontend was asked %d times in %v, want %d", f.asked, took, tc.asked)
				}
			})
		})
	}
}
