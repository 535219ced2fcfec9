package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
)

const every = 10 * time.Second // between full reports

// listener keeps what a reporter publishes, with the time of each.
type listener struct {
	*worker.Reporter

	mu      sync.Mutex
	fail    bool
	reports []heard
}

type heard struct {
	wire.Report

	at time.Duration // since the start
}

func (h heard) stages() (stages []string) {
	for _, j := range h.Jobs {
		stages = append(stages, j.Key+" "+string(j.Stage))
	}
	slices.Sort(stages)
	return stages
}

// reporting runs a reporter in virtual time.
func reporting(t *testing.T, test func(t *testing.T, l *listener)) {
	synctest.Test(t, func(t *testing.T) {
		begun, l := time.Now(), &listener{}
		l.Reporter = worker.NewReporter("w1", begun, every, func(subject string, data []byte) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			if l.fail {
				return errors.New("no server")
			}
			r, err := wire.ReadReport(data)
			if err != nil || subject != wire.ReportSubject {
				t.Errorf("published %s on %s", data, subject)
			}
			l.reports = append(l.reports, heard{r, time.Since(begun)})
			return nil
		}, quiet())
		ctx, cancel := context.WithCancel(t.Context())
		var g sync.WaitGroup
		g.Go(func() { _ = l.Run(ctx) })
		test(t, l)
		cancel()
		g.Wait()
	})
}

func (l *listener) all() []heard {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.reports)
}

func (l *listener) breaks(fail bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = fail
}

func prefilling(key string) wire.JobReport {
	return wire.JobReport{Key: key, Stage: wire.StagePrefilling, Tokens: 5, KV: 9}
}

func TestChangesAreReportedAtOnceAndTogether(t *testing.T) {
	reporting(t, func(t *testing.T, l *listener) {
		l.Set(prefilling("a"))
		l.Set(wire.JobReport{Key: "a", Stage: wire.StageHanded})
		first := l.all()
		if len(first) != 1 || first[0].at != 0 || first[0].Full || first[0].Worker != "w1" || first[0].Seq != 1 || first[0].Started.IsZero() {
			t.Fatalf("reports are %+v, want one of the change, at once", first)
		}
		for i := range 50 { // while the reporter pauses
			l.Set(prefilling(fmt.Sprint("b", i)))
		}
		l.Set(wire.JobReport{Key: "a", Stage: wire.StageDecoding})
		l.Set(wire.JobReport{Key: "b0", Stage: wire.StageDecoding})
		time.Sleep(time.Second)
		all := l.all()
		if len(all) != 2 || len(all[1].Jobs) != 51 || all[1].at > 30*time.Millisecond || all[1].Seq != 2 {
			t.Fatalf("%d reports, want one more with all 51 changes", len(all))
		}
		if got := all[1].stages(); !slices.Contains(got, "a decoding") || !slices.Contains(got, "b0 decoding") {
			t.Errorf("reported %v, want the last stage of each job", got)
		}
	})
}

