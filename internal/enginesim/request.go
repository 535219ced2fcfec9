package enginesim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
)

const (
	pathChat        = "/v1/chat/completions"
	pathCompletions = "/v1/completions"

	defaultCompletion = 16   // max_tokens of /v1/completions
	maxPrompts        = 1024 // in one request
)

// request is a generation request, as far as the engine looks at it. Members that are not here
// are ignored.
type request struct {
	Model               string          `json:"model"`
	Messages            []chatMessage   `json:"messages"`
	Prompt              json.RawMessage `json:"prompt"`
	Tools               json.RawMessage `json:"tools"`
	MaxTokens           *integer        `json:"max_tokens"`
	MaxCompletionTokens *integer        `json:"max_completion_tokens"`
	MinTokens           integer         `json:"min_tokens"`
	N                   *integer        `json:"n"`
	Temperature         *float64        `json:"temperature"`
	TopP                *float64        `json:"top_p"`
	Stream              bool            `json:"stream"`
	StreamOptions       *streamOptions  `json:"stream_options"`
	Stop                json.RawMessage `json:"stop"`
	IncludeStop         bool            `json:"include_stop_str_in_output"`
	IgnoreEOS           bool            `json:"ignore_eos"`
	Echo                bool            `json:"echo"`
	Logprobs            json.RawMessage `json:"logprobs"`
	TopLogprobs         integer         `json:"top_logprobs"`
	KV                  *transferParams `json:"kv_transfer_params"`

	chat     bool
	prompts  []prompt
	stops    []string
	choices  int // per prompt
	logprobs int // -1: none; else the number of alternatives
}

type streamOptions struct {
	IncludeUsage    bool `json:"include_usage"`
	ContinuousUsage bool `json:"continuous_usage_stats"`
}

// transferParams asks for a handle or brings one. What cannot be parsed kills the engine later,
// as it does vLLM's, so a wrong type is no error here.
type transferParams struct {
	produce, consume bool
	handle           handle
}

func (p *transferParams) UnmarshalJSON(b []byte) error {
	var asked struct {
		Produce bool `json:"do_remote_decode"`
		Consume bool `json:"do_remote_prefill"`
	}
	if err := json.Unmarshal(b, &asked); err != nil {
		return fmt.Errorf("kv_transfer_params: %w", err)
	}
	p.produce, p.consume = asked.Produce, asked.Consume
	if p.consume && json.Unmarshal(b, &p.handle) != nil {
		p.handle = handle{}
	}
	return nil
}

// integer takes 5.0 and 5e0 for 5, as vLLM does.
type integer int

func (n *integer) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("want an integer: %w", err)
	}
	if f != math.Trunc(f) || math.Abs(f) > math.MaxInt32 {
		return fmt.Errorf("%s is not a valid integer", b)
	}
	*n = integer(f)
	return nil
}

type chatMessage struct {
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls json.RawMessage `json:"tool_calls"`
}

// parseRequest reads the body that came to path and checks all that does not depend on the
// engine. Its errors are *apiError.
func parseRequest(path string, body []byte) (*request, error) {
	req := &request{chat: path == pathChat, choices: 1, logprobs: -1}
	if !req.chat && path != pathCompletions {
		return nil, badRequest("", "path %s generates nothing", path)
	}
	if err := json.Unmarshal(body, req); err != nil {
		return nil, badRequest("", "%v", err)
	}
	for _, part := range []func() error{req.checkRanges, req.readStop, req.readLogprobs, req.readPrompts} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	return req, nil
}

