package enginesim

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestRequestsThatAreRefused(t *testing.T) {
	const (
		hi    = `{"messages":[{"role":"user","content":"hi"}]`
		input = `{"input":"hi"`
		mail  = `{"model":"baton/simulated","max_tokens":5,"messages":[{"role":"user","content":"hi"}]`
		tool  = `,"tools":[{"type":"function","function":{"name":"f"}}]`
	)
	inBubble(t, func(r *rig) {
		e := r.start("both", func(c *Config) { c.MaxModelLen = 100 })
		for _, tt := range []struct {
			path, body, message string
			status              int
			param               string
		}{
			{pathCompletions, `{`, "unexpected end of JSON input", 400, ""},
			{pathCompletions, `{"prompt":"x","stream":"y"}`, "", 400, "body.stream"},
			{pathCompletions, `{"prompt":"x","model":"other"}`, "does not exist", 404, "model"},
			{pathCompletions, `{"model":"baton/simulated"}`, "prompt", 400, "prompt"},
			{pathCompletions, `{"prompt":""}`, "empty", 400, "prompt"},
			{pathCompletions, completion("x", 0, ""), "max_tokens must be at least 1, got 0.", 400, "max_tokens"},
			{pathCompletions, completion("x", -3, ""), "max_tokens must be at least 1, got -3.", 400, "max_tokens"},
			{pathCompletions, completion("x", 101, ""), "max_tokens=101 cannot be greater than max_model_len=100.", 400, "max_tokens"},
			{pathCompletions, completion("x", 1, `,"min_tokens":5`), "min_tokens must be less than or equal to max_tokens=1, got 5.", 400, ""},
			{pathCompletions, completion("x", 1, `,"n":0`), "n must be at least 1, got 0.", 400, ""},
			{pathCompletions, completion("x", 1, `,"n":129`), "n must be at most 128, got 129.", 400, ""},
			{pathCompletions, completion("x", 1, `,"temperature":-1`), "temperature must be non-negative, got -1.", 400, "temperature"},
			{pathCompletions, completion("x", 1, `,"temperature":2.5`), "temperature must be in [0, 2], got 2.5.", 400, "temperature"},
			{pathCompletions, completion("x", 1, `,"top_p":0`), "top_p must be in (0, 1], got 0.", 400, "top_p"},
			{pathCompletions, completion("x", 1, `,"seed":9.223372036854776e18`), "seed", 400, ""},
			{pathCompletions, completion("x", 1, `,"stream_options":{}`), "Stream options", 400, "stream_options"},
			{pathCompletions, completion("x", 1, `,"stop":5`), "stop", 400, "body.stop"},
			{pathCompletions, completion("x", 1, `,"stop":["a",""]`), "stop cannot contain an empty string.", 400, ""},
			{pathCompletions, completion("x", 1, `,"logprobs":21`), "Requested sample logprobs of 21, which is greater than max allowed: 20", 400, "logprobs"},
			{pathCompletions, completion("x", 1, `,"logprobs":-1`), "greater than max allowed: 20", 400, "logprobs"},
			{pathCompletions, completion("x", 1, `,"logprobs":-2`), "`logprobs` must be a positive value or -1.", 400, "logprobs"},
			{pathCompletions, completion("x", 1, `,"logprobs":true`), "`logprobs` must be an integer.", 400, "logprobs"},
			{pathCompletions, completion("x", 1, `,"prompt_logprobs":1,"stream":true`), "not available when `stream=True`", 400, "prompt_logprobs"},
			{pathCompletions, completion(words("x", 100), 1, ""), "maximum context length is 100 tokens. However, your prompt contains 100 input tokens", 400, "input_tokens"},

			{pathChat, `{"messages":[]}`, "messages", 400, "messages"},
			{pathChat, hi + `,"max_completion_tokens":0}`, "max_tokens must be at least 1, got 0.", 400, "max_tokens"},
			{pathChat, hi + `,"logprobs":3}`, "valid boolean", 400, "body.logprobs"},
			{pathChat, hi + `,"top_logprobs":1}`, "when using `top_logprobs`, `logprobs` must be set to true.", 400, "top_logprobs"},
			{pathChat, hi + `,"logprobs":true,"top_logprobs":21}`, "greater than max allowed: 20", 400, "logprobs"},
			{pathChat, hi + `,"logprobs":true,"top_logprobs":-2}`, "`top_logprobs` must be a positive value or -1.", 400, "top_logprobs"},
			{pathChat, hi + `,"tools":[]}`, "`tools` must not be an empty array.", 400, "tools"},
			{pathChat, hi + `,"tools":[{"type":"function"}]}`, "function", 400, "tools"},
			{pathChat, hi + `,"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"x"}}}]}`, "no JSON schema", 400, "tools"},
			{pathChat, hi + `,"tool_choice":"auto"}`, "When using `tool_choice`, `tools` must be set.", 400, "tool_choice"},
			{pathChat, hi + tool + `,"tool_choice":"always"}`, "Invalid value for `tool_choice`", 400, "tool_choice"},
			{pathChat, hi + tool + `,"tool_choice":{}}`, "Correct usage", 400, "tool_choice.function"},
			{pathChat, hi + tool + `,"tool_choice":{"function":{}}}`, "Expected field `name`", 400, "tool_choice.function.name"},
			{pathChat, hi + tool + `,"tool_choice":{"function":{"name":"g"}}}`, "does not match any of the specified `tools`", 400, "tool_choice"},
			{pathChat, hi + tool + `,"tool_choice":{"function":{"name":"f"}},"structured_outputs":{"choice":["a"]}}`, "not both", 400, ""},
			{pathChat, hi + `,"response_format":{"type":"xml"}}`, "response_format", 400, "body.response_format"},
			{pathChat, hi + `,"response_format":{"type":"json_schema"}}`, "the 'json_schema' field must be provided.", 400, "response_format"},
			{pathChat, hi + `,"response_format":{"type":"json_schema","json_schema":{"name":"n"}}}`, "none are specified", 400, ""},
			{pathChat, hi + `,"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"x"}}}}`, "Invalid JSON schema", 400, "response_format"},
			{pathChat, hi + `,"structured_outputs":{}}`, "none are specified", 400, "structured_outputs"},
			{pathChat, hi + `,"structured_outputs":{"regex":"a","choice":["b"]}}`, "multiple are specified", 400, "structured_outputs"},
			{pathChat, hi + `,"structured_outputs":{"regex":"("}}`, "Invalid regex", 400, "structured_outputs"},
			{pathChat, hi + `,"structured_outputs":{"choice":[]}}`, "cannot be an empty list", 400, "structured_outputs"},
			{pathChat, hi + `,"structured_outputs":{"grammar":" "}}`, "cannot be an empty string", 400, "structured_outputs"},

			{pathResponses, `{}`, "input: Field required", 400, "body.input"},
			{pathResponses, `{"input":[{"type":"computer_call"}]}`, "computer_call", 400, "body.input"},
			{pathResponses, input + `,"prompt":{"id":"p"}}`, "prompt template is not supported", 400, "prompt"},
			{pathResponses, input + `,"tool_choice":"required"}`, "must be specified with 'tools' parameter.", 400, "tool_choice"},
			{pathResponses, input + `,"tool_choice":{"type":"function","name":"f"}}`, "not found in 'tools' parameter.", 400, "tool_choice"},
			{pathResponses, input + `,"text":{"format":{"type":"json_schema","name":"n","schema":{"type":"x"}}}}`, "Invalid JSON schema", 400, "text.format"},
			{pathResponses, input + `,"previous_response_id":"resp_1"}`, "Response with id 'resp_1' not found.", 404, "response_id"},
			{pathResponses, input + `,"background":true}`, "VLLM_ENABLE_RESPONSES_API_STORE", 400, "background"},
			{pathResponses, input + `,"max_output_tokens":0}`, "max_tokens must be at least 1", 400, "max_tokens"},
			{pathResponses + "/resp_1/cancel", `{}`, "Response with id 'resp_1' not found.", 404, "response_id"},

			// What does not fit the model of a message is told in OpenAI's form.
			{pathMessages, `{"model":"baton/simulated"}`, "max_tokens: Field required", 400, "body.max_tokens"},
			{pathMessages, `{"max_tokens":1}`, "Model is required", 400, "body.model"},
			{pathMessages, mail + `,"tools":[{"name":"f"}]}`, "input_schema: Field required", 400, "body.tools"},
			{pathMessages, mail + `,"tool_choice":{"type":"x"}}`, "tool_choice", 400, "body.tool_choice"},
			{pathMessages, strings.Replace(mail, `"user"`, `"tool"`, 1) + `}`, "role", 400, "body.messages"},
		} {
			got := e.must(tt.path, tt.body)
			if got.status != tt.status || got.Error == nil || got.Error.Code != tt.status || !strings.Contains(got.Error.Message, tt.message) {
				t.Errorf("%s %s\ngives %d %s, want %d with %q", tt.path, tt.body, got.status, got.raw, tt.status, tt.message)
				continue
			}
			if param := got.Error.Param; param == nil && tt.param != "" || param != nil && *param != tt.param {
				t.Errorf("%s %s\ngives %s, want the param %q", tt.path, tt.body, got.raw, tt.param)
			}
		}
		e.clean()
	})
}

