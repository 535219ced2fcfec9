package bench_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a result of two streams with a failure.
func sample() *bench.Result {
	return &bench.Result{
		Began: time.Date(2025, 3, 4, 5, 6, 7, 0, time.Local), Duration: 2500 * ms, Endpoint: bench.Chat, Model: "org/model", MaxConcurrency: 8, Unsent: 1,
		Streams: []bench.Stream{{Name: "chat", Class: "interactive", Rate: 2, Burstiness: 0.5}, {Name: "rag", Rate: 1}},
		Records: []bench.Record{
			{InputLen: 10, PromptTokens: 12, OutputTokens: 3, Counted: bench.ByUsage, TTFT: 100 * ms, ITL: []time.Duration{20 * ms, 30 * ms}, Latency: 150 * ms, End: 150 * ms, Text: "a b c"},
			{Stream: 1, InputLen: 40, PromptTokens: 40, CachedTokens: 16, OutputTokens: 2, Counted: bench.ByUsage, Start: 500 * ms, Due: 500 * ms, TTFT: 700 * ms, ITL: []time.Duration{40 * ms}, Latency: 740 * ms, End: 1240 * ms},
			{Stream: 1, InputLen: 40, Start: 900 * ms, Due: 900 * ms, End: 900 * ms, Err: &bench.Failure{Kind: bench.KindOfStatus(429), Message: "full"}},
		},
	}
}

func TestJSONIsVLLMs(t *testing.T) {
	r := sample()
	var got bytes.Buffer
	s := r.Summary(bench.SLO{TTFT: 200 * ms}, 50, 99.9)
	if err := r.WriteJSON(&got, s, "two streams", true); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/result.json"
	if *update {
		if err := os.WriteFile(golden, got.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
	got.Reset()
	if err := r.WriteJSON(&got, s, "", false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ttfts", "itls", "errors", "generated_texts"} {
		if strings.Contains(got.String(), `"`+name+`"`) {
			t.Errorf("without details there is %s", name)
		}
	}
}

func TestASavedResultGivesTheSameFigures(t *testing.T) {
	r := sample()
	slo := bench.SLO{TTFT: 200 * ms}
	var file bytes.Buffer
	if err := r.WriteJSON(&file, r.Summary(slo), "x", true); err != nil {
		t.Fatal(err)
	}
	saved, err := bench.Load(&file)
	if err != nil {
		t.Fatal(err)
	}
	want, got := r.Summary(slo), saved.Result.Summary(slo)
	ignore := cmpopts.IgnoreFields(bench.Summary{}, "CachedTokens") // a file has only their sum
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("summary (-want +got):\n%s", diff)
	}
	if saved.Label != "x" || saved.Figures["p99_ttft_ms"] != 694 || saved.Figures["completed"] != 2 || !saved.Result.Began.Equal(r.Began) {
		t.Errorf("saved = %+v", saved)
	}
}

// This has the members of a file that `vllm bench serve --save-result --save-detailed` writes: its
// clock does not begin with the run, and it does not say the kind of a failure.
const vllmFile = `{"date": "20250304-050607", "endpoint_type": "openai", "backend": "openai", "label": null, "model_id": "m", "tokenizer_id": "m",
"num_prompts": 3, "request_rate": "inf", "burstiness": 1.0, "max_concurrency": null, "duration": 2.0, "completed": 2, "failed": 1,
"total_input_tokens": 20, "total_output_tokens": 4, "request_throughput": 1.0, "request_goodput": null, "output_throughput": 2.0,
"total_token_throughput": 12.0, "input_lens": [10, 10, 10], "output_lens": [3, 1, 0], "ttfts": [0.5, 0.25, 0.0], "itls": [[0.1, 0.2], [], []],
"start_times": [1000.5, 1000.25, 1000.75], "generated_texts": ["a b c", "a", ""], "errors": ["", "", "Too Many Requests"],
"max_output_tokens_per_s": 4.0, "max_concurrent_requests": 2, "rtfx": 0.0, "mean_ttft_ms": 375.0, "p99_ttft_ms": 497.5}`

func TestLoadReadsVLLMsFiles(t *testing.T) {
	saved, err := bench.Load(strings.NewReader(vllmFile))
	if err != nil {
		t.Fatal(err)
	}
	if saved.Figures["p99_ttft_ms"] != 497.5 || saved.Model != "m" {
		t.Errorf("saved = %+v", saved)
	}
	s := saved.Result.Summary(bench.SLO{})
	if s.Completed != 2 || s.Failures[bench.Unknown] != 1 || s.TPOT.Mean != 150 || s.TTFT.Mean != 375 || s.Duration != 2*time.Second {
		t.Errorf("summary = %+v", s)
	}
	if got := saved.Result.Records[0].Start; got != 250*ms {
		t.Errorf("the first request started at %v, want 250ms after the earliest", got)
	}
	plain, err := bench.Load(strings.NewReader(`{"duration":2.0,"completed":2}`))
	if err != nil || plain.Result != nil || plain.Figures["duration"] != 2 {
		t.Errorf("a file without details: %+v, %v", plain, err)
	}
	for _, bad := range []string{"", "[]", `{"a":1}`, strings.Replace(vllmFile, "[10, 10, 10]", "[10]", 1)} {
		if _, err := bench.Load(strings.NewReader(bad)); err == nil {
			t.Errorf("Load took %.30q", bad)
		}
	}
}