func (r *request) checkRanges() error {
	least := integer(1)
	if r.Echo && !r.chat {
		least = 0
	}
	if r.chat && r.MaxCompletionTokens != nil {
		r.MaxTokens = r.MaxCompletionTokens
	}
	if r.N != nil {
		r.choices = int(*r.N)
	}
	switch {
	case r.MaxTokens != nil && *r.MaxTokens < least:
		return badRequest("max_tokens", "max_tokens must be at least 1, got %d.", *r.MaxTokens)
	case r.MinTokens < 0:
		return badRequest("min_tokens", "min_tokens must be greater than or equal to 0, got %d.", r.MinTokens)
	case r.MaxTokens != nil && r.MinTokens > *r.MaxTokens:
		return badRequest("min_tokens", "min_tokens must be less than or equal to max_tokens=%d, got %d.", *r.MaxTokens, r.MinTokens)
	case r.choices < 1 || r.choices > 128:
		return badRequest("n", "n must be at least 1, got %d.", r.choices)
	case r.Temperature != nil && *r.Temperature < 0:
		return badRequest("temperature", "temperature must be non-negative, got %v.", *r.Temperature)
	case r.TopP != nil && (*r.TopP <= 0 || *r.TopP > 1):
		return badRequest("top_p", "top_p must be in (0, 1], got %v.", *r.TopP)
	case r.StreamOptions != nil && !r.Stream:
		return badRequest("stream_options", "Stream options can only be defined when `stream=True`.")
	}
	return nil
}

func absent(b json.RawMessage) bool { return len(b) == 0 || string(b) == "null" }

func (r *request) readStop() error {
	if absent(r.Stop) {
		return nil
	}
	var one string
	if json.Unmarshal(r.Stop, &one) == nil {
		r.stops = []string{one}
	} else if err := json.Unmarshal(r.Stop, &r.stops); err != nil {
		return badRequest("stop", "stop must be a string or a list of strings")
	}
	for _, s := range r.stops {
		if s == "" {
			return badRequest("stop", "stop cannot contain an empty string.")
		}
	}
	return nil
}

func (r *request) readLogprobs() error {
	if absent(r.Logprobs) {
		return nil
	}
	if r.chat {
		var on bool
		if err := json.Unmarshal(r.Logprobs, &on); err != nil {
			return badRequest("logprobs", "logprobs must be a boolean")
		}
		if on {
			r.logprobs = int(r.TopLogprobs)
		}
	} else {
		var n integer
		if err := n.UnmarshalJSON(r.Logprobs); err != nil {
			return badRequest("logprobs", "logprobs: %v", err)
		}
		r.logprobs = int(n)
	}
	if r.logprobs > 20 || r.TopLogprobs < 0 {
		return badRequest("logprobs", "Requested sample logprobs of %d, which is greater than max allowed: 20", r.logprobs)
	}
	return nil
}

func (r *request) readPrompts() error {
	if r.chat {
		return r.renderChat()
	}
	prompts, err := readPrompts(r.Prompt)
	if err != nil {
		return err
	}
	r.prompts = prompts
	return nil
}

// renderChat makes one plain text of the messages and tools, in place of a chat template.
func (r *request) renderChat() error {
	if len(r.Messages) == 0 {
		return badRequest("messages", "messages must have at least one message")
	}
	text, err := renderMessages(r.Messages, r.Tools)
	if err != nil {
		return err
	}
	r.prompts = []prompt{textPrompt(text)}
	return nil
}

func renderMessages(messages []chatMessage, tools json.RawMessage) (string, error) {
	var b strings.Builder
	if !absent(tools) {
		b.WriteString("<|tools|>\n" + compact(tools) + "\n")
	}
	for _, m := range messages {
		if m.Role == "" {
			return "", badRequest("messages", "a message has no role")
		}
		content, err := contentText(m.Content)
		if err != nil {
			return "", err
		}
		b.WriteString("<|" + m.Role + "|>\n" + content + "\n")
		if !absent(m.ToolCalls) {
			b.WriteString(compact(m.ToolCalls) + "\n")
		}
	}
	b.WriteString("<|assistant|>\n")
	return b.String(), nil
}

// contentText joins the text parts of a content; other parts stand as their JSON.
func contentText(content json.RawMessage) (string, error) {
	var text string
	if absent(content) || json.Unmarshal(content, &text) == nil {
		return text, nil
	}
	var parts []json.RawMessage
	if err := json.Unmarshal(content, &parts); err != nil {
		return "", badRequest("messages", "content must be a string or a list of parts")
	}
	var b strings.Builder
	for _, part := range parts {
		var p struct {
			Text *string `json:"text"`
		}
		if json.Unmarshal(part, &p) == nil && p.Text != nil {
			b.WriteString(*p.Text)
		} else {
			b.WriteString(compact(part))
		}
	}
	return b.String(), nil
}

