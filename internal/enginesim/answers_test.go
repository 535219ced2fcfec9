package enginesim

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// said is what a client gets to know of one choice, of any endpoint, streamed or not.
type said struct {
	Reasoning, Text string
	Calls           []Call
	Finish          string
	Events          []string // names
}

func (s *said) add(calls ...Call) { s.Calls = append(s.Calls, calls...) }

// toolParts are calls as chats have them.
type toolParts []struct {
	Index    int
	Function Call
}

func readChat(t *testing.T, a answered) (out said) {
	t.Helper()
	type message struct {
		Content, Reasoning string
		ToolCalls          toolParts `json:"tool_calls"`
	}
	type body struct {
		Choices []struct {
			Message, Delta message
			FinishReason   string `json:"finish_reason"`
		}
	}
	var bodies []body
	for _, raw := range parts(a) {
		var b body
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		bodies = append(bodies, b)
	}
	for _, b := range bodies {
		if len(b.Choices) == 0 {
			continue
		}
		c := b.Choices[0]
		out.Text += c.Message.Content + c.Delta.Content
		out.Reasoning += c.Message.Reasoning + c.Delta.Reasoning
		out.Finish += c.FinishReason
		for _, call := range c.Message.ToolCalls {
			out.add(call.Function)
		}
		for _, call := range c.Delta.ToolCalls {
			if call.Index == len(out.Calls) {
				out.add(Call{})
			}
			out.Calls[call.Index].Name += call.Function.Name
			out.Calls[call.Index].Arguments += call.Function.Arguments
		}
	}
	return out
}

// parts are the JSON texts of an answer.
func parts(a answered) [][]byte {
	if a.events == nil {
		return [][]byte{a.raw}
	}
	var out [][]byte
	for _, e := range a.events {
		if string(e) != "[DONE]" {
			out = append(out, e)
		}
	}
	return out
}

func readResponse(t *testing.T, a answered) (out said) {
	t.Helper()
	type response struct {
		Status string
		Output []struct {
			Type, Name, Arguments string
			Content               []struct{ Text string }
		}
	}
	var deltas strings.Builder
	for i, raw := range parts(a) {
		var b struct {
			response
			Type     string
			Sequence int `json:"sequence_number"`
			Delta    string
			Response *response
		}
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		if a.events != nil {
			out.Events = append(out.Events, b.Type)
			deltas.WriteString(b.Delta)
			if b.Sequence != i {
				t.Errorf("event %d has number %d", i, b.Sequence)
			}
			if b.Response == nil {
				continue
			}
			b.response = *b.Response
		}
		out.Finish = b.Status
		for _, item := range b.Output {
			text := ""
			for _, c := range item.Content {
				text += c.Text
			}
			switch item.Type {
			case "reasoning":
				out.Reasoning += text
			case "message":
				out.Text += text
			case "function_call":
				out.add(Call{Name: item.Name, Arguments: item.Arguments})
			}
		}
	}
	whole := out.Reasoning + out.Text
	for _, c := range out.Calls {
		whole += c.Arguments
	}
	if a.events != nil && deltas.String() != whole {
		t.Errorf("deltas say %q, the response %q", deltas.String(), whole)
	}
	return out
}

func readMessage(t *testing.T, a answered) (out said) {
	t.Helper()
	type block struct {
		Type, Text, Thinking, Name string
		Input                      json.RawMessage
	}
	take := func(b block) {
		out.Text += b.Text
		out.Reasoning += b.Thinking
		if b.Type == "tool_use" {
			out.add(Call{Name: b.Name, Arguments: string(b.Input)})
		}
	}
	for _, raw := range parts(a) {
		var b struct {
			Type    string
			Content []block
			Block   *block `json:"content_block"`
			Delta   struct {
				Text, Thinking, Partial string
				PartialJSON             string `json:"partial_json"`
				StopReason              string `json:"stop_reason"`
			}
			StopReason string `json:"stop_reason"`
		}
		if err := json.Unmarshal(raw, &b); err != nil {
			t.Fatalf("%v in %s", err, raw)
		}
		if a.events != nil {
			out.Events = append(out.Events, b.Type)
		}
		for _, c := range b.Content {
			take(c)
		}
		if b.Block != nil {
			b.Block.Input = nil // is empty, whatever follows
			take(*b.Block)
		}
		out.Text += b.Delta.Text
		out.Reasoning += b.Delta.Thinking
		if b.Delta.PartialJSON != "" {
			out.Calls[len(out.Calls)-1].Arguments += b.Delta.PartialJSON
		}
		out.Finish += b.StopReason + b.Delta.StopReason
	}
	return out
}

