package worker_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/baton-llm/baton/internal/worker/workertest"
)

// stage runs jobs of a second each and notes how each ended: nil or the cause.
type stage struct {
	worker.Stage[string]

	mu    sync.Mutex
	ended map[string]error
}

func newStage(room *worker.Room, sources ...worker.Source[string]) *stage {
	s := &stage{ended: map[string]error{}}
	s.Sources, s.Drain = sources, time.Minute
	s.Take = func(ctx context.Context, _ *string) (func(), error) { return room.Enter(ctx, 1, 1, nil) }
	s.Work = func(ctx context.Context, d *worker.Delivery[string], _ func()) {
		var err error
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.ended[d.Job] = err
	}
	return s
}

// of returns the jobs that ended so, in order of their names.
func (s *stage) of(cause error) (jobs []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for job, err := range s.ended {
		if errors.Is(err, cause) {
			jobs = append(jobs, job)
		}
	}
	slices.Sort(jobs)
	return jobs
}

// run runs the stage until stop is called, which returns how long the drain took.
func (s *stage) run(t *testing.T) (stop func() time.Duration) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() time.Duration {
		begun := time.Now()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run = %v", err)
		}
		return time.Since(begun)
	}
}

func TestStageRunsWhatItsSourcesBring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := workertest.NewQueue[string](), workertest.NewQueue[string]()
		s := newStage(worker.NewRoom(2, 0, 0, ignore), one.Source, two.Source)
		stop := s.run(t)
		for _, job := range []string{"a", "b", "c"} {
			one.Put(job, 1)
		}
		two.Put("d", 1)
		time.Sleep(time.Second)
		synctest.Wait()
		if got := s.of(nil); len(got) != 2 {
			t.Errorf("%v ended in a second, want as many as there are slots", got)
		}
		time.Sleep(time.Minute)
		if got := s.of(nil); len(got) != 4 {
			t.Errorf("%v ended, want all", got)
		}
		if took := stop(); took != 0 {
			t.Errorf("an idle stage took %v to stop", took)
		}
	})
}

// Dispatchers learn with a delay that a worker leaves. What they have sent until then is still done
// while the stage is busy.
func TestDrainingStageStillRunsWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workertest.NewQueue[string]()
		s := newStage(worker.NewRoom(1, 0, 0, ignore), q.Source)
		stop := s.run(t)
		q.Put("a", 1)
		q.Put("b", 1)
		synctest.Wait()
		time.AfterFunc(1500*time.Millisecond, func() { q.Put("sent late", 1) })
		if took := stop(); took != 3*time.Second {
			t.Errorf("the drain took %v, want until nothing is left", took)
		}
		if got := s.of(nil); !slices.Equal(got, []string{"a", "b", "sent late"}) {
			t.Errorf("%v ended well", got)
		}
		q.Put("too late", 1)
		time.Sleep(time.Minute)
		if taken, _, _ := q.Counts(); taken != 3 {
			t.Errorf("%d jobs were taken, want none after the end", taken)
		}
	})
}

func TestWhatOutlastsTheDrainIsStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workertest.NewQueue[string]()
		s := newStage(worker.NewRoom(1, 0, 0, ignore), q.Source)
		s.Drain = 1500 * time.Millisecond
		stop := s.run(t)
		for _, job := range []string{"in time", "running", "waiting", "behind it"} {
			q.Put(job, 1)
		}
		synctest.Wait()
		if took := stop(); took != s.Drain {
			t.Errorf("the drain took %v, want %v", took, s.Drain)
		}
		if got := s.of(nil); !slices.Equal(got, []string{"in time"}) {
			t.Errorf("%v ended well", got)
		}
		// Those that wait for room are run only so that they are handed back.
		if got := s.of(worker.ErrStopping); !slices.Equal(got, []string{"behind it", "running", "waiting"}) {
			t.Errorf("%v were stopped", got)
		}
	})
}

// lots is a queue that is never empty; it notes how many jobs it yielded of each fetch.
type lots struct{ fetched []int }

func (l *lots) Fetch(ctx context.Context, _ string, n int, _ time.Duration) iter.Seq2[*worker.Delivery[string], error] {
	return func(yield func(*worker.Delivery[string], error) bool) {
		at := len(l.fetched)
		l.fetched = append(l.fetched, 0)
		for range n {
			if ctx.Err() != nil {
				return
			}
			l.fetched[at]++
			if !yield(&worker.Delivery[string]{Job: "x"}, nil) {
				return
			}
		}
	}
}

// The bus keeps alive what it has yielded, and nothing else: a stage without room must not leave jobs
// of a fetch unseen.
func TestWaitingJobsAreAllFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &lots{}
		s := newStage(worker.NewRoom(1, 0, 0, ignore), worker.FromQueue(q, "d1", quiet()))
		s.Drain = 0
		stop := s.run(t)
		time.Sleep(10*time.Second + time.Second/2)
		synctest.Wait()
		total, last := 0, 0
		for _, n := range q.fetched {
			total, last = total+n, n
		}
		if waiting := total - 11; waiting < 100 || waiting > 2000 || last != 1 {
			t.Errorf("%d jobs wait, the last fetch had %d; want a bounded number, and no job of a fetch left behind", waiting, last)
		}
		stop()
		if ran, back := len(s.of(nil)), len(s.of(worker.ErrStopping)); ran+back != 1 { // all have one name
			t.Errorf("%d and %d ended", ran, back)
		}
	})
}

