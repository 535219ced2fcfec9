package decode

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
)

// burst is an engine whose events come so many at a time, and all else that their way needs.
type burst struct {
	Engine

	left, together, frames int
}

var token = []byte(`{"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":[{"index":0,"delta":{"content":" word"},` +
	`"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":50,"total_tokens":70,"completion_tokens":20}}`)

func (b *burst) Stream(context.Context, engine.Call) (Stream, error) { return b, nil }

func (b *burst) Next() (sse.Event, error) {
	if b.left == 0 {
		return sse.Event{}, io.EOF
	}
	b.left--
	return sse.Event{Data: token}, nil
}

func (b *burst) More() bool                      { return b.left%b.together != 0 }
func (*burst) Close() error                      { return nil }
func (*burst) Set(wire.JobReport)                {}
func (*burst) Gap(time.Duration, int, time.Time) {}

// taker is the run.
type taker struct{ *burst }

func (taker) Context() context.Context                             { return context.Background() }
func (taker) Close()                                               {}
func (taker) Portion() int                                         { return 32 << 10 }
func (t taker) SendAhead(context.Context, wire.Kind, []byte) error { t.frames++; return nil }
func (t taker) Send(context.Context, wire.Kind, []byte) error      { t.frames++; return nil }

func (b *burst) pass(t testing.TB, events int) {
	b.left, b.frames = events, 0
	a := attempt{
		Worker: &Worker{deps: Deps{Engine: b, Reporter: b}}, run: taker{b}, told: true,
		job: &wire.DecodeJob{Request: wire.Request{Streaming: true, Counts: true}},
	}
	if _, err := a.stream(t.Context(), engine.Call{Path: "/v1/chat/completions"}); err != nil || b.frames != events/b.together {
		t.Fatalf("%d frames, %v", b.frames, err)
	}
}

// An event of a token is not read as JSON, and what it goes through takes no memory.
func TestTokensAllocateNothing(t *testing.T) {
	b := &burst{together: 16}
	few := testing.AllocsPerRun(20, func() { b.pass(t, 160) })
	many := testing.AllocsPerRun(20, func() { b.pass(t, 1600) })
	const most = 0.25 // the memory of a frame of 16 is lent, which the race detector's pools often forget
	if n := (many - few) / 1440; n > most {
		t.Errorf("an event makes %.2f allocations, want none", n)
	}
}

func BenchmarkStream(tb *testing.B) {
	for _, together := range []int{1, 16} {
		tb.Run(fmt.Sprint(together), func(tb *testing.B) {
			tb.ReportAllocs()
			for tb.Loop() {
				(&burst{together: together}).pass(tb, 1600)
			}
			tb.ReportMetric(float64(tb.Elapsed().Nanoseconds())/float64(tb.N*1600), "ns/event")
		})
	}
}
