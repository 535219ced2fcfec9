package decode_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker/workertest"
	"github.com/google/go-cmp/cmp"
)

// run does one job and returns the frames after the first, which says that it is decoding, and the
// body that the engine got. change may change the job, its body included, and the bench.
func run(t *testing.T, change func(*bench, *wire.DecodeJob)) (frames []wire.Frame, body string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b, j := newBench(), job(1)
		change(b, &j)
		j.Digest = wire.BodyDigest(j.Body)
		j.Handle.Digest = j.Digest
		b.queue.Put(j, 1)
		stop := b.start(t)
		after(time.Minute)
		stop()
		frames, body = b.frames.Of(j.ID)[1:], string(b.engine.body)
	})
	return frames, body
}

// events returns the data of the events that the client gets.
func events(frames []wire.Frame) (all []string) {
	for _, f := range frames {
		for rest := f.Payload; f.Kind == wire.Data && len(rest) > 0; {
			var event []byte
			event, rest = sse.Cut(rest)
			all = append(all, string(event))
		}
	}
	return all
}

// data returns the payloads of the answer.
func data(frames []wire.Frame) (all []string) {
	for _, f := range frames {
		if f.Kind == wire.Data {
			all = append(all, string(f.Payload))
		}
	}
	return all
}

// last returns what the End frame says.
func last(frames []wire.Frame) wire.EndInfo {
	info, err := wire.ReadEndInfo(frames[len(frames)-1].Payload)
	if err != nil {
		panic(err)
	}
	return info
}

func TestUnaryAnswerComesInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, j := newBench(), job(1)
		j.Streaming, j.Whole, j.Handle = false, true, nil
		b.engine.answer = []byte(`{"text":"` + strings.Repeat("x", 100<<10) + `","usage":{"completion_tokens":9}}`)
		b.queue.Put(j, 2) // a whole request may run again
		stop := b.start(t)
		after(time.Second)
		stop()
		frames := b.frames.Of("r1")
		if got := kinds(frames); got != "decoding data data end" {
			t.Fatalf("frames = %s", got)
		}
		if got := string(frames[1].Payload) + string(frames[2].Payload); got != string(b.engine.answer) {
			t.Error("the pieces are not the answer")
		}
		if len(b.notes()) != 0 {
			t.Errorf("control messages %v about no handle", b.notes())
		}
	})
}

func TestUsageIsCountedAndNotLeaked(t *testing.T) {
	const (
		chunk   = `{"choices":[{"delta":{"content":"a \"usage\" b"}}]}`
		running = `{"choices":[{"delta":{}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}`
		nothing = `{"choices":[{"delta":{}}],"usage":null}`
		final   = `{"choices":[ ],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}`
		empty   = `{"choices":[]}`
	)
	end := wire.EndInfo{PromptTokens: 7, CompletionTokens: 2, CachedTokens: 3}
	for name, tc := range map[string]struct {
		change func(*bench, *wire.DecodeJob)
		body   string // that the engine gets; "": the client's
		data   []string
	}{
		"not asked for":       {func(*bench, *wire.DecodeJob) {}, `{"prompt":"1","stream_options":{"include_usage":true}}`, []string{chunk, running, nothing, empty}},
		"asked for":           {func(_ *bench, j *wire.DecodeJob) { j.Usage = true }, "", []string{chunk, running, nothing, final, empty}},
		"not to be asked for": {func(b *bench, _ *wire.DecodeJob) { b.cfg.CountUsage = false }, "", []string{chunk, running, nothing, final, empty}},
		"on another path":     {func(_ *bench, j *wire.DecodeJob) { j.Path = "/v1/other" }, "", []string{chunk, running, nothing, final, empty}},
		"taken out by the frontend": {
			func(_ *bench, j *wire.DecodeJob) { j.Counts = true }, `{"prompt":"1","stream_options":{"include_usage":true,"continuous_usage_stats":true}}`,
			[]string{chunk, running, nothing, final, empty},
		},
		"cut before the counts of all": {
			func(b *bench, j *wire.DecodeJob) {
				j.Counts, j.Body = true, []byte(`{"stream_options":{"include_usage":false,"x":1}}`)
				b.engine.events = []string{chunk, `{"choices":[{"delta":{}}],"usage":{"prompt_tokens":7,"completion_tokens":1}}`, `{"choices":[{}],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}`}
			}, `{"stream_options":{"include_usage":true,"x":1,"continuous_usage_stats":true}}`,
			[]string{chunk, running, `{"choices":[{}],"usage":{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}}`},
		},
		"asked for, says the body alone": {
			func(_ *bench, j *wire.DecodeJob) { j.Body = []byte(`{"stream_options":{"include_usage":true}}`) }, "", []string{chunk, running, nothing, final, empty},
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := tc.body
			frames, body := run(t, func(b *bench, j *wire.DecodeJob) {
				j.Path = "/v1/completions"
				b.engine.events = []string{chunk, running, nothing, final, empty}
				tc.change(b, j)
				if want == "" {
					want = string(j.Body)
				}
			})
			if d := cmp.Diff(tc.data, events(frames)); d != "" {
				t.Errorf("what the client gets:\n%s", d)
			}
			if got := last(frames); got != end {
				t.Errorf("end = %+v, want %+v", got, end)
			}
			if body != want {
				t.Errorf("the engine gets %s, want %s", body, want)
			}
		})
	}
}

