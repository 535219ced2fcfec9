package rawjson_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/rawjson"
)

// legs edits a body as the two legs of a request do: what it allocates must not grow with the prompt.
func legs(tb testing.TB, body []byte) {
	o, err := rawjson.Reparse(body)
	if err != nil {
		tb.Fatal(err)
	}
	if out := o.Edit(rawjson.Set("max_tokens", []byte("1")), rawjson.Set("stream", []byte("false")), rawjson.Delete("stream_options")); len(out) == 0 {
		tb.Fatal("nothing is left")
	}
}

func body(prompt int) []byte {
	return fmt.Appendf(nil, `{"model":"m","messages":[{"role":"user","content":"%s"}],"max_tokens":64,"temperature":0,"stream":true}`, strings.Repeat("word ", prompt/5))
}

func TestEditsAllocateLittle(t *testing.T) {
	const most = 10
	for _, prompt := range []int{200, 50_000, 500_000} {
		text := body(prompt)
		if n := testing.AllocsPerRun(20, func() { legs(t, text) }); n > most {
			t.Errorf("editing a body with a prompt of %d bytes makes %.0f allocations, want at most %d", prompt, n, most)
		}
	}
}

func BenchmarkEdit(b *testing.B) {
	for _, prompt := range []int{200, 50_000} {
		b.Run(fmt.Sprint(prompt), func(b *testing.B) {
			text := body(prompt)
			b.ReportAllocs()
			for b.Loop() {
				legs(b, text)
			}
		})
	}
}
