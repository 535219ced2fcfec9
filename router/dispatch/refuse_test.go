package dispatch_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
)

// refusals is what a frontend hears of its queued jobs.
type refusals struct {
	begun time.Time
	mu    sync.Mutex
	got   []heard
}

type heard struct {
	wire.Refusal

	at time.Duration // since the start
}

func (s *site) refusals(b *bus.Bus, frontend string) *refusals {
	s.Helper()
	r := &refusals{begun: time.Now()}
	stop, err := b.Subscribe(wire.RefuseSubject(frontend), func(data []byte) {
		var all []wire.Refusal
		if err := json.Unmarshal(data, &all); err != nil {
			s.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, one := range all {
			r.got = append(r.got, heard{one, time.Since(r.begun)})
		}
	})
	if err != nil {
		s.Fatal(err)
	}
	s.stops = append(s.stops, stop)
	return r
}

func (r *refusals) all() []heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// A burst that one worker needs 40 seconds for, of which the first tokens are promised within ten.
func TestFrontendsHearOfLateJobs(t *testing.T) {
	inBubble(t, func(s *site) {
		law := aggregated()
		law.SLO.TTFT, law.RejectLate = 10*time.Second, true
		f := s.frontend("f1", law, "w1")
		w := s.worker("w1", serve(t))
		client := s.bus("client")
		heard := s.refusals(client, "f1")
		others := s.refusals(client, "f2")
		for i := range 40 {
			s.publish(client, request(i, wire.Standard))
		}
		time.Sleep(30 * time.Second)
		served, refused := w.jobs(), heard.all()
		if len(served)+len(refused) != 40 || len(served) < 8 || len(served) > 11 {
			t.Errorf("%d served and %d refused, want all of 40 and 8 to 11 served", len(served), len(refused))
		}
		for i, r := range refused {
			if slices.Contains(served, fmt.Sprintf("r%03d", r.Stream)) || r.Attempt != 1 || r.Reason != wire.TooLate {
				t.Errorf("refused %+v", r)
			}
			if r.at > law.SLO.TTFT+time.Second {
				t.Errorf("job %d is refused after %v, want within the promise", r.Stream, r.at)
			}
			if i > 0 && r.RetryAfter < refused[i-1].RetryAfter {
				t.Errorf("number %d may come again after %v, the one before it after %v", i, r.RetryAfter, refused[i-1].RetryAfter)
			}
		}
		if n := len(refused); n > 0 && (refused[0].RetryAfter < time.Second || refused[n-1].RetryAfter < 20*time.Second) {
			t.Errorf("they may come again after %v to %v", refused[0].RetryAfter, refused[n-1].RetryAfter)
		}
		if n := len(others.all()); n != 0 {
			t.Errorf("another frontend heard of %d jobs", n)
		}
		s.empty(client)
		if n := f.held(t); n != 0 {
			t.Errorf("%d jobs are held", n)
		}
	})
}

func TestFrontendsHearOfPassedDeadlines(t *testing.T) {
	inBubble(t, func(s *site) {
		s.frontend("f1", aggregated()) // and no worker
		client := s.bus("client")
		heard := s.refusals(client, "f1")
		limited := request(1, wire.Standard)
		limited.Deadline = time.Now().Add(3 * time.Second)
		s.publish(client, limited)
		time.Sleep(4 * time.Second)
		if got := heard.all(); len(got) != 1 || got[0].Stream != 1 || got[0].Reason != wire.DeadlineOver || got[0].at != 3*time.Second {
			t.Errorf("heard %+v, want that the deadline passed after 3 s", got)
		}
		s.empty(client)
	})
}