func TestUsageInOtherWords(t *testing.T) {
	for name, events := range map[string][]string{
		"responses": {`@response.completed {"response":{"usage":{"input_tokens":7,"output_tokens":2,"input_tokens_details":{"cached_tokens":3}}}}`},
		"messages": {
			`@message_start {"message":{"usage":{"input_tokens":7,"output_tokens":0,"cache_read_input_tokens":3}}}`,
			`@message_delta {"delta":{},"usage":{"output_tokens":2}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			frames, _ := run(t, func(b *bench, j *wire.DecodeJob) { j.Path, b.engine.events = "/v1/"+name, events })
			if got, want := last(frames), (wire.EndInfo{PromptTokens: 7, CompletionTokens: 2, CachedTokens: 3}); got != want {
				t.Errorf("end = %+v, want %+v", got, want)
			}
		})
	}
}

func TestTransferParamsNeverReachTheClient(t *testing.T) {
	const params = `{"remote_host":"10.0.0.1","remote_port":5600}`
	for sent, want := range map[string]string{
		`{"id":1, "kv_transfer_params":` + params + `}`:                             `{"id":1}`,
		`{"kv_transfer_params":null,"ec_transfer_params":` + params + `, "id":1 }`:  `{"id":1 }`,
		`{"response":{"id":1,"kv_transfer_params":` + params + `},"big":1e400}`:     `{"response":{"id":1},"big":1e400}`,
		`{"text":"\"kv_transfer_params\"", "list":["kv_transfer_params"]}`:          `{"text":"\"kv_transfer_params\"", "list":["kv_transfer_params"]}`,
		`{"choices":[{"text":"kv_transfer_params","kv_transfer_params_of":null}]} `: `{"choices":[{"text":"kv_transfer_params","kv_transfer_params_of":null}]} `,
	} {
		for _, streaming := range []bool{true, false} {
			frames, _ := run(t, func(b *bench, j *wire.DecodeJob) {
				j.Streaming, b.engine.events, b.engine.answer = streaming, []string{sent}, []byte(sent)
			})
			got := data(frames)
			if streaming {
				got = events(frames)
			}
			if d := cmp.Diff([]string{want}, got); d != "" {
				t.Errorf("streaming %v:\n%s", streaming, d)
			}
		}
	}
}

func TestNamedEventsAreTheEnginesOwn(t *testing.T) {
	frames, _ := run(t, func(b *bench, j *wire.DecodeJob) {
		j.Path = "/v1/responses"
		b.engine.events = []string{`@response.created {"type":"something else"}`, `{"type":"no name"}`, "@two {\n}"}
	})
	want := []string{
		"event: response.created\ndata: {\"type\":\"something else\"}\n\n", "data: {\"type\":\"no name\"}\n\n", "event: two\ndata: {\ndata: }\n\n",
	}
	if d := cmp.Diff(want, data(frames)); d != "" {
		t.Error(d)
	}
}

func TestErrorEventsAreFailures(t *testing.T) {
	const chat, messages = "/v1/chat/completions", "/v1/messages"
	failure := func(status int, reason wire.Reason, body string, told bool) wire.Failure {
		return wire.Failure{Reason: reason, Status: status, Message: "The engine ended its answer with an error.", Body: []byte(body), Told: told}
	}
	for name, tc := range map[string]struct {
		path   string
		events []string
		data   []string
		want   wire.Failure
	}{
		"first":           {chat, []string{`{"error":{"code":500}}`}, nil, failure(500, wire.EngineError, `{"error":{"code":500}}`, false)},
		"later":           {chat, []string{`1`, `{"error":{"code":400}}`}, []string{"data: 1\n\n"}, failure(400, wire.EngineRejected, `{"error":{"code":400}}`, false)},
		"first of names":  {messages, []string{`@error {"type":"error"}`}, nil, failure(0, wire.EngineError, `{"type":"error"}`, false)},
		"later, of names": {messages, []string{`@a 1`, `@error {"x":1}`, "[DONE]"}, []string{"event: a\ndata: 1\n\n", "event: error\ndata: {\"x\":1}\n\n"}, failure(0, wire.EngineError, `{"x":1}`, true)},
	} {
		t.Run(name, func(t *testing.T) {
			frames, _ := run(t, func(b *bench, j *wire.DecodeJob) { j.Path, b.engine.events = tc.path, tc.events })
			if d := cmp.Diff(tc.data, data(frames)); d != "" {
				t.Errorf("what the client gets:\n%s", d)
			}
			var got wire.Failure
			if err := json.Unmarshal(frames[len(frames)-1].Payload, &got); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Events that are there at the same time go in one frame, as far as that has room for them; one that is there alone goes
// at once. What is no event of the client ends or leaves a frame as if it had come alone.
func TestEventsThatAreThereTogetherAreOneFrame(t *testing.T) {
	const (
		a, b  = `{"choices":[{"text":"a"}]}`, `{"choices":[{"text":"b"}]}`
		usage = `{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":2}}`
		oops  = `{"error":{"code":500}}`
	)
	blocks := func(events ...string) (all string) {
		for _, e := range events {
			all += "data: " + e + "\n\n"
		}
		return all
	}
	half := strings.Repeat("x", workertest.Portion/2-len(blocks("")))
	large := strings.Repeat("y", 2*workertest.Portion)
	for name, tc := range map[string]struct {
		events []string
		data   []string
		end    wire.Kind
		gaps   []time.Duration
	}{
		"alone":             {[]string{a, b}, []string{blocks(a), blocks(b)}, wire.End, []time.Duration{gap}},
		"two and two":       {[]string{a, "+" + b, b, "+" + a}, []string{blocks(a, b), blocks(b, a)}, wire.End, []time.Duration{0, gap / 2, gap / 2}},
		"just room":         {[]string{half, "+" + half}, []string{blocks(half, half)}, wire.End, []time.Duration{0}},
		"no room":           {[]string{half, "+" + half, "+1", "+2"}, []string{blocks(half, half), blocks("1", "2")}, wire.End, []time.Duration{0, 0, 0}},
		"one that is large": {[]string{a, "+" + large, "+" + b}, []string{blocks(a), blocks(large), blocks(b)}, wire.End, []time.Duration{0, 0}},
		"counts at the end": {[]string{a, "+" + b, "+" + usage}, []string{blocks(a, b)}, wire.End, []time.Duration{0}},
		"counts alone":      {[]string{a, usage}, []string{blocks(a)}, wire.End, nil},
		"counts between":    {[]string{a, "+" + usage, "+" + b}, []string{blocks(a, b)}, wire.End, []time.Duration{0}},
		"a failure":         {[]string{a, "+" + b, "+" + oops, "+" + a}, []string{blocks(a, b)}, wire.Fail, []time.Duration{0}},
		"no JSON at last":   {[]string{a, `+{"kv_transfer_params":`}, []string{blocks(a)}, wire.Fail, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var at *bench
			frames, _ := run(t, func(b *bench, j *wire.DecodeJob) {
				at, b.engine.events, j.Path = b, tc.events, "/v1/completions"
			})
			if d := cmp.Diff(tc.data, data(frames)); d != "" {
				t.Errorf("what the client gets:\n%s", d)
			}
			if got := frames[len(frames)-1].Kind; got != tc.end {
				t.Errorf("the last frame is %s, want %s", got, tc.end)
			}
			if got := at.reports.Gaps(); !slices.Equal(got, tc.gaps) {
				t.Errorf("gaps are %v, want %v", got, tc.gaps)
			}
		})
	}
}
