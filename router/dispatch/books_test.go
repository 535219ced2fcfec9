package dispatch_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
)

// gauges returns a metric's values, by the labels' values.
func gauges(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			key := ""
			for _, l := range m.GetLabel() {
				key += l.GetValue() + " "
			}
			got[key] = m.GetGauge().GetValue()
		}
	}
	return got
}

func TestBooksAreMetrics(t *testing.T) {
	inBubble(t, func(s *site) {
		f := s.frontend("f1", aggregated())
		client := s.bus("client")
		for i := range 5 {
			s.publish(client, request(i, wire.Standard))
		}
		time.Sleep(time.Second)
		if got := gauges(t, f.reg, "baton_dispatch_waiting"); got["m no_worker "] != 5 || got["m window "] != 0 || len(got) != 5 {
			t.Errorf("waiting: %v, want 5 for a worker", got)
		}
		stuck := func(w *worker, d *bus.Delivery[wire.PrefillJob]) {
			w.report(t, d, wire.StagePrefilling)
			time.Sleep(time.Second)
			w.report(t, d, wire.StageDecoding)
		}
		s.worker("w1", stuck)
		f.fleet.set("w1")
		time.Sleep(1800 * time.Millisecond) // one decodes, one is computed
		if got := gauges(t, f.reg, "baton_dispatch_waiting"); got["m window "] != 3 || got["m no_worker "] != 0 {
			t.Errorf("waiting: %v, want 3 for a window", got)
		}
		for name, want := range map[string]float64{"prompts": 1, "prompt_tokens": 8192, "decoding": 1, "kv_tokens": 2 * 8292, "handles": 0, "held": 0, "reserved": 0, "inter_token_seconds": 0, "kv_capacity_tokens": 1 << 20} {
			if got := gauges(t, f.reg, "baton_dispatch_worker_"+name); got["m w1 "] != want || len(got) != 1 {
				t.Errorf("%s: %v, want %v of w1", name, got, want)
			}
		}
		f.fleet.lose("w1")
		time.Sleep(time.Second)
		if got := gauges(t, f.reg, "baton_dispatch_worker_decoding"); len(got) != 0 {
			t.Errorf("workers: %v, want none", got)
		}
	})
}
