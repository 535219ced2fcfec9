package enginesim

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// update rewrites the golden files: go test -run Shapes -args update
func update() bool { return os.Args[len(os.Args)-1] == "update" }

var volatile = regexp.MustCompile(`"created(?:_at)?":\d+|"(?:resp|msg|fc|rs)_[0-9a-f]{32}"|"remote_engine_id":"[^"]*"|-0-[0-9a-f]{8}"|"remote_port":\d+`)

func TestShapes(t *testing.T) {
	const chat = `{"model":"baton/simulated","messages":[{"role":"user","content":"hi"}],"max_tokens":2,"ignore_eos":true`
	for _, tt := range []struct{ name, path, body string }{
		{"chat", pathChat, chat + `}`},
		{"chat_logprobs", pathChat, chat + `,"logprobs":true,"top_logprobs":1}`},
		{"chat_stream", pathChat, chat + `,"stream":true}`},
		{"chat_stream_usage", pathChat, chat + `,"stream":true,"n":2,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`},
		{"chat_tools", pathChat, weather("", "")},
		{"chat_tools_stream", pathChat, weather("", `,"stream":true,"stream_options":{"include_usage":true}`)},
		{"chat_tools_named", pathChat, weather("", `,"tool_choice":{"type":"function","function":{"name":"get_time"}}`)},
		{"chat_token_ids", pathChat, chat + `,"stream":true,"return_token_ids":true,"logprobs":true}`},
		{"completion", pathCompletions, completion("hello", 2, "")},
		{"completion_logprobs_echo", pathCompletions, completion("hello", 2, `,"logprobs":2,"echo":true`)},
		{"completion_stream_usage", pathCompletions, completion("hello", 2, `,"stream":true,"stream_options":{"include_usage":true}`)},
		{"completion_handle", pathCompletions, completion("hello", 1, askHandle)},
		{"completion_prompt_logprobs", pathCompletions, completion("hello", 1, `,"prompt_logprobs":2,"return_token_ids":true`)},
		{"responses", pathResponses, `{"input":"hi","instructions":"be kind","max_output_tokens":2}`},
		{"responses_stream", pathResponses, `{"input":"hi","max_output_tokens":2,"stream":true,"include":["message.output_text.logprobs"]}`},
		{"responses_tools_stream", pathResponses, `{"input":"call get_time","stream":true,"tools":[{"type":"function","name":"get_time","parameters":{"type":"object","properties":{"utc":{"type":"boolean"}}}}]}`},
		{"responses_unknown", pathResponses, `{"input":"hi","previous_response_id":"resp_1"}`},
		{"messages", pathMessages, `{"model":"baton/simulated","max_tokens":2,"messages":[{"role":"user","content":"hi"}]}`},
		{"messages_stream", pathMessages, `{"model":"baton/simulated","max_tokens":2,"stream":true,"messages":[{"role":"user","content":"hi"}]}`},
		{"messages_tools_stream", pathMessages, `{"model":"baton/simulated","max_tokens":200,"stream":true,"messages":[{"role":"user","content":"get_time"}],"tools":[{"name":"get_time","input_schema":{"type":"object","properties":{"utc":{"type":"boolean"}}}}]}`},
		{"messages_wrong_model", pathMessages, `{"model":"x","max_tokens":2,"messages":[{"role":"user","content":"hi"}]}`},
		{"count_tokens", pathMessages + "/count_tokens", `{"model":"baton/simulated","messages":[{"role":"user","content":"hi"}]}`},
		{"wrong_model", pathCompletions, `{"model":"x","prompt":"y"}`},
		{"embeddings", "/v1/embeddings", `{"model":"baton/simulated","input":["a"]}`},
		{"tokenize", "/tokenize", `{"prompt":"hello"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				got := volatile.ReplaceAll(r.start("both", nil).must(tt.path, tt.body).raw, []byte(`"…"`))
				if tt.name == "embeddings" {
					got = regexp.MustCompile(`"embd-[^"]*"`).ReplaceAll(got, []byte(`"…"`))
				}
				file := filepath.Join("testdata", tt.name+".golden")
				if update() {
					if err := os.WriteFile(file, got, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Errorf("answer (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestLengthOfAnswers(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		digest, err := Digest(pathCompletions, []byte(completion("x", 1, "")))
		if err != nil {
			t.Fatal(err)
		}
		natural := naturalLength(digest)
		for _, tt := range []struct {
			members string
			tokens  int
			finish  string
		}{
			{``, 16, "length"},
			{`,"max_tokens":3.0`, 3, "length"},
			{`,"max_tokens":1000`, natural, "stop"},
			{`,"max_tokens":1000,"min_tokens":300`, 300, "stop"},
			{`,"max_tokens":1000,"ignore_eos":true`, 1000, "length"},
			{`,"max_tokens":0,"echo":true`, 0, "length"},
		} {
			got := e.must(pathCompletions, `{"prompt":"x"`+tt.members+`}`)
			if len(got.Choices) != 1 || got.Usage.CompletionTokens != tt.tokens || got.Choices[0].FinishReason != tt.finish {
				t.Errorf("%s gives %s, want %d tokens and %s", tt.members, got.raw, tt.tokens, tt.finish)
			}
		}
	})
}

func TestStopStrings(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		proof := proofOf(t, pathCompletions, completion("x", 1, ""), 10)
		stop := proof[len(proof)-7 : len(proof)-1] // within token 9 or over its beginning
		want := proof[:strings.Index(proof, stop)]
		got := e.must(pathCompletions, completion("x", 500, fmt.Sprintf(`,"stop":[%q]`, stop)))
		if got.text() != want || got.Choices[0].FinishReason != "stop" || got.Choices[0].StopReason != stop {
			t.Errorf("got %s, want the text %q", got.raw, want)
		}
		var streamed strings.Builder
		for _, event := range e.must(pathCompletions, completion("x", 500, fmt.Sprintf(`,"stream":true,"stop":%q`, stop))).events {
			var chunk answered
			if json.Unmarshal(event, &chunk) == nil {
				streamed.WriteString(chunk.text())
			}
		}
		if streamed.String() != want {
			t.Errorf("streamed %q, want %q", streamed.String(), want)
		}
		e.clean()
	})
}

