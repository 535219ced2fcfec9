package chaos

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"
)

// booksOf is a run whose parts answer what pages says, by URL without the scheme.
func booksOf(pages map[string]string, parts ...string) *run {
	r := &run{
		cfg: Config{Strict: true, Duration: time.Minute}, byName: map[string]*part{}, doors: map[*part]bool{},
		operator: &http.Client{Transport: answering(pages)},
	}
	r.report.Failures = map[string]int{}
	for _, name := range parts {
		p := &part{name: name, url: "http://" + name, run: r, life: 1}
		r.parts = append(r.parts, p)
		r.byName[name] = p
	}
	return r
}

// answering is an HTTP transport that answers from memory.
type answering map[string]string

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) {
	text, ok := a[req.URL.Host+req.URL.Path]
	if !ok {
		return nil, errors.New("nobody is there")
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text)), Request: req}, nil
}

func idle() map[string]string {
	return map[string]string{
		"engine-prefill-1/sim/stats": `{"PinnedBlocks":0,"Running":0,"Waiting":0}`,
		"prefill-1/metrics":          handles(9, 5, 3, 1, 0),
		"frontend-1/metrics":         "baton_queue_messages{queue=\"prefill\"} 0\nbaton_queue_messages{queue=\"decode\"} 0\n",
	}
}

func handles(issued, consumed, released, expired, open int) string {
	return fmt.Sprintf("# HELP baton_kv_handles_issued_total x\nbaton_kv_handles_issued_total %d\nbaton_kv_handles_ended_total{end=\"consumed\"} %d\n"+
		"baton_kv_handles_ended_total{end=\"released\"} %d\nbaton_kv_handles_ended_total{end=\"expired\"} %d\nbaton_kv_handles_open %d\n",
		issued, consumed, released, expired, open)
}

// Whatever is still held after a lease and some time breaks the promise.
func TestWhatIsHeldAtTheEndIsNoticed(t *testing.T) {
	for what, tt := range map[string]struct {
		page, text string
		kept       bool
	}{
		"nothing":              {"frontend-1/metrics", idle()["frontend-1/metrics"], true},
		"a pinned block":       {"engine-prefill-1/sim/stats", `{"PinnedBlocks":1}`, false},
		"a running request":    {"engine-prefill-1/sim/stats", `{"Running":1}`, false},
		"a waiting request":    {"engine-prefill-1/sim/stats", `{"Waiting":1}`, false},
		"a prefill job":        {"frontend-1/metrics", "baton_queue_messages{queue=\"prefill\"} 1\n", false},
		"a decode job":         {"frontend-1/metrics", "baton_queue_messages{queue=\"decode\"} 1\n", false},
		"an open handle":       {"prefill-1/metrics", handles(9, 5, 2, 1, 1), false},
		"a handle without end": {"prefill-1/metrics", handles(9, 5, 2, 1, 0), false},
	} {
		synctest.Test(t, func(t *testing.T) {
			pages := idle()
			pages[tt.page] = tt.text
			r := booksOf(pages, "engine-prefill-1", "prefill-1", "frontend-1")
			r.settle(t.Context())
			if got := r.conclude(); got.Kept() != tt.kept {
				t.Errorf("%s is held: kept is %t: %q", what, got.Kept(), got.Broken)
			}
		})
	}
}

func TestAPartThatDoesNotSayWhatItHoldsIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := booksOf(idle(), "engine-prefill-1", "engine-decode-1", "prefill-1", "frontend-1")
		r.settle(t.Context())
		if r.conclude().Kept() {
			t.Error("an engine answers nothing, and the promise counts as kept")
		}
	})
}

func TestWhatCountsAsAFailure(t *testing.T) {
	for what, tt := range map[string]struct {
		err     error
		begun   bool
		killed  bool // the frontend that it was sent to
		lenient bool
		kept    bool
	}{
		"an answer":                        {nil, true, false, false, true},
		"a client that left":               {errLeft, true, false, false, true},
		"a cut":                            {&failure{failCut, ""}, true, false, false, false},
		"a cut where cuts may be":          {&failure{failCut, ""}, true, false, true, true},
		"a cut before the first byte":      {&failure{failCut, ""}, false, false, true, false},
		"a cut by a killed frontend":       {&failure{failCut, ""}, true, true, false, true},
		"an error event":                   {&failure{failEvent, ""}, true, false, false, false},
		"an error status":                  {&failure{failStatus, ""}, false, false, false, false},
		"silence":                          {&failure{failHung, ""}, true, false, true, false},
		"a wrong answer":                   {&failure{failWrong, ""}, true, false, true, false},
		"a wrong answer, killed frontend":  {&failure{failWrong, ""}, true, true, true, false},
		"a 429 for as long as one waits":   {&busy{}, false, false, false, false},
		"no frontend takes it for so long": {&failure{failFrontend, ""}, false, false, false, false},
	} {
		r := booksOf(nil, "frontend-1")
		r.cfg.Strict = !tt.lenient
		door := r.parts[0]
		if tt.killed {
			door.killed = door.life
		}
		r.ended(&request{id: "r"}, door, &exchange{life: 1, begun: tt.begun}, time.Now(), tt.err)
		if got := r.conclude(); got.Kept() != tt.kept {
			t.Errorf("%s: kept is %t, want %t", what, got.Kept(), tt.kept)
		}
	}
}

// The plan reckons with how long faults last; where one takes longer, the next one of its role waits.
func TestAFaultWaitsWhileNoOtherUnitCanDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := booksOf(nil)
		r.begun = time.Now()
		r.spares = map[string]*semaphore.Weighted{"decode": semaphore.NewWeighted(1)}
		free, ok := r.spare(t.Context(), "decode-1")
		if !ok {
			t.Fatal("no unit may be broken")
		}
		second := make(chan bool, 1)
		go func() {
			_, ok := r.spare(t.Context(), "engine-decode-2")
			second <- ok
		}()
		synctest.Wait()
		if len(second) > 0 {
			t.Fatal("both decode workers may be broken at a time")
		}
		free()
		if !<-second {
			t.Error("the second one may not be broken when the first is back")
		}
	})
}

func TestQuantiles(t *testing.T) {
	var all []time.Duration
	for i := range 101 {
		all = append(all, time.Duration(100-i)*time.Second)
	}
	if got, want := quantiles(all), (Quantiles{P50: 50 * time.Second, P99: 99 * time.Second, Max: 100 * time.Second}); got != want {
		t.Errorf("quantiles are %v, want %v", got, want)
	}
}
