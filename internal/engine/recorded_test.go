package engine_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/engine"
)

// testdata/vllm-0.32 holds what the decode engine of a real pair said (docs/vllm-cpu.md): one
// whole stream, byte for byte, and the relevant lines of its metrics.
func recorded(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/vllm-0.32/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRecordedStream(t *testing.T) {
	text := recorded(t, "chat_stream.sse")
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { events(w, text) }, nil)
	s, err := c.Stream(bounded(t), call)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	data, err := read(s)
	if !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v, want io.EOF", err)
	}
	var content strings.Builder
	for _, event := range data {
		var chunk struct {
			Choices []struct{ Delta struct{ Content string } }
		}
		if err := json.Unmarshal([]byte(event), &chunk); err != nil {
			t.Fatalf("event %q: %v", event, err)
		}
		for _, choice := range chunk.Choices {
			content.WriteString(choice.Delta.Content)
		}
	}
	if want := "The capital of France is Paris."; content.String() != want {
		t.Errorf("the events say %q, want %q", content.String(), want)
	}
}

func TestRecordedMetrics(t *testing.T) {
	text := recorded(t, "metrics.txt")
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }, nil)
	got, err := c.Metrics(bounded(t))
	if want := (engine.Metrics{CapacityTokens: 46592, Connector: true, BlockSize: 128, PrefixCaching: "True"}); err != nil || got != want { // kv_cache_size_tokens of an idle engine
		t.Errorf("Metrics = %+v, %v; want %+v", got, err, want)
	}
}
