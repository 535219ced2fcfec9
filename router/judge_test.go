package router_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

// finish waits for the end of everything, checks it and returns a line for each client.
func (s *stage) finish() (seen []string) {
	time.Sleep(2 * time.Minute) // past every deadline
	synctest.Wait()
	for _, c := range s.clients {
		for range 2 + len(s.runs)*100 {
			if c.read(s.t); c.over != nil {
				break
			}
		}
		if c.over == nil {
			s.t.Fatalf("%s hangs: %+v", c.id, s.r.Requests())
		}
		c.close()
		c.close() // may come twice
		c.leave()
		synctest.Wait()
		states := s.ends.of(c.id)
		if len(states) != 1 {
			s.t.Fatalf("%s has the final states %q, want one", c.id, states)
		}
		s.judge(c, states[0])
		seen = append(seen, fmt.Sprintf("%s %q %v", states[0], c.pieces, c.over))
	}
	if left := s.r.Requests(); len(left) > 0 {
		s.t.Errorf("still in flight: %+v", left)
	}
	s.roomForAll()
	return seen
}

// judge checks one client's answer. Pieces have their place in the answer; another run may go on where the
// one before it ended, and nowhere else.
func (s *stage) judge(c *patron, state string) {
	var runs []string
	for i, p := range c.pieces {
		part := strings.Split(p, "/")
		if part[0] != c.id || part[2] != fmt.Sprint(i) {
			s.t.Errorf("%s: piece %d is %s, of %q", c.id, i, p, c.pieces)
		}
		if len(runs) == 0 || runs[len(runs)-1] != part[1] {
			runs = append(runs, part[1])
		}
	}
	if sorted := slices.Compact(slices.Sorted(slices.Values(runs))); len(sorted) != len(runs) {
		s.t.Errorf("%s: runs take turns: %q", c.id, c.pieces)
	}
	whole := errors.Is(c.over, io.EOF)
	if whole && state != "done" || state == "done" && !whole && !c.closed {
		s.t.Errorf("%s is %s, and its client was told %v", c.id, state, c.over)
	}
	if n := len(s.of(c)); n > 3 {
		s.t.Errorf("%s: %d attempts, want at most 3", c.id, n)
	}
	if !whole || len(runs) == 0 {
		return
	}
	for _, r := range s.runs {
		if r.key != runs[len(runs)-1] {
			continue
		}
		if n := before(r.frames, wire.End); len(c.pieces) < n {
			s.t.Errorf("%s: %d pieces of %d, told that they are all", c.id, len(c.pieces), n)
		}
		if last := s.last(c).Attempt; r.job.Attempt != last {
			s.t.Errorf("%s: the end is that of attempt %d, after attempt %d began", c.id, r.job.Attempt, last)
		}
	}
}

// before counts the pieces up to the first frame of a kind.
func before(frames []wire.Frame, kind wire.Kind) (n int) {
	for i := range frames {
		if frames[i].Kind == kind {
			return n
		}
		if frames[i].Kind == wire.Data {
			n++
		}
	}
	return n
}

// roomForAll checks that as many requests can be let in as at the beginning.
func (s *stage) roomForAll() {
	var again []*patron
	for i := range s.clients {
		req := request()
		req.ID = fmt.Sprint("again", i)
		again = append(again, s.do(req))
	}
	synctest.Wait()
	for _, c := range again {
		c.leave()
	}
	synctest.Wait()
	for _, c := range again {
		c.read(s.t)
		var e *router.Error
		if errors.As(c.over, &e) && e.Status == 429 && e.Reason == "all_requests" {
			s.t.Errorf("all have ended, and there is no room for as many: %v", e)
		}
		c.close()
	}
}
