package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/pipenet"
	"github.com/google/go-cmp/cmp"
)

const ms = time.Millisecond

// paced is a server whose answers take exactly known times. It waits first, then sends one token
// after each of the gaps.
type paced struct {
	first time.Duration
	gaps  []time.Duration
	fail  func(prompt string) bool // such a request gets 500

	mu      sync.Mutex
	prompts []string
}

func (p *paced) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Prompt string `json:"prompt"`
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	p.prompts = append(p.prompts, body.Prompt)
	p.mu.Unlock()
	if p.fail != nil && p.fail(body.Prompt) {
		http.Error(w, "no", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", eventStream)
	flush := http.NewResponseController(w)
	wait := func(d time.Duration) bool {
		select {
		case <-time.After(d):
			return true
		case <-r.Context().Done():
			return false
		}
	}
	for i, gap := range append([]time.Duration{p.first}, p.gaps...) {
		if !wait(gap) {
			return
		}
		fmt.Fprintf(w, "data: {\"choices\":[{\"text\":\" %d\"}]}\n\n", i)
		_ = flush.Flush()
	}
	fmt.Fprintf(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":%d}}\n\ndata: [DONE]\n\n", len(p.gaps)+1)
}

// virtual serves p in a network in memory and calls f in virtual time.
func virtual(t *testing.T, p http.Handler, f func(t *testing.T, target bench.Target)) {
	synctest.Test(t, func(t *testing.T) {
		mem := pipenet.New()
		ln, err := mem.Listen("server:80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: p}
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(ln) }()
		f(t, bench.Target{URL: "http://server:80", Endpoint: bench.Completions, Model: "m", Dial: mem.Dial})
		_ = server.Close()
		<-ended
	})
}

// plain is n requests of one stream, due at the times that at gives.
func plain(n int, at func(i int) time.Duration) bench.Plan {
	plan := bench.Plan{Streams: []bench.Stream{{Name: "all"}}}
	for i := range n {
		plan.Requests = append(plan.Requests, bench.Request{At: at(i), OutputLen: 1, Prompt: func([]string) bench.Prompt {
			return bench.Prompt{Text: fmt.Sprint(i)}
		}})
	}
	return plan
}

func burst(int) time.Duration { return 0 }

func TestTimesAreExact(t *testing.T) {
	virtual(t, &paced{first: 500 * ms, gaps: []time.Duration{20 * ms, 20 * ms, 300 * ms, 20 * ms}}, func(t *testing.T, target bench.Target) {
		var snapshots []bench.Snapshot
		result, err := bench.Run(t.Context(), target, plain(3, func(i int) time.Duration { return time.Duration(i) * time.Second }), bench.Options{
			Interval: 700 * ms, Progress: func(s bench.Snapshot) { snapshots = append(snapshots, s) },
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, rec := range result.Records {
			start := time.Duration(i) * time.Second
			tpot, _ := rec.TPOT()
			if rec.Err != nil || rec.Due != start || rec.Start != start || rec.TTFT != 500*ms || rec.Latency != 860*ms || rec.End != start+860*ms || tpot != 90*ms {
				t.Errorf("record %d = %+v, TPOT %v", i, rec, tpot)
			}
			if diff := cmp.Diff([]time.Duration{20 * ms, 20 * ms, 300 * ms, 20 * ms}, rec.ITL); diff != "" {
				t.Errorf("gaps of %d (-want +got):\n%s", i, diff)
			}
		}
		s := result.Summary(bench.SLO{})
		if result.Duration != 2860*ms || s.Completed != 3 || s.OutputTokens != 15 || s.TPOT.Mean != 90 || s.ITL.Max != 300 || s.MaxInFlight != 1 {
			t.Errorf("result = %+v, summary = %+v", result, s)
		}
		first := bench.Snapshot{
			Elapsed: 700 * ms, Since: 700 * ms, Planned: 3, Sent: 1, Streaming: 1, Events: 3, Recent: []time.Duration{20 * ms, 20 * ms},
		}
		end := bench.Snapshot{
			Elapsed: 2860 * ms, Since: 60 * ms, Planned: 3, Sent: 3, Completed: 3, Events: 15, Recent: []time.Duration{300 * ms, 20 * ms}, Done: true,
		}
		if diff := cmp.Diff([]bench.Snapshot{first, end}, []bench.Snapshot{snapshots[0], snapshots[len(snapshots)-1]}); diff != "" {
			t.Errorf("snapshots (-want +got):\n%s", diff)
		}
	})
}

// starts are the times of sending.
func starts(r *bench.Result) (out []time.Duration) {
	for _, rec := range r.Records {
		out = append(out, rec.Start)
	}
	return out
}

func TestRoomIsGivenInOrder(t *testing.T) {
	want := []time.Duration{0, 0, 100 * ms, 100 * ms, 200 * ms}
	for name, change := range map[string]func(*bench.Plan, *bench.Options){
		"max concurrency": func(_ *bench.Plan, o *bench.Options) { o.MaxConcurrency = 2 },
		"closed loop":     func(p *bench.Plan, _ *bench.Options) { p.Streams[0].Concurrency = 2 },
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, &paced{first: 100 * ms}, func(t *testing.T, target bench.Target) {
				plan, opts := plain(5, burst), bench.Options{}
				change(&plan, &opts)
				result, err := bench.Run(t.Context(), target, plan, opts)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, starts(result)); diff != "" {
					t.Errorf("starts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestDurationEndsTheSendingNotTheAnswers(t *testing.T) {
	virtual(t, &paced{first: 400 * ms}, func(t *testing.T, target bench.Target) {
		plan := plain(10, func(i int) time.Duration { return time.Duration(i) * 300 * ms })
		result, err := bench.Run(t.Context(), target, plan, bench.Options{Duration: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if s := result.Summary(bench.SLO{}); s.Completed != 4 || result.Unsent != 6 || result.Interrupted || result.Duration != 1300*ms {
			t.Errorf("completed %d, unsent %d, interrupted %t, duration %v", s.Completed, result.Unsent, result.Interrupted, result.Duration)
		}
	})
}

func TestEndOfContextCancelsWhatIsInFlight(t *testing.T) {
	virtual(t, &paced{first: 400 * ms}, func(t *testing.T, target bench.Target) {
		ctx, cancel := context.WithTimeout(t.Context(), 950*ms)
		defer cancel()
		result, err := bench.Run(ctx, target, plain(10, func(i int) time.Duration { return time.Duration(i) * 300 * ms }), bench.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if s := result.Summary(bench.SLO{}); s.Completed != 2 || s.Failures[bench.Cancelled] != 2 || result.Unsent != 6 || !result.Interrupted {
			t.Errorf("completed %d, failures %v, unsent %d, interrupted %t", s.Completed, s.Failures, result.Unsent, result.Interrupted)
		}
	})
}

// conversation is turns that each send the answers so far.
func conversation(turns int) bench.Plan {
	plan := bench.Plan{Streams: []bench.Stream{{Name: "talk"}}}
	for i := range turns {
		r := bench.Request{Conversation: 1, OutputLen: 1, Prompt: func(answers []string) bench.Prompt {
			return bench.Prompt{Text: fmt.Sprintf("%d%v", i, answers)}
		}}
		if i > 0 {
			r.At = 50 * ms
		}
		plan.Requests = append(plan.Requests, r)
	}
	return plan
}

func TestATurnFollowsTheAnswerBefore(t *testing.T) {
	server := &paced{first: 100 * ms, gaps: []time.Duration{10 * ms}}
	virtual(t, server, func(t *testing.T, target bench.Target) {
		result, err := bench.Run(t.Context(), target, conversation(3), bench.Options{MaxConcurrency: 1})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Duration{0, 160 * ms, 320 * ms}, starts(result)); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"0[]", "1[ 0 1]", "2[ 0 1  0 1]"}, server.prompts); diff != "" {
			t.Errorf("prompts (-want +got):\n%s", diff)
		}
	})
}

func TestTurnsAfterAFailureAreCountedAsSkipped(t *testing.T) {
	server := &paced{first: 100 * ms, fail: func(prompt string) bool { return strings.HasPrefix(prompt, "1") }}
	virtual(t, server, func(t *testing.T, target bench.Target) {
		result, err := bench.Run(t.Context(), target, conversation(4), bench.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s := result.Summary(bench.SLO{})
		if diff := cmp.Diff(map[bench.Kind]int{"http_500": 1, bench.Skipped: 2}, s.Failures); diff != "" || s.Completed != 1 || result.Unsent != 0 {
			t.Errorf("completed %d, unsent %d, failures (-want +got):\n%s", s.Completed, result.Unsent, diff)
		}
	})
}

func TestStreamsRunBesideEachOther(t *testing.T) {
	virtual(t, &paced{first: 100 * ms}, func(t *testing.T, target bench.Target) {
		plan := plain(4, burst)
		plan.Streams = []bench.Stream{{Name: "closed", Concurrency: 1}, {Name: "open", Class: "batch"}}
		plan.Requests[3].Stream, plan.Requests[3].At = 1, 150*ms
		result, err := bench.Run(t.Context(), target, plan, bench.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Duration{0, 100 * ms, 200 * ms, 150 * ms}, starts(result)); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		s := result.Summary(bench.SLO{})
		if len(s.Streams) != 2 || s.Streams[0].Completed != 3 || s.Streams[1].Completed != 1 || s.Streams[1].Class != "batch" {
			t.Errorf("streams = %+v", s.Streams)
		}
	})
}

// A server that sends nothing more after [DONE] but keeps the stream open is bounded too.
func TestAStreamThatIsNotClosedTimesOut(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", eventStream)
		_, _ = io.WriteString(w, token+done)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	virtual(t, handler, func(t *testing.T, target bench.Target) {
		rec := one(t, target, plain(1, burst), bench.Options{Timeout: time.Minute})
		if rec.Err == nil || rec.Err.Kind != bench.Timeout || rec.End != time.Minute {
			t.Errorf("failure %v at %v, want a timeout after a minute", rec.Err, rec.End)
		}
	})
}
