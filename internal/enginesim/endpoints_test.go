package enginesim

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// The endpoints that chat read the same conversation as the same prompt.
func TestEndpointsReadTheSameChat(t *testing.T) {
	const (
		call   = `"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}`
		dialog = `{"messages":[{"role":"system","content":"be kind"},{"role":"user","content":"hi"},
{"role":"assistant","content":"well","tool_calls":[{` + call + `}]},{"role":"tool","content":"noon"}]}`
	)
	for _, tt := range []struct{ chat, path, body string }{
		{`{"messages":[{"role":"user","content":"hi"}]}`, pathResponses, `{"input":"hi"}`},
		{`{"messages":[{"role":"user","content":"hi"}]}`, pathResponses, `{"input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}]}`},
		{`{"messages":[{"role":"user","content":"hi"}]}`, pathMessages, `{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]}`},
		{dialog, pathResponses, `{"instructions":"be kind","input":[{"type":"message","role":"user","content":"hi"},
{"type":"reasoning","id":"rs_1","summary":[]},
{"type":"message","role":"assistant","content":[{"type":"output_text","text":"well"}]},
{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c1","output":"noon"}]}`},
		{dialog, pathMessages, `{"model":"m","max_tokens":1,"system":[{"type":"text","text":"be kind"}],"messages":[{"role":"user","content":"hi"},
{"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"text","text":"well"},{"type":"tool_use","id":"c1","name":"f","input":{}}]},
{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"noon"}]}]}]}`},
	} {
		want, err := Digest(pathChat, []byte(tt.chat))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Digest(tt.path, []byte(tt.body)); err != nil || got != want {
			t.Errorf("%s %s\nhas the digest %q, %v, want that of %s", tt.path, tt.body, got, err, tt.chat)
		}
	}
}

func TestToolsOfResponsesAndMessages(t *testing.T) {
	const (
		responses = `{"input":"get_time","max_output_tokens":40,"tools":[{"type":"web_search"},{"type":"function","name":"get_time"}]`
		messages  = `{"model":"baton/simulated","max_tokens":40,"messages":[{"role":"user","content":"get_time"}],"tools":[{"name":"get_time","input_schema":{}},{"name":"g","input_schema":{}}]`
	)
	for _, tt := range []struct{ path, body, calls, finish string }{
		{pathResponses, responses, "get_time", "completed"},
		{pathResponses, responses + `,"tool_choice":"none"`, "", "incomplete"},
		{pathResponses, responses + `,"tool_choice":"required"`, "get_time", "completed"},
		{pathResponses, responses + `,"tool_choice":{"type":"function","name":"get_time"}`, "get_time", "completed"},
		{pathMessages, messages, "get_time", "tool_use"},
		{pathMessages, messages + `,"tool_choice":{"type":"none"}`, "", "max_tokens"},
		{pathMessages, messages + `,"tool_choice":{"type":"any"}`, "get_time", "tool_use"},
		{pathMessages, messages + `,"tool_choice":{"type":"tool","name":"g"}`, "g", "tool_use"},
		{pathMessages, strings.Replace(messages, `"get_time"}`, `"get_time g"}`, 1), "get_time g", "tool_use"},
		{pathMessages, strings.Replace(messages, `"get_time"}`, `"get_time g"}`, 1) + `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}`, "get_time", "tool_use"},
		{pathMessages, messages + `,"stop_sequences":["get_ti"]`, "", "stop_sequence"},
	} {
		t.Run(tt.path+tt.body, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				e := r.start("both", nil)
				body := strings.Replace(tt.body, "40", "60", 1)
				if tt.finish == "incomplete" || tt.finish == "max_tokens" {
					body = strings.Replace(tt.body, "40", "5", 1)
				}
				for _, stream := range []string{"}", `,"stream":true}`} {
					got := readers[tt.path](t, e.must(tt.path, body+stream))
					var names []string
					for _, c := range got.Calls {
						names = append(names, c.Name)
					}
					if calls := strings.Join(names, " "); calls != tt.calls || got.Finish != tt.finish {
						t.Errorf("%s: calls %q and ends with %s, want %q and %s", stream, calls, got.Finish, tt.calls, tt.finish)
					}
				}
			})
		})
	}
}