// broken fails its first fetches.
type broken struct {
	left  int
	tries []time.Time
}

func (b *broken) Fetch(context.Context, string, int, time.Duration) iter.Seq2[*worker.Delivery[string], error] {
	return func(yield func(*worker.Delivery[string], error) bool) {
		b.tries = append(b.tries, time.Now())
		if b.left--; b.left >= 0 {
			yield(nil, errors.New("broken"))
			return
		}
		yield(&worker.Delivery[string]{Job: "x"}, nil)
	}
}

func TestFailingFetchIsTriedAgainWithAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &broken{left: 2}
		got := make(chan string)
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		g.Go(func() {
			worker.FromQueue(q, "d1", quiet())(ctx, func(d *worker.Delivery[string]) int {
				select {
				case got <- d.Job:
				case <-ctx.Done():
				}
				return 1
			})
		})
		<-got
		cancel()
		g.Wait()
		if pause := q.tries[1].Sub(q.tries[0]); pause < 100*time.Millisecond || pause > 10*time.Second {
			t.Errorf("tried again after %v", pause)
		}
	})
}

func assigned(id string, place wire.Place) wire.PrefillJob {
	return wire.PrefillJob{Request: wire.Request{ID: id, Frontend: "f", Stream: 1, Attempt: 1}, Assignment: &wire.Assignment{Place: place}, Body: []byte(id)}
}

func TestAssignmentsGoToTheirStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workertest.NewQueue[wire.PrefillJob]()
		a := worker.NewAssignments(true, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		split, whole := make(chan *worker.Delivery[wire.PrefillJob], 1), make(chan *worker.Delivery[wire.DecodeJob], 1)
		var g sync.WaitGroup
		g.Go(func() { a.Split(ctx, func(d *worker.Delivery[wire.PrefillJob]) int { split <- d; return 0 }) })
		g.Go(func() { a.Whole(ctx, func(d *worker.Delivery[wire.DecodeJob]) int { whole <- d; return 0 }) })
		a.Put(q.Delivery(assigned("s", wire.PlaceSplit), 1))
		a.Put(q.Delivery(assigned("w", wire.PlaceWhole), 3))
		if d := <-split; d.Job.ID != "s" {
			t.Errorf("the prefill stage got %s", d.Job.ID)
		}
		d := <-whole
		if !d.Job.Whole || d.Job.Handle != nil || d.Job.ID != "w" || string(d.Job.Body) != "w" || d.Deliveries != 3 || d.Job.Assignment == nil {
			t.Errorf("the decode stage got %+v", d)
		}
		if err := d.Ack.Done(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		g.Wait()
		a.Put(q.Delivery(assigned("late", wire.PlaceWhole), 1))
		if _, done, retried := q.Counts(); done != 1 || retried != 1 {
			t.Errorf("%d done, %d handed back, want the whole one done and the late one handed back", done, retried)
		}
	})
}

func TestAssignmentsThatCannotBeTakenGoBack(t *testing.T) {
	for name, tc := range map[string]struct {
		prefills bool
		job      wire.PrefillJob
	}{
		"no such stage": {false, assigned("s", wire.PlaceSplit)},
		"unknown place": {true, assigned("s", "elsewhere")},
		"no assignment": {true, wire.PrefillJob{}},
	} {
		t.Run(name, func(t *testing.T) {
			q := workertest.NewQueue[wire.PrefillJob]()
			worker.NewAssignments(tc.prefills, quiet()).Put(q.Delivery(tc.job, 1))
			if _, _, retried := q.Counts(); retried != 1 {
				t.Errorf("%d handed back, want 1", retried)
			}
		})
	}
	t.Run("full", func(t *testing.T) {
		q := workertest.NewQueue[wire.PrefillJob]()
		a := worker.NewAssignments(true, quiet())
		for range 2000 { // nobody takes them
			a.Put(q.Delivery(assigned("s", wire.PlaceSplit), 1))
		}
		if _, _, retried := q.Counts(); retried == 0 || retried == 2000 {
			t.Errorf("%d of 2000 handed back, want those beyond a bound", retried)
		}
	})
}

// What waits when the sources end is handed back by the stage, not forgotten.
func TestAssignmentsLeftAtTheEndReachTheStage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := workertest.NewQueue[wire.PrefillJob]()
		a := worker.NewAssignments(true, quiet())
		for range 5 {
			a.Put(q.Delivery(assigned("s", wire.PlaceSplit), 1))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		taken := 0
		a.Split(ctx, func(*worker.Delivery[wire.PrefillJob]) int { taken++; return 0 })
		if taken != 5 {
			t.Errorf("%d of 5 reached the stage", taken)
		}
	})
}
