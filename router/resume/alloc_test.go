package resume_test

import (
	"fmt"
	"testing"

	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/router/resume"
)

// frame is n events as they come in one frame.
func frame(n int) (blocks []byte) {
	for i := range n {
		blocks = sse.Append(blocks, nil, []byte(event(true, "chatcmpl-0123456789", `" word"`, "null", 8192, 100+i)))
	}
	return blocks
}

// Events of the usual form are taken, and edited for their client, without an allocation.
func TestEventsAllocateNothing(t *testing.T) {
	tr := resume.New(terms(t, true, `{`+hello+`,"stream":true}`), 1<<20)
	blocks := frame(16)
	var out []byte
	take := func() {
		var err error
		if out, err = tr.Events(out[:0], blocks); err != nil || sse.Count(out) != 16 {
			t.Fatal(string(out), err)
		}
	}
	take()
	const most = 0.5 // the text of the answer grows now and then
	if n := testing.AllocsPerRun(200, take); n > most {
		t.Errorf("16 events make %.1f allocations, want none", n)
	}
}

func BenchmarkEvents(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tr := resume.New(terms(b, true, `{`+hello+`,"stream":true}`), 1<<30)
			blocks := frame(n)
			b.ReportAllocs()
			var out []byte
			for b.Loop() {
				var err error
				if out, err = tr.Events(out[:0], blocks); err != nil || len(out) == 0 {
					b.Fatal(string(out), err)
				}
			}
		})
	}
}