func TestSeveralPromptsAndChoices(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		body := `{"prompt":["a","b"],"n":2,"max_tokens":4,"ignore_eos":true}`
		got := e.must(pathCompletions, body)
		digests, err := Digests(pathCompletions, []byte(body))
		if err != nil || len(got.Choices) != 4 {
			t.Fatalf("%d choices, %v", len(got.Choices), err)
		}
		for i, c := range got.Choices {
			if want := Proof(ChoiceDigest(digests[i/2], i%2), 4); c.Text != want || c.Index != i {
				t.Errorf("choice %d is %q, want %q", i, c.Text, want)
			}
		}
		if got.Usage.CompletionTokens != 16 || got.Usage.PromptTokens != 2 {
			t.Errorf("usage %+v", got.Usage)
		}
	})
}

func TestFaults(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		post := func() (answered, error) {
			return e.post(r.t.Context(), pathCompletions, completion("x", 20, ""))
		}
		e.SetFaults(Faults{Status: 503, Every: 3})
		var failed int
		for range 9 {
			if got, err := post(); err == nil && got.status == 503 {
				failed++
			}
		}
		if failed != 3 {
			t.Errorf("%d of 9 requests failed, want 3", failed)
		}
		e.SetFaults(Faults{Garbage: true})
		if _, err := post(); err == nil {
			t.Error("garbage is JSON")
		}
		e.SetFaults(Faults{CutAfter: 5})
		if _, err := e.post(r.t.Context(), pathCompletions, completion("x", 20, `,"stream":true`)); err == nil {
			t.Error("the cut stream ended well")
		}
		e.SetFaults(Faults{NoHandle: true})
		if got := e.must(pathCompletions, completion("x", 1, askHandle)); string(got.KV) != "null" {
			t.Errorf("kv_transfer_params = %s", got.KV)
		}
		e.SetFaults(Faults{Slow: 10})
		begun := time.Now()
		if _, err := post(); err != nil || time.Since(begun) < 2900*time.Millisecond {
			t.Errorf("20 tokens at a tenth of the speed took %v, %v", time.Since(begun), err)
		}
		e.SetFaults(Faults{Hang: true})
		done := make(chan error, 1)
		go func() {
			_, err := post()
			done <- err
		}()
		pass(time.Minute)
		select {
		case <-done:
			t.Error("a hanging engine answered")
		default:
		}
		e.SetFaults(Faults{})
		if err := <-done; err != nil {
			t.Errorf("after the hang: %v", err)
		}
		go func() {
			_, err := e.post(r.t.Context(), pathCompletions, completion("x", 5000, ""))
			done <- err
		}()
		pass(time.Second)
		e.SetFaults(Faults{Crash: true})
		if err := <-done; err == nil {
			t.Error("a request outlived its engine")
		}
	})
}

func TestMetrics(t *testing.T) {
	inBubble(t, func(r *rig) {
		p, d := r.start("prefill", nil), r.start("decode", nil)
		d.must(pathCompletions, completion(words("abc", 32), 3, p.prefill(words("abc", 32))))
		resp, err := r.client.Get(d.url + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%d, %v", resp.StatusCode, err)
		}
		const labels = `{engine="0",model_name="baton/simulated"}`
		for _, want := range []string{
			"vllm:num_requests_running" + labels + " 0", "vllm:num_requests_waiting" + labels + " 0",
			"vllm:kv_cache_usage_perc" + labels + " 0", "vllm:generation_tokens_total" + labels + " 3",
			"vllm:prompt_tokens_total" + labels + " 32", "vllm:nixl_bytes_transferred_sum" + labels + " 4.194304e+06",
			`vllm:cache_config_info{block_size="16",enable_prefix_caching="True",engine="0",model_name="baton/simulated",num_gpu_blocks="65536"} 1`,
			"vllm:num_preemptions_total" + labels + " 0", "vllm:prefix_cache_queries_total" + labels + " 32",
			"vllm:prefix_cache_hits_total" + labels + " 0", "vllm:external_prefix_cache_hits_total" + labels + " 32",
			`vllm:prompt_tokens_by_source_total{engine="0",model_name="baton/simulated",source="external_kv_transfer"} 32`,
			"vllm:nixl_xfer_time_seconds_count" + labels + " 1", "vllm:nixl_num_notifications_after_expiry_total" + labels + " 0",
			"vllm:inter_token_latency_seconds_count" + labels + " 2", "vllm:time_to_first_token_seconds_count" + labels + " 1",
		} {
			if !strings.Contains(string(page), want+"\n") {
				t.Errorf("metrics lack %s", want)
			}
		}
	})
}