// Errors that come after the body was read as a message have Anthropic's form.
func TestMessagesThatAreRefusedLater(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		for _, tt := range []struct {
			path, body, kind, message string
			status                    int
		}{
			{pathMessages, `{"model":"x","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}`, "NotFoundError", "does not exist", 404},
			{pathMessages, `{"model":"baton/simulated","max_tokens":1,"messages":[]}`, "BadRequestError", "messages", 400},
			{pathMessages, `{"model":"baton/simulated","max_tokens":1,"temperature":3,"messages":[{"role":"user","content":"hi"}]}`, "BadRequestError", "[0, 2]", 400},
			{pathMessages, `{"model":"baton/simulated","max_tokens":1,"messages":[{"role":"user","content":"hi"}],"tool_choice":{"type":"tool","name":"f"}}`, "BadRequestError", "'f'", 400},
			{pathMessages + "/count_tokens", `{"model":"x","messages":[{"role":"user","content":"hi"}]}`, "NotFoundError", "does not exist", 404},
		} {
			got := e.must(tt.path, tt.body)
			var body messageError
			if err := json.Unmarshal(got.raw, &body); err != nil || got.status != tt.status || body.Type != "error" ||
				body.Error.Type != tt.kind || !strings.Contains(body.Error.Message, tt.message) {
				t.Errorf("%s %s\ngives %d %s, want %d, %s with %q", tt.path, tt.body, got.status, got.raw, tt.status, tt.kind, tt.message)
			}
		}
	})
}

func TestBodyMustBeJSON(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", nil)
		for _, kind := range []string{"", "text/plain", "application/jsonp"} {
			req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, e.url+pathCompletions, strings.NewReader(completion("x", 1, "")))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", kind)
			resp, err := r.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusBadRequest {
				t.Errorf("content type %q: %s", kind, resp.Status)
			}
		}
	})
}

func TestKeyOfClients(t *testing.T) {
	inBubble(t, func(r *rig) {
		e := r.start("both", func(c *Config) { c.APIKey = "secret" })
		for _, tt := range []struct {
			path, header string
			status       int
		}{
			{"/v1/models", "", 401},
			{"/v1/models", "Bearer other", 401},
			{"/v1/models", "Basic secret", 401},
			{"/v1/models", "bearer secret", 200},
			{"/health", "", 200},
		} {
			req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, e.url+tt.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", tt.header)
			resp, err := r.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != tt.status {
				t.Errorf("%s with %q: %s, want %d", tt.path, tt.header, resp.Status, tt.status)
			}
		}
	})
}
