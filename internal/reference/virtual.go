package reference

import (
	"context"
	"flag"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/natsd"
)

// InBubble runs a case in virtual time: the clock goes on when everything waits, so hours take
// seconds and the figures are those of the simulated engines alone, whatever else the machine does.
func (c *Case) InBubble(t *testing.T, logs io.Writer) Outcome {
	t.Helper()
	natsd.DropPooledTimers()
	defer natsd.DropPooledTimers() // a later bubble must not meet this one's
	begun := time.Now()
	out := Outcome{Case: *c}
	synctest.Test(t, func(t *testing.T) {
		result, err := c.inMemory(t.Context(), logs)
		if err != nil {
			t.Error(err)
		}
		out.Result = result
	})
	out.Took = time.Since(begun)
	return out
}

// Virtually runs the cases in virtual time, one after the other, hands each outcome to each and ends the process: with
// what finish returns, or with 1 if a case failed. Virtual time exists only in tests (testing/synctest),
// so this makes a test binary of the process; call it at most once and early.
func Virtually(ctx context.Context, cases []Case, logs io.Writer, each func(Outcome), finish func() error) {
	natsd.HoldClock()
	var tests []testing.InternalTest
	for i := range cases {
		tests = append(tests, testing.InternalTest{Name: cases[i].Name, F: func(t *testing.T) {
			if ctx.Err() != nil {
				t.Fatal("interrupted") // a table that lacks rows is no success
			}
			if out := cases[i].InBubble(t, logs); out.Result != nil {
				each(out)
			}
		}})
	}
	tests = append(tests, testing.InternalTest{Name: "report", F: func(t *testing.T) {
		if err := finish(); err != nil {
			t.Error(err)
		}
	}})
	testing.Init()
	os.Args = os.Args[:1]
	_ = flag.CommandLine.Parse(nil)
	if null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0); err == nil {
		os.Stdout = null // of the tests' own words, such as PASS
	}
	testing.Main(func(string, string) (bool, error) { return true, nil }, tests, nil, nil)
}

// Summarize is the figures of an outcome.
func (o *Outcome) Summarize(slo bench.SLO) bench.Summary { return o.Result.Summary(slo, 50, 90, 99) }