// readers know how the endpoints that chat answer.
var readers = map[string]func(*testing.T, answered) said{pathChat: readChat, pathResponses: readResponse, pathMessages: readMessage}

// everyMode is a request of each kind, with an open end for more members.
var everyMode = []struct{ name, path, body string }{
	{"words", pathChat, `{"messages":[{"role":"user","content":"hi"}]`},
	{"calls", pathChat, strings.TrimSuffix(weather("", `,"tool_choice":"auto"`), "}")},
	{"required call", pathChat, strings.TrimSuffix(weather("", `,"tool_choice":"required"`), "}")},
	{"named call", pathChat, strings.TrimSuffix(weather("", `,"tool_choice":{"type":"function","function":{"name":"get_time"}}`), "}")},
	{"schema", pathChat, `{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"properties":{"ü":{"type":"array","items":{"enum":["ä","€"]}}}}}}`},
	{"json", pathChat, `{"messages":[{"role":"user","content":"hi"}],"response_format":{"type":"json_object"}`},
	{"choice", pathChat, `{"messages":[{"role":"user","content":"hi"}],"structured_outputs":{"choice":["yes","no"]}`},
	{"empty choice", pathChat, `{"messages":[{"role":"user","content":"hi"}],"structured_outputs":{"choice":[""]}`},
	{"regex", pathChat, `{"messages":[{"role":"user","content":"hi"}],"structured_outputs":{"regex":"[a-f]{3,9}"}`},
	{"response", pathResponses, `{"input":"hi"`},
	{"response that calls", pathResponses, `{"input":"get_time","tools":[{"type":"function","name":"get_time","parameters":{"properties":{"utc":{"type":"boolean"}}}}]`},
	{"message", pathMessages, `{"model":"baton/simulated","messages":[{"role":"user","content":"hi"}]`},
	{"message that calls", pathMessages, `{"model":"baton/simulated","messages":[{"role":"user","content":"get_time"}],"tools":[{"name":"get_time","input_schema":{"properties":{"utc":{"type":"boolean"}}}}]`},
}

// compacted drops white space from arguments, which not every endpoint keeps.
func compacted(calls []Call) []Call {
	for i, c := range calls {
		calls[i].Arguments = compact(json.RawMessage(c.Arguments))
	}
	return calls
}

// limit is the member that bounds an answer.
func limit(path, n string) string {
	if path == pathResponses {
		return `,"max_output_tokens":` + n
	}
	return `,"max_tokens":` + n
}

// Split or not, streamed or not, with reasoning or without: each kind of answer is what Answers
// says, so that it proves its path.
func TestEveryKindOfAnswerProvesItsPath(t *testing.T) {
	for _, tt := range everyMode {
		for _, reasoning := range []int{0, 3} {
			t.Run(tt.name, func(t *testing.T) {
				inBubble(t, func(r *rig) {
					reasons := func(c *Config) { c.Reasoning = reasoning }
					p, d := r.start("prefill", reasons), r.start("decode", reasons)
					body := tt.body + limit(tt.path, "500")
					answers, err := Answers(tt.path, []byte(body+"}"))
					if err != nil {
						t.Fatal(err)
					}
					digest, err := Digest(tt.path, []byte(body+"}"))
					if err != nil {
						t.Fatal(err)
					}
					want := said{Text: answers[0].Text, Calls: compacted(answers[0].Calls), Reasoning: Proof(digest, reasoning)}
					if tt.name == "words" || tt.name == "response" || tt.name == "message" {
						want.Text = strings.TrimPrefix(Proof(digest, reasoning+naturalLength(digest)), want.Reasoning)
					}
					for _, stream := range []string{"", `,"stream":true`} {
						leg := p.must(tt.path, tt.body+limit(tt.path, "1")+askHandle+"}")
						if len(leg.KV) == 0 || string(leg.KV) == "null" {
							t.Fatalf("prefill gave no handle: %s", leg.raw)
						}
						got := readers[tt.path](t, d.must(tt.path, body+stream+`,"kv_transfer_params":`+string(leg.KV)+"}"))
						got.Calls, got.Finish, got.Events = compacted(got.Calls), "", nil
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("stream %q (-want +got):\n%s", stream, diff)
						}
					}
					if st := d.Stats(); st.Pulled != 2 {
						t.Errorf("%d KV caches were read, want 2", st.Pulled)
					}
					p.clean()
					d.clean()
				})
			})
		}
	}
}
