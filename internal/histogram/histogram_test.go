package histogram

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/trace"
)

func TestASampledTraceIsNamedByItsBucket(t *testing.T) {
	id := trace.TraceID{1, 2, 3}
	for name, c := range map[string]struct {
		of   trace.SpanContext
		want string
	}{
		"none":        {trace.SpanContext{}, ""},
		"not sampled": {trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}}), ""},
		"sampled":     {trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled}), id.String()},
	} {
		t.Run(name, func(t *testing.T) {
			h := prometheus.NewHistogram(Wait("a_seconds", "Help."))
			Observe(h, 30*time.Millisecond, c.of)
			var m dto.Metric
			if err := h.Write(&m); err != nil {
				t.Fatal(err)
			}
			got := ""
			for _, b := range m.GetHistogram().GetBucket() {
				if e := b.GetExemplar(); e != nil && b.GetUpperBound() == .04 && e.GetValue() == .03 {
					got = e.GetLabel()[0].GetValue()
				}
			}
			if got != c.want {
				t.Errorf("the bucket names trace %q, want %q", got, c.want)
			}
			if n := len(m.GetHistogram().GetPositiveSpan()); n != 1 {
				t.Errorf("%d spans of native buckets, want 1", n)
			}
		})
	}
}
