package dispatch_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/dispatch"
)

func TestEveryJobIsAssignedOnceInOrder(t *testing.T) {
	inBubble(t, func(s *site) {
		s.frontend("f1", aggregated(), "w1")
		w := s.worker("w1", serve(t))
		client := s.bus("client")
		var want []string
		for i := range 20 {
			j := request(i, wire.Standard)
			want = append(want, j.ID)
			s.publish(client, j)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		if got := w.jobs(); !slices.Equal(got, want) {
			t.Errorf("assigned %v, want %v", got, want)
		}
		s.empty(client)
	})
}

// The process that dispatches dies with jobs in its hands: another takes over within three seconds,
// and what the dead one held comes again.
func TestAnotherFrontendTakesOver(t *testing.T) {
	inBubble(t, func(s *site) {
		fronts := []*frontend{s.frontend("f1", aggregated(), "w1"), s.frontend("f2", aggregated(), "w1"), s.frontend("f3", aggregated(), "w1")}
		w := s.worker("w1", serve(t))
		client := s.bus("client")
		for i := range 30 {
			s.publish(client, request(i, wire.Standard))
		}
		time.Sleep(5 * time.Second)
		before := len(w.jobs())
		if before == 0 || before == 30 {
			t.Fatalf("%d of 30 jobs assigned, want some", before)
		}
		fronts[0].kill()
		s.publish(client, request(100, wire.Interactive))
		time.Sleep(3*time.Second + 2*time.Second) // to take over, and for the job that runs
		if got := w.jobs(); !slices.Contains(got, "r100") {
			t.Errorf("a new job was not assigned after the takeover: %v", got)
		}
		time.Sleep(2 * time.Minute)
		got := w.jobs()
		slices.Sort(got)
		if n := len(slices.Compact(slices.Clone(got))); n != 31 || len(got) != 31 {
			t.Errorf("%d assignments of %d jobs, want 31 of 31", len(got), n)
		}
		s.empty(client)
	})
}

func TestAbandonedJobIsDropped(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f1", aggregated()) // and no worker yet
		client := s.bus("client")
		keep, leave := request(1, wire.Standard), request(2, wire.Standard)
		s.publish(client, keep, leave)
		time.Sleep(time.Second)
		keys, err := json.Marshal([]string{leave.MsgID()})
		if err != nil {
			t.Fatal(err)
		}
		if err := client.Publish(wire.AbandonSubject(model), keys); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w := s.worker("w1", serve(t))
		f.fleet.set("w1")
		time.Sleep(10 * time.Second)
		if got := w.jobs(); !slices.Equal(got, []string{keep.ID}) {
			t.Errorf("assigned %v, want only %s", got, keep.ID)
		}
		s.empty(client)
	})
}

func TestJobsOfADeadFrontendAreDropped(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f2", aggregated())
		client := s.bus("client")
		s.publish(client, request(1, wire.Standard), request(2, wire.Standard)) // of f1
		time.Sleep(time.Second)
		f.fleet.lose("f1")
		time.Sleep(20 * time.Second)
		s.empty(client)
		if n := f.held(t); n != 0 {
			t.Errorf("%d jobs are held, want none", n)
		}
	})
}

// Whatever else happens all the time, the fleet is looked at.
func TestJobsOfADeadFrontendAreDroppedInTraffic(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f2", aggregated())
		client := s.bus("client")
		job := request(1, wire.Standard)
		s.publish(client, job) // of f1
		time.Sleep(time.Second)
		f.fleet.lose("f1")
		busy := s.worker("busy", serve(t))
		for range 200 {
			busy.report(t, &dispatch.Delivery{Job: *job}, wire.StageEnded)
			time.Sleep(100 * time.Millisecond)
		}
		s.empty(client)
	})
}

// The frontend was dead before this process came, so nobody tells it.
func TestJobsOfALongDeadFrontendAreDropped(t *testing.T) {
	inBubble(t, func(s *site) {
		client := s.bus("client")
		s.publish(client, request(1, wire.Standard))
		f := s.frontend("f2", aggregated())
		f.fleet.lose("f1")
		time.Sleep(20 * time.Second)
		s.empty(client)
	})
}

// A frontend that is only slow still has its clients.
func TestJobsOfASilentFrontendAreKeptForAWhile(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f2", aggregated())
		client := s.bus("client")
		s.publish(client, request(1, wire.Standard))
		for range 3 {
			f.fleet.lose("f1")
			time.Sleep(10 * time.Second)
			f.fleet.set("f1")
			time.Sleep(time.Second)
		}
		if n := f.held(t); n != 1 {
			t.Errorf("%d jobs are held, want the one", n)
		}
	})
}