// Reasoning is an item or block of its own, before what follows.
func TestEventsWithReasoning(t *testing.T) {
	for path, want := range map[string]string{
		pathResponses: "response.created response.in_progress response.output_item.added response.content_part.added " +
			"response.reasoning_text.delta response.reasoning_text.delta response.reasoning_text.done response.content_part.done response.output_item.done " +
			"response.output_item.added response.content_part.added response.output_text.delta response.output_text.done " +
			"response.content_part.done response.output_item.done response.completed",
		pathMessages: "message_start content_block_start content_block_delta content_block_delta content_block_delta content_block_stop " +
			"content_block_start content_block_delta content_block_stop message_delta message_stop",
	} {
		t.Run(path, func(t *testing.T) {
			inBubble(t, func(r *rig) {
				e := r.start("both", func(c *Config) { c.Reasoning = 2 })
				body := map[string]string{
					pathResponses: `{"input":"hi","max_output_tokens":3,"stream":true}`,
					pathMessages:  `{"model":"baton/simulated","max_tokens":3,"stream":true,"messages":[{"role":"user","content":"hi"}]}`,
				}[path]
				if got := readers[path](t, e.must(path, body)); strings.Join(got.Events, " ") != want {
					t.Errorf("events %v, want %s", got.Events, want)
				}
			})
		})
	}
}

func TestReasoningOfChats(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", func(c *Config) { c.Reasoning = 2 })
		const body = `{"messages":[{"role":"user","content":"hi"}],"max_tokens":4,"ignore_eos":true,"logprobs":true`
		proof := proofOf(t, pathChat, body+"}", 4)
		reasoning := proofOf(t, pathChat, body+"}", 2)
		for _, tt := range []struct{ more, reasoning string }{
			{"}", reasoning},
			{`,"stream":true}`, reasoning},
			{`,"include_reasoning":false}`, ""},
			{`,"include_reasoning":false,"stream":true}`, ""},
		} {
			answer := e.must(pathChat, body+tt.more)
			got := readChat(t, answer)
			if got.Reasoning != tt.reasoning || reasoning+got.Text != proof {
				t.Errorf("%s: reasoning %q and text %q, want %q of %q", tt.more, got.Reasoning, got.Text, tt.reasoning, proof)
			}
			if tt.reasoning == "" && strings.Contains(string(answer.raw), strings.Fields(reasoning)[0]) {
				t.Errorf("%s: the reasoning shows in %s", tt.more, answer.raw)
			}
		}
		got := e.must(pathChat, body+"}")
		var usage struct {
			Usage struct {
				Details struct {
					Reasoning int `json:"reasoning_tokens"`
				} `json:"completion_tokens_details"`
			}
		}
		if err := json.Unmarshal(got.raw, &usage); err != nil || usage.Usage.Details.Reasoning != 2 {
			t.Errorf("%s: %v, want two tokens of reasoning", got.raw, err)
		}
		e.clean()
	})
}

func TestFormatsThatAreNoSchema(t *testing.T) {
	const hi = `{"messages":[{"role":"user","content":"hi"}],"max_tokens":100`
	for _, tt := range []struct {
		more string
		fits func(text string) bool
	}{
		{`,"structured_outputs":{"choice":["yes","no"]}`, func(s string) bool { return s == "yes" || s == "no" }},
		{`,"structured_outputs":{"regex":"\\d{3}"}`, func(s string) bool { return len(s) == 3 && strings.Trim(s, "0123456789") == "" }},
		{`,"structured_outputs":{"grammar":"root ::= \"one\" | \"two\""}`, func(s string) bool { return s == "one" || s == "two" }},
		{`,"structured_outputs":{"json":"{\"const\":1}"}`, func(s string) bool { return s == "1" }},
		{`,"structured_outputs":{"json_object":true}`, json1},
		{`,"response_format":{"type":"json_object"}`, json1},
		{`,"response_format":{"type":"text"}`, func(s string) bool { return !json1(s) }},
	} {
		inBubble(t, func(r *rig) {
			e := r.start("both", nil)
			got := readChat(t, e.must(pathChat, hi+tt.more+"}"))
			if !tt.fits(got.Text) {
				t.Errorf("%s gives %q", tt.more, got.Text)
			}
			of := e.must(pathChat, hi+tt.more+`,"n":8}`)
			texts := map[string]bool{}
			for _, c := range of.Choices {
				if !tt.fits(c.Message.Content) {
					t.Errorf("%s gives %q as choice %d", tt.more, c.Message.Content, c.Index)
				}
				texts[c.Message.Content] = true
			}
			if constant := strings.Contains(tt.more, "const"); len(texts) < 2 != constant {
				t.Errorf("%s gives %d different answers of 8", tt.more, len(texts))
			}
		})
	}
}

