package app

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/internal/operator"
	"github.com/baton-llm/baton/internal/wire"
)

func (s *site) drain(t *testing.T, worker string, keep bool) (said string) {
	t.Helper()
	var out strings.Builder
	if err := s.tool(t, func(d *operator.Desk) error { return d.Drain(t.Context(), worker, keep, &out) }); err != nil {
		t.Errorf("drain %s: %v, after %q", worker, err, out.String())
	}
	return out.String()
}

// A worker is drained in the midst of its work: what it has it finishes, nothing new comes, nobody notices; and when it
// was kept, work comes again on a word.
func TestDrainAndUndrainUnderLoad(t *testing.T) {
	cfg := onePair()
	cfg.Schedule = DefaultConfig().Schedule
	cfg.Up.Decode = 2
	onSite(t, cfg, everyone, func(t *testing.T, s *site) {
		w := s.of(wire.RoleDecode)[0]
		assigned := s.count(t, wire.AssignSubject(w.worker))
		var g errgroup.Group
		over, asked := make(chan struct{}), 0
		g.Go(func() error {
			for tick := time.NewTicker(50 * time.Millisecond); ; asked++ {
				select {
				case <-tick.C:
				case <-over:
					tick.Stop()
					return nil
				}
				prompt := fmt.Sprint("short ", asked)
				g.Go(func() error { return s.proven(t, prompt, 30) })
			}
		})
		time.Sleep(3 * time.Second)
		if assigned.Load() == 0 {
			t.Fatal("the worker got no work before")
		}
		said := s.drain(t, w.worker, true)
		if !strings.Contains(said, "takes no more work") || !strings.Contains(said, "baton undrain "+w.worker) {
			t.Errorf("drain says %q", said)
		}
		had := assigned.Load()
		if list := s.list(t); !strings.Contains(list, "held") {
			t.Errorf("the list does not say that the worker is held:\n%s", list)
		}
		time.Sleep(3 * time.Second)
		if now := assigned.Load(); now != had {
			t.Errorf("%d jobs came to a worker that is held", now-had)
		}
		var out strings.Builder
		for _, want := range []string{"takes work again", "took work already"} {
			if err := s.tool(t, func(d *operator.Desk) error { return d.Undrain(t.Context(), w.worker, &out) }); err != nil || !strings.Contains(out.String(), want) {
				t.Errorf("undrain: %q, %v, want %q", out.String(), err, want)
			}
		}
		time.Sleep(3 * time.Second)
		if assigned.Load() == had {
			t.Error("no job came after undrain")
		}
		if said := s.drain(t, w.worker, false); !strings.Contains(said, w.worker+" has ended") {
			t.Errorf("drain says %q", said)
		}
		w.leave() // returns, with the error if there was one, because it has ended
		time.Sleep(time.Second)
		close(over)
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if n := metric(t, s.d.proc.reg, "baton_requests_total", "done"); int(n) != asked {
			t.Errorf("%v of %d requests are done", n, asked)
		}
	})
}

// A worker that shares its process with others cannot end alone.
func TestWorkerOfManyDoesNotEnd(t *testing.T) {
	cfg := onePair()
	onSite(t, cfg, everyone, func(t *testing.T, s *site) {
		acts := newActing(wire.RoleDecode, s.d.proc.log)
		if _, err := acts.drain([]byte(wire.DrainLeave)); err == nil || !strings.Contains(err.Error(), "--keep") {
			t.Errorf("drain = %v", err)
		}
		if _, err := acts.drain([]byte("sleep")); err == nil || !strings.Contains(err.Error(), `not "sleep"`) {
			t.Errorf("drain = %v", err)
		}
		err := s.tool(t, func(d *operator.Desk) error { return d.Drain(t.Context(), "nobody", true, t.Output()) })
		if err == nil || !strings.Contains(err.Error(), "no worker nobody answers") {
			t.Errorf("drain of nobody = %v", err)
		}
	})
}

// What waits is counted and listed by class, and a purged class hears of it at once while the others go on.
func TestQueueIsShownAndPurged(t *testing.T) {
	cfg := splitting(onePair())
	onSite(t, cfg, everyone, func(t *testing.T, s *site) {
		const each = 20
		var g errgroup.Group
		var done, refused atomic.Int64
		var last atomic.Int64 // when the last client of class batch was refused
		for i := range each {
			for _, class := range []string{"interactive", "batch"} {
				body := chatBody(s.cfg.Sim.Model, longPrompt(2*i+len(class)), 5)
				g.Go(func() error {
					status, err := s.post(t.Context(), body, class)
					switch {
					case err != nil:
						return err
					case status == http.StatusOK:
						done.Add(1)
					case status == http.StatusServiceUnavailable && class == "batch":
						refused.Add(1)
						last.Store(time.Now().UnixNano())
					default:
						return fmt.Errorf("%s: status %d", class, status)
					}
					return nil
				})
			}
		}
		time.Sleep(time.Second) // of about 20 for all
		var purged int
		if err := s.tool(t, func(d *operator.Desk) error {
			queues, err := d.Queues(t.Context())
			if err != nil {
				return err
			}
			q := queues[0]
			if q.Jobs == 0 || q.Bytes == 0 || len(q.Classes) != 3 || q.Classes[2].Waiting == 0 || *q.Classes[2].Jobs != uint64(q.Classes[2].Waiting) || q.Classes[2].Oldest < 1 {
				t.Errorf("the prefill queue is %+v", q)
			}
			batch := wire.Batch
			ask := wire.QueueAsk{Line: wire.LinePrefill, Class: &batch, Most: 3}
			peek, err := d.Waiting(t.Context(), ask)
			if err != nil {
				return err
			}
			if len(peek.Requests) != 3 || peek.Total != q.Classes[2].Waiting || peek.Requests[0].Class != wire.Batch || peek.Requests[0].Tokens < 1000 || peek.Purged != 0 {
				t.Errorf("waiting are %+v", peek)
			}
			ask.Purge = true
			begun := time.Now()
			gone, err := d.Waiting(t.Context(), ask)
			purged = gone.Purged
			synctest.Wait()
			if took := time.Unix(0, last.Load()).Sub(begun); took > 2*time.Second || int(refused.Load()) != purged || purged == 0 {
				t.Errorf("%d requests purged, %d clients heard of it, the last after %v", purged, refused.Load(), took)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if int(done.Load()) != 2*each-purged {
			t.Errorf("%d done and %d purged of %d", done.Load(), purged, 2*each)
		}
		if err := s.tool(t, func(d *operator.Desk) error {
			queues, err := d.Queues(t.Context())
			if queues[0].Jobs != 0 || queues[1].Jobs != 0 {
				t.Errorf("the queues still are %+v", queues)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
		time.Sleep(s.cfg.Sim.Lease)
	})
}
