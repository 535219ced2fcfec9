package worker_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/worker"
)

func ignore(int, int) {}

func enter(t *testing.T, room *worker.Room, tokens, free int) (release func()) {
	t.Helper()
	release, err := room.Enter(t.Context(), tokens, free, nil)
	if err != nil {
		t.Fatal(err)
	}
	return release
}

func TestRoomIsBounded(t *testing.T) {
	for name, tc := range map[string]struct {
		slots, capacity, atLeast int
		tokens, free             int
		want                     int // jobs that are in at once
	}{
		"slots":                             {slots: 3, tokens: 1, free: 1, want: 3},
		"tokens":                            {capacity: 100, tokens: 30, free: 30, want: 3},
		"the last reaches past":             {capacity: 100, tokens: 30, free: 1, want: 4},
		"larger than all":                   {capacity: 100, tokens: 500, free: 500, want: 1},
		"so many whatever their tokens":     {capacity: 100, atLeast: 2, tokens: 500, free: 1, want: 2},
		"slots bind also below the minimum": {slots: 1, capacity: 100, atLeast: 2, tokens: 500, free: 1, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				most := 0
				room := worker.NewRoom(tc.slots, tc.capacity, tc.atLeast, func(jobs, _ int) { most = max(most, jobs) })
				var g sync.WaitGroup
				for range 10 {
					g.Go(func() {
						release := enter(t, room, tc.tokens, tc.free)
						time.Sleep(time.Second)
						release()
						release()
					})
				}
				g.Wait()
				if jobs, tokens, _ := room.Used(); most != tc.want || jobs != 0 || tokens != 0 {
					t.Errorf("%d jobs were in at once, want %d; %d jobs and %d tokens are left", most, tc.want, jobs, tokens)
				}
			})
		})
	}
}

// Two sources wait for one room. The news that wakes the one for which there is no room yet must reach
// the other, too.
func TestEveryWaitingJobHearsOfTheRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := worker.NewRoom(0, 100, 1, ignore)
		long, short := enter(t, room, 60, 60), enter(t, room, 40, 40)
		entered := make(chan int, 2)
		for _, tokens := range []int{80, 30} {
			go func() {
				release := enter(t, room, tokens, tokens)
				entered <- tokens
				time.Sleep(time.Minute)
				release()
			}()
			synctest.Wait()
		}
		short()
		synctest.Wait()
		if len(entered) != 1 || <-entered != 30 {
			t.Error("the job that fits did not come in")
		}
		long()
		synctest.Wait()
		time.Sleep(time.Hour)
		if len(entered) != 1 {
			t.Error("the long job never came in")
		}
	})
}

func TestRoomAsksWhoeverElseMustAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := worker.NewRoom(0, 0, 0, ignore)
		agrees := false
		entered := make(chan func(), 1)
		go func() {
			release, err := room.Enter(t.Context(), 1, 1, func(jobs int) bool { return jobs == 0 && agrees })
			if err != nil {
				t.Error(err)
			}
			entered <- release
		}()
		synctest.Wait()
		if len(entered) != 0 {
			t.Fatal("a job came in against the condition")
		}
		agrees = true
		room.Notify()
		(<-entered)()
	})
}

func TestWaitForRoomEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := worker.NewRoom(1, 0, 0, ignore)
		release := enter(t, room, 1, 1)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, worker.ErrStopping)
		defer cancel()
		if _, err := room.Enter(ctx, 1, 1, nil); !errors.Is(err, worker.ErrStopping) {
			t.Errorf("Enter = %v", err)
		}
		release()
		if _, err := room.Enter(ctx, 1, 1, nil); !errors.Is(err, worker.ErrStopping) {
			t.Errorf("Enter after the end = %v, although there is room", err)
		}
	})
}

func TestNewCapacityLetsJobsIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := worker.NewRoom(0, 10, 1, ignore)
		defer enter(t, room, 10, 10)()
		time.AfterFunc(time.Minute, func() { room.SetCapacity(20) })
		begun := time.Now()
		enter(t, room, 10, 10)()
		if took := time.Since(begun); took != time.Minute {
			t.Errorf("Enter took %v, want to the new capacity", took)
		}
	})
}
