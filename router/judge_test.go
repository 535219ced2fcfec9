package router_test

import (
	"encoding/json"
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
		c.close(s.t)
		c.close(s.t) // may come twice
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

// judge checks one client's answer and how it came about.
func (s *stage) judge(c *patron, state string) {
	took := s.judgePieces(c)
	s.judgeTries(c)
	if c.manner == goingOn {
		s.judgeBodies(c, state)
	}
	told := errors.Is(c.over, io.EOF)
	if told && state != "done" || state == "done" && !told && !c.closed {
		s.t.Errorf("%s is %s, and its client was told %v", c.id, state, c.over)
	}
	if told && !s.ended(c, took) {
		s.t.Errorf("%s: of no run of its last attempt these pieces are all: %q", c.id, c.pieces)
	}
}

// judgePieces checks that a client has each piece once and in order: of one run, or of an answer that can go on of several, each of a
// later attempt. It returns how many pieces are of which run.
func (s *stage) judgePieces(c *patron) map[string]int {
	took := map[string]int{}
	var before *feed
	for i, text := range c.pieces {
		p := parts(text)
		r := s.feed(p.run)
		if r == nil || p.request != c.id || p.n != took[p.run] {
			s.t.Errorf("%s: piece %d is %s, of %q", c.id, i, text, c.pieces)
			return took
		}
		took[p.run]++
		if took[p.run] > r.valid {
			s.t.Errorf("%s: piece %s came when the run was over or another attempt had begun", c.id, text)
		}
		if before != nil && before != r {
			if c.manner != goingOn || before.job.Attempt >= r.job.Attempt {
				s.t.Errorf("%s: run %s goes on behind %s: %q", c.id, r.key, before.key, c.pieces)
			}
			s.stoppedBy(before, s.try(&r.job).since)
		}
		before = r
	}
	return took
}

// stoppedBy checks that the worker of a run which another one continues was told in time to stop.
func (s *stage) stoppedBy(r *feed, next time.Time) {
	s.mu.Lock()
	at, told := s.stopped[r.id.Run]
	s.mu.Unlock()
	over := r.ended || slices.ContainsFunc(r.frames[:r.got], func(f wire.Frame) bool { return f.Kind.Final() })
	if !over && (!told || at.After(next)) {
		s.t.Errorf("the worker of %s goes on, though another attempt began", r.key)
	}
}

// ended tells whether a run of the last attempt ended, and the client has all of it.
func (s *stage) ended(c *patron, took map[string]int) (ended bool) {
	for _, r := range s.runs {
		if r.job.ID != c.id || r.job.Attempt != s.last(c).Attempt {
			continue
		}
		all := (r.ended || r.last) && took[r.key] == r.valid
		if took[r.key] > 0 {
			return all
		}
		ended = ended || all
	}
	return ended
}

// judgeTries checks that there is another attempt only where something has happened to the one before, and that a request fails for
// what may be tried again only after as many as there may be.
func (s *stage) judgeTries(c *patron) {
	jobs, most := s.of(c), router.DefaultConfig().Attempts
	for i := range jobs {
		t := s.try(&jobs[i].Request)
		most += t.lost
		if t.spared {
			most++
		}
		if t.good {
			most += i + 1
		}
		if i+1 < len(jobs) && !t.broken && !t.handed && t.lost == 0 {
			s.t.Errorf("%s: nothing has happened to attempt %d, and there is another", c.id, i+1)
		}
	}
	if len(jobs) > most {
		s.t.Errorf("%s: %d attempts, want at most %d", c.id, len(jobs), most)
	}
	var e *router.Error
	canBeTried := c.manner != streamed || len(c.pieces) == 0
	if errors.As(c.over, &e) && wire.Reason(e.Reason).Retryable() && canBeTried && len(jobs) < router.DefaultConfig().Attempts {
		s.t.Errorf("%s: given up after %d attempts with %s: %q", c.id, len(jobs), e.Reason, c.pieces)
	}
}

// judgeBodies checks that each attempt to go on was asked for what is behind all that the client gets of those before.
func (s *stage) judgeBodies(c *patron, state string) {
	for _, job := range s.of(c) {
		var body struct{ Prompt string }
		if err := json.Unmarshal(job.Body, &body); err != nil {
			s.t.Errorf("%s: attempt %d has the body %q", c.id, job.Attempt, job.Body)
			continue
		}
		has := firstText
		for _, p := range c.pieces {
			if r := s.feed(parts(p).run); r != nil && r.job.Attempt < job.Attempt {
				has += p
			}
		}
		if all := state != "cancelled"; all && body.Prompt != has || !strings.HasPrefix(body.Prompt, has) {
			s.t.Errorf("%s: attempt %d was asked to go on behind %q, and its client has %q", c.id, job.Attempt, body.Prompt, has)
		}
	}
}

func (s *stage) feed(key string) *feed {
	for _, r := range s.runs {
		if r.key == key {
			return r
		}
	}
	return nil
}

// roomForAll checks that as many requests can be let in as at the beginning.
func (s *stage) roomForAll() {
	var again []*patron
	for i := range s.clients {
		req := request()
		req.ID = fmt.Sprint("again", i)
		again = append(again, s.do(req, streamed))
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
		c.close(s.t)
	}
}