func compact(raw json.RawMessage) string {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// readPrompts takes a string, a list of strings, a list of token ids or a list of such lists.
func readPrompts(raw json.RawMessage) ([]prompt, error) {
	var (
		one   string
		many  []string
		ids   []int64
		lists [][]int64
		out   []prompt
	)
	switch {
	case absent(raw):
		return nil, badRequest("prompt", "prompt is missing")
	case json.Unmarshal(raw, &one) == nil:
		out = append(out, textPrompt(one))
	case json.Unmarshal(raw, &many) == nil:
		for _, text := range many {
			out = append(out, textPrompt(text))
		}
	case json.Unmarshal(raw, &ids) == nil:
		out = append(out, idPrompt(ids))
	case json.Unmarshal(raw, &lists) == nil:
		for _, ids := range lists {
			out = append(out, idPrompt(ids))
		}
	default:
		return nil, badRequest("prompt", "prompt must be a string, a list of strings, a list of token ids or a list of lists of token ids")
	}
	if len(out) > maxPrompts {
		return nil, badRequest("prompt", "%d prompts are more than the %d allowed", len(out), maxPrompts)
	}
	for _, p := range out {
		if p.tokens == 0 {
			return nil, badRequest("prompt", "The decoder prompt cannot be empty")
		}
	}
	if len(out) == 0 {
		return nil, badRequest("prompt", "prompt must not be an empty list")
	}
	return out, nil
}

// newJob makes the sequences of the request, prompt by prompt. Its errors are *apiError.
func (e *Engine) newJob(req *request, id string) (*job, error) {
	j := &job{news: make(chan struct{}, 1)}
	kv := req.KV
	for _, p := range req.prompts {
		if p.tokens >= e.cfg.MaxModelLen {
			return nil, badRequest("", "This model's maximum context length is %d tokens. However, your request has %d input tokens. Please reduce the length of the input messages.", e.cfg.MaxModelLen, p.tokens)
		}
		room := e.cfg.MaxModelLen - p.tokens
		params := sampling{maxTokens: room, minTokens: int(req.MinTokens), ignoreEOS: req.IgnoreEOS}
		if req.MaxTokens != nil {
			params.maxTokens = min(room, int(*req.MaxTokens))
		} else if !req.chat {
			params.maxTokens = min(room, defaultCompletion)
		}
		hashes := p.hashes(e.cfg.BlockSize)
		for choice := range req.choices {
			s := &sequence{job: j, prompt: p, hashes: hashes, choice: choice, params: params, stop: make(chan struct{})}
			if kv != nil && kv.produce && e.cfg.Role != roleDecode {
				s.pinUnder = fmt.Sprintf("%s-%d-%s", id, len(j.seqs), newUUID()[:8])
			}
			if kv != nil && kv.consume && e.cfg.Role != rolePrefill {
				s.remote = &remoteRead{handle: kv.handle}
			}
			j.seqs = append(j.seqs, s)
		}
	}
	return j, nil
}

// apiError is an error as the client sees it, in vLLM's form.
type apiError struct {
	Status  int
	Type    string
	Param   string
	Message string
}

func (e *apiError) Error() string { return e.Message }

func badRequest(param, format string, args ...any) *apiError {
	return &apiError{Status: http.StatusBadRequest, Type: "BadRequestError", Param: param, Message: fmt.Sprintf(format, args...)}
}

func internalError(err error) *apiError {
	var known *apiError
	if errors.As(err, &known) {
		return known
	}
	return &apiError{Status: http.StatusInternalServerError, Type: "InternalServerError", Message: err.Error()}
}

// body is {"error":{…}}.
func (e *apiError) body() []byte {
	var out struct {
		Error struct {
			Message string  `json:"message"`
			Type    string  `json:"type"`
			Param   *string `json:"param"`
			Code    int     `json:"code"`
		} `json:"error"`
	}
	out.Error.Message, out.Error.Type, out.Error.Code = e.Message, e.Type, e.Status
	if e.Param != "" {
		out.Error.Param = &e.Param
	}
	return mustJSON(out)
}