// What a dispatcher holds when it ends is another's as soon as that is the one to get the jobs, long
// before the server gives the first one up.
func TestJobsOfADispatcherThatLeavesAreHandedBack(t *testing.T) {
	inBubble(t, func(s *site) {
		first := s.frontend("f1", aggregated())
		second := s.frontend("f2", aggregated())
		client := s.bus("client")
		for i := range 50 {
			s.publish(client, request(i, wire.Standard))
		}
		time.Sleep(time.Second)
		if first.held(t)+second.held(t) != 50 || first.held(t)*second.held(t) != 0 {
			t.Fatalf("%d and %d jobs are held, want all by one", first.held(t), second.held(t))
		}
		if first.held(t) == 0 {
			first, second = second, first
		}
		first.leave()
		time.Sleep(ackWait - time.Second)
		if first.held(t) != 0 || second.held(t) != 50 {
			t.Errorf("%d and %d jobs are held, want all by the other", first.held(t), second.held(t))
		}
	})
}

// A job that the server gives up, because it has not heard of it for too long, comes again while the
// first delivery is still here. It is one job.
func TestJobThatComesAgainIsHeldOnce(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f1", aggregated())
		client := s.bus("client")
		s.publish(client, request(1, wire.Standard), request(2, wire.Standard))
		time.Sleep(time.Second)
		hasty, _ := s.connect("hasty", time.Second)
		if err := hasty.Prefill().Hold(s.Context(), model); err != nil { // which makes the server wait for less than the dispatcher thinks
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if n := f.held(t); n != 2 {
			t.Errorf("%d jobs are held, want 2", n)
		}
		w := s.worker("w1", serve(t))
		f.fleet.set("w1")
		time.Sleep(20 * time.Second)
		got := w.jobs()
		slices.Sort(got)
		if got := slices.Compact(got); len(got) != 2 {
			t.Errorf("assigned %v, want both", got)
		}
		if n := f.held(t); n != 0 {
			t.Errorf("%d jobs are still held", n)
		}
	})
}

// A worker that dies before it has done anything with a job loses it to another at once, not only
// when the server gives it up.
func TestJobOfADeadWorkerComesAgainAtOnce(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f1", aggregated(), "dead")
		client := s.bus("client")
		s.publish(client, request(1, wire.Standard))
		time.Sleep(time.Second)
		w := s.worker("w1", serve(t))
		f.fleet.set("w1")
		f.fleet.lose("dead")
		time.Sleep(500 * time.Millisecond)
		if got := w.jobs(); !slices.Equal(got, []string{"r001"}) {
			t.Errorf("assigned %v, want r001", got)
		}
		time.Sleep(10 * time.Second)
		s.empty(client)
	})
}

// The fleet's word of a death may be lost on a dispatcher that is very busy.
func TestJobOfAWorkerThatVanishesComesAgain(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f1", aggregated(), "dead")
		client := s.bus("client")
		s.publish(client, request(1, wire.Standard), request(2, wire.Standard))
		time.Sleep(time.Second)
		w := s.worker("w1", serve(t))
		f.fleet.mu.Lock()
		delete(f.fleet.workers, "dead")
		f.fleet.mu.Unlock()
		f.fleet.set("w1")
		time.Sleep(500 * time.Millisecond)
		if got := w.jobs(); len(got) == 0 {
			t.Error("nothing was assigned to the worker that is there")
		}
		time.Sleep(10 * time.Second)
		s.empty(client)
	})
}

// Nothing goes out while there is no connection. In virtual time a dispatcher that tries again without a
// pause would never let it pass.
func TestDispatcherWithoutAConnectionPauses(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f1", aggregated())
		client := s.bus("client")
		s.publish(client, request(1, wire.Standard), request(2, wire.Standard))
		time.Sleep(time.Second)
		f.cut()
		f.fleet.set("w1")
		time.Sleep(10 * time.Second)
		if n := f.held(t); n != 2 {
			t.Errorf("%d jobs are held, want both", n)
		}
	})
}

// Three frontends take requests, and there is one order for all of them.
func TestThreeFrontendsKeepOneOrder(t *testing.T) {
	inBubble(t, func(s *site) {
		var clients []*bus.Bus
		for i := range 3 {
			name := fmt.Sprintf("f%d", i+1)
			s.frontend(name, aggregated(), "w1")
			clients = append(clients, s.bus("client of "+name))
		}
		w := s.worker("w1", serve(t))
		var urgent, patient []string
		for i := range 30 {
			class := wire.Batch
			if i%3 == 2 {
				class = wire.Interactive
			}
			j := request(i, class)
			s.publish(clients[i%3], j)
			if i > 0 { // the first runs at once, whatever its class
				if class == wire.Interactive {
					urgent = append(urgent, j.ID)
				} else {
					patient = append(patient, j.ID)
				}
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2 * time.Minute)
		want := append(append([]string{"r000"}, urgent...), patient...)
		if got := w.jobs(); !slices.Equal(got, want) {
			t.Errorf("order is\n%v, want\n%v", got, want)
		}
	})
}
