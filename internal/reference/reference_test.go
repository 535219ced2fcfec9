package reference_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/reference"
)

func TestMain(m *testing.M) {
	natsd.HoldClock()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

func TestRows(t *testing.T) {
	for _, row := range reference.Rows() {
		t.Run(row.Name, func(t *testing.T) {
			natsd.DropPooledTimers()
			defer natsd.DropPooledTimers()
			wall := time.Now()
			var s bench.Summary
			synctest.Test(t, func(t *testing.T) {
				result, err := reference.InMemory(t.Context(), row.Config(), reference.Burst(n), t.Output())
				if err != nil {
					t.Fatal(err)
				}
				s = result.Summary(bench.SLO{}, 50, 99)
			})
			t.Logf("wall %v: %+v", time.Since(wall), s)
		})
	}
}

const n = 200
