package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Bodies stores bodies that are too large for a job.
type Bodies interface {
	PutBody(ctx context.Context, body []byte) (ref string, err error)
	DeleteBody(ctx context.Context, ref string) error
	MaxPayload() int // most bytes of one message
}

var errOver = errors.New("request is over")

// shelf holds the bodies that workers may ask for: those of requests in flight and, for a while,
// those of requests that were given up while a handle of theirs could be on its way.
type shelf struct {
	r *Router

	mu     sync.Mutex
	bodies map[uint64][]byte
	late   []leftover // by time
	bytes  int        // of late bodies
}

type leftover struct {
	stream uint64
	size   int
	ref    string // to delete then; empty: none
	until  time.Time
}

// put replaces the body that the stream may have.
func (s *shelf) put(stream uint64, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bodies[stream] = body
}

// retire takes a body off, at once or, if it may still be wanted, after a while.
func (s *shelf) retire(c *call, ref string, wanted bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	size := len(s.bodies[c.stream])
	if ref != "" {
		size = 0 // the bucket holds it
	}
	if !wanted || ref != "" {
		delete(s.bodies, c.stream)
	}
	if !wanted {
		s.r.dropBody(ref)
		return
	}
	s.late = append(s.late, leftover{stream: c.stream, size: size, ref: ref, until: now.Add(s.r.cfg.Linger)})
	s.bytes += size
	s.shed(func(leftover) bool { return s.bytes > s.r.cfg.LingerBytes || len(s.late) > maxChores })
}

// expire takes off what was kept long enough.
func (s *shelf) expire(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shed(func(l leftover) bool { return !now.Before(l.until) })
}

// shed needs the lock.
func (s *shelf) shed(old func(leftover) bool) {
	for len(s.late) > 0 && old(s.late[0]) {
		l := s.late[0]
		s.late = s.late[1:]
		s.bytes -= l.size
		delete(s.bodies, l.stream)
		s.r.dropBody(l.ref)
	}
	s.r.metrics.lingering.Set(float64(s.bytes))
}

// Body answers one message on wire.BodySubject of this frontend: the body of a request in flight,
// or of one given up lately.
func (r *Router) Body(request []byte) ([]byte, error) {
	var ask wire.BodyRequest
	if err := json.Unmarshal(request, &ask); err != nil {
		return nil, fmt.Errorf("read body request: %w", err)
	}
	r.bodies.mu.Lock()
	defer r.bodies.mu.Unlock()
	body, ok := r.bodies.bodies[ask.Stream]
	if !ok {
		return nil, errOver
	}
	return body, nil
}