// Nobody waits for the news that a job has come, but all shall have it.
func TestJobsThatComeAreReportedALittleLaterAndTogether(t *testing.T) {
	reporting(t, func(t *testing.T, l *listener) {
		time.Sleep(time.Second)
		for i := range 40 {
			l.Set(prefilling(fmt.Sprint("a", i)))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		all := l.all()
		jobs := 0
		for _, r := range all {
			jobs += len(r.Jobs)
		}
		if jobs != 40 || len(all) > 10 || all[0].at > time.Second+30*time.Millisecond {
			t.Errorf("%d jobs in %d reports, the first after %v; want 40 in a few, within milliseconds", jobs, len(all), all[0].at)
		}
	})
}

func TestFullReportsComeEachIntervalAndWhenAsked(t *testing.T) {
	reporting(t, func(t *testing.T, l *listener) {
		l.Set(prefilling("a"))
		time.Sleep(every / 2)
		l.All()
		time.Sleep(every)
		var full []time.Duration
		for _, r := range l.all() {
			if !r.Full {
				continue
			}
			full = append(full, r.at)
			if got := r.stages(); !slices.Equal(got, []string{"a prefilling"}) {
				t.Errorf("a full report has %v", got)
			}
		}
		if want := []time.Duration{every / 2, every}; !slices.Equal(full, want) {
			t.Errorf("full reports came after %v, want %v", full, want)
		}
	})
}

func TestEndOfAJobIsReportedOnce(t *testing.T) {
	reporting(t, func(t *testing.T, l *listener) {
		ends := func(key string) (n int) {
			for _, r := range l.all() {
				if slices.Contains(r.stages(), key+" ended") {
					n++
				}
			}
			return n
		}
		l.Set(prefilling("a"))
		l.End("a")
		l.End("a")
		l.End("never heard of")
		time.Sleep(3 * every)
		if got := ends("a"); got != 1 {
			t.Errorf("the end of a job was reported %d times, want once", got)
		}
		if got := ends("never heard of"); got != 0 {
			t.Errorf("the end of a job that never was is reported")
		}

		// The full report that goes out instead of the one of the change has the end, too.
		l.Set(prefilling("b"))
		l.all()
		l.End("b") // waits for the pause to be over
		l.All()
		time.Sleep(3 * every)
		if got := ends("b"); got != 1 {
			t.Errorf("the end of a job just before a full report was reported %d times, want once", got)
		}
		all := l.all()
		if last := all[len(all)-1]; !last.Full || len(last.Jobs) != 0 {
			t.Errorf("the last report is %+v, want a full one without jobs", last)
		}
	})
}

func TestLostReportIsMendedByAFullOne(t *testing.T) {
	reporting(t, func(t *testing.T, l *listener) {
		l.breaks(true)
		l.Set(prefilling("a"))
		time.Sleep(time.Second)
		l.breaks(false)
		time.Sleep(every)
		all := l.all()
		if len(all) != 1 || !slices.Equal(all[0].stages(), []string{"a prefilling"}) || all[0].Seq != 2 {
			t.Errorf("reports are %+v, want a full one, and a number that shows that one is missing", all)
		}
	})
}

func TestPaceIsAnAverageThatFades(t *testing.T) {
	reporting(t, func(t *testing.T, l *listener) {
		pace := func() time.Duration {
			l.All()
			time.Sleep(10 * time.Millisecond) // for the pause to be over
			all := l.all()
			return all[len(all)-1].ITL
		}
		if got := pace(); got != 0 {
			t.Errorf("pace without a token is %v", got)
		}
		for range 40 {
			l.Gap(20*time.Millisecond, 1, time.Now())
			l.Gap(40*time.Millisecond, 1, time.Now()) // of another stream
			time.Sleep(20 * time.Millisecond)
		}
		if got := pace(); got < 29*time.Millisecond || got > 31*time.Millisecond {
			t.Errorf("pace of streams at 20 and 40 ms is %v, want their mean", got)
		}
		for range 150 {
			l.Gap(100*time.Millisecond, 1, time.Now())
			time.Sleep(20 * time.Millisecond)
		}
		if got := pace(); got < 90*time.Millisecond || got > 100*time.Millisecond {
			t.Errorf("pace 3 s after the streams became slow is %v, want about 100 ms", got)
		}
		time.Sleep(10 * time.Second)
		if got := pace(); got != 0 {
			t.Errorf("pace after 10 s without a token is %v, want 0", got)
		}
	})
}

// Dispatchers decide by the pace of running answers, so they hear of it also while no job begins or ends.
func TestPaceIsReportedWhileTokensCome(t *testing.T) {
	reporting(t, func(t *testing.T, l *listener) {
		l.Set(prefilling("a"))
		time.Sleep(30 * time.Millisecond)
		before := len(l.all())
		const seconds = 3
		for range seconds * 100 { // of ten streams
			for range 10 {
				l.Gap(10*time.Millisecond, 1, time.Now())
			}
			time.Sleep(10 * time.Millisecond)
		}
		beats := l.all()[before:]
		last := time.Duration(0)
		for _, r := range beats {
			if r.Full || len(r.Jobs) != 0 || r.ITL < 9*time.Millisecond || r.ITL > 11*time.Millisecond {
				t.Errorf("reported %+v, want only a pace of 10 ms", r)
			}
			if r.at-last > 200*time.Millisecond {
				t.Errorf("no pace from %v to %v", last, r.at)
			}
			last = r.at
		}
		if len(beats) < 5*seconds || len(beats) > 10*seconds {
			t.Errorf("%d reports in %d seconds, want 5 to 10 a second", len(beats), seconds)
		}
		before = len(l.all())
		time.Sleep(every / 2)
		if got := len(l.all()) - before; got > 1 {
			t.Errorf("%d reports after the last token, want at most one", got)
		}
	})
}