// json1 reports whether s is an object with one member of eight words.
func json1(s string) bool {
	var m map[string]string
	return json.Unmarshal([]byte(s), &m) == nil && len(m) == 1 && len(strings.Fields(m["answer"])) == answerWords
}

func TestLogprobsCoverTheText(t *testing.T) {
	const text = "héllo wörld" // 11 characters in 13 bytes
	for _, tt := range []struct {
		more string
		echo int // tokens
	}{
		{"", 0},
		{`,"echo":true`, 4},
		{`,"return_tokens_as_token_ids":true`, 0},
	} {
		inBubble(t, func(r *rig) {
			e := r.start("both", nil)
			for _, stream := range []string{"", `,"stream":true`} {
				var all completionLogprobs
				var said string
				for _, raw := range parts(e.must(pathCompletions, completion(text, 3, `,"logprobs":2`+tt.more+stream))) {
					var b struct {
						Choices []struct {
							Text     string
							Logprobs completionLogprobs
						}
					}
					if err := json.Unmarshal(raw, &b); err != nil {
						t.Fatal(err)
					}
					l := b.Choices[0].Logprobs
					said += b.Choices[0].Text
					all.Tokens = append(all.Tokens, l.Tokens...)
					all.TextOffset = append(all.TextOffset, l.TextOffset...)
					all.TokenLogprobs = append(all.TokenLogprobs, l.TokenLogprobs...)
					all.TopLogprobs = append(all.TopLogprobs, l.TopLogprobs...)
				}
				if n := tt.echo + 3; len(all.Tokens) != n || len(all.TextOffset) != n || len(all.TokenLogprobs) != n || len(all.TopLogprobs) != n {
					t.Fatalf("%s%s: %+v, want %d of each", tt.more, stream, all, n)
				}
				if tt.echo > 0 != (all.TokenLogprobs[0] == nil) || tt.echo > 0 != (all.TopLogprobs[0] == nil) {
					t.Errorf("%s%s: the first token has %v", tt.more, stream, all.TokenLogprobs[0])
				}
				if strings.Contains(tt.more, "as_token_ids") {
					if !strings.HasPrefix(all.Tokens[0], "token_id:") {
						t.Errorf("tokens %v, want ids", all.Tokens)
					}
					continue
				}
				at := 0
				for i, token := range all.Tokens {
					if all.TextOffset[i] != at {
						t.Errorf("%s%s: token %d is at %d, want %d", tt.more, stream, i, all.TextOffset[i], at)
					}
					at += len([]rune(token))
				}
				if tt.echo == 0 && strings.Join(all.Tokens, "") != said {
					t.Errorf("%s%s: tokens %q of the text %q", tt.more, stream, all.Tokens, said)
				}
			}
		})
	}
}

// Ids that an answer returns stand for its text.
func TestTokenIDsStandForTheText(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		for _, body := range []string{
			`{"messages":[{"role":"user","content":"hi"}],"max_tokens":20,"return_token_ids":true}`,
			`{"messages":[{"role":"user","content":"hi"}],"structured_outputs":{"choice":["süß €"]},"return_token_ids":true}`,
		} {
			got := e.must(pathChat, body)
			var ids struct {
				Prompt  []int64 `json:"prompt_token_ids"`
				Choices []struct {
					IDs []int64 `json:"token_ids"`
				}
			}
			if err := json.Unmarshal(got.raw, &ids); err != nil {
				t.Fatal(err)
			}
			if text := detokenize(ids.Choices[0].IDs); text != got.text() || len(ids.Choices[0].IDs) != got.Usage.CompletionTokens {
				t.Errorf("%v stand for %q, want %q", ids.Choices[0].IDs, text, got.text())
			}
			if len(ids.Prompt) != got.Usage.PromptTokens || slices.Contains(ids.Prompt, 0) {
				t.Errorf("prompt ids %v, usage %+v", ids.Prompt, got.Usage)
			}
		}
	})
}
