package enginesim

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

const (
	pathChat        = "/v1/chat/completions"
	pathCompletions = "/v1/completions"
	pathResponses   = "/v1/responses"
	pathMessages    = "/v1/messages"

	defaultCompletion = 16 // max_tokens of /v1/completions
	maxLogprobs       = 20 // alternatives to one token
	maxChoices        = 128
)

// request is a generation request, as far as the engine looks at it. Members that are not here
// are ignored.
type request struct {
	Model               string          `json:"model"`
	Messages            []chatMessage   `json:"messages"`
	Prompt              json.RawMessage `json:"prompt"`
	Tools               json.RawMessage `json:"tools"`
	ToolChoice          json.RawMessage `json:"tool_choice"`
	ParallelToolCalls   *bool           `json:"parallel_tool_calls"`
	ResponseFormat      json.RawMessage `json:"response_format"`
	StructuredOutputs   json.RawMessage `json:"structured_outputs"`
	MaxTokens           *integer        `json:"max_tokens"`
	MaxCompletionTokens *integer        `json:"max_completion_tokens"`
	MinTokens           integer         `json:"min_tokens"`
	N                   *integer        `json:"n"`
	Seed                seed            `json:"seed"`
	Temperature         *float64        `json:"temperature"`
	TopP                *float64        `json:"top_p"`
	Stream              bool            `json:"stream"`
	StreamOptions       *streamOptions  `json:"stream_options"`
	Stop                json.RawMessage `json:"stop"`
	IncludeStop         bool            `json:"include_stop_str_in_output"`
	IgnoreEOS           bool            `json:"ignore_eos"`
	Echo                bool            `json:"echo"`
	Logprobs            json.RawMessage `json:"logprobs"`
	TopLogprobs         json.RawMessage `json:"top_logprobs"`
	PromptLogprobs      json.RawMessage `json:"prompt_logprobs"`
	ReturnTokenIDs      bool            `json:"return_token_ids"`
	TokensAsIDs         bool            `json:"return_tokens_as_token_ids"`
	IncludeReasoning    *bool           `json:"include_reasoning"`
	AddGeneration       *bool           `json:"add_generation_prompt"`
	ContinueFinal       bool            `json:"continue_final_message"`
	KV                  *transferParams `json:"kv_transfer_params"`

	path           string
	chat           bool
	prompts        []prompt
	stops          []string
	choices        int // per prompt
	logprobs       int // none; else the number of alternatives
	promptLogprobs int // alike
	form           form
	response       *responseRequest // of /v1/responses
}

// none is a number of logprobs that nobody asked for.
const none = -1

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

// seed is any 64-bit integer. It changes nothing here, but vLLM refuses one that a proxy has
// turned into a float out of range.
type seed struct{}

func (seed) UnmarshalJSON(b []byte) error {
	if _, err := strconv.ParseInt(string(b), 10, 64); err == nil || string(b) == "null" {
		return nil
	}
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || f != math.Trunc(f) || f < math.MinInt64 || f >= math.MaxInt64 {
		return fmt.Errorf("seed: %s is no 64-bit integer", b)
	}
	return nil
}

// parseRequest reads the body that came to path and checks all that does not depend on the
// engine. Its errors are *apiError.
func parseRequest(path string, body []byte) (*request, error) {
	req := &request{path: path, chat: path != pathCompletions, choices: 1, logprobs: none, promptLogprobs: none}
	var err error
	switch path {
	case pathChat, pathCompletions:
		if err = unmarshal("", body, req); err == nil {
			err = req.readTools()
		}
	case pathResponses:
		err = req.readResponses(body)
	case pathMessages:
		err = req.readMessages(body)
	default:
		err = badRequest("", "path %s generates nothing", path)
	}
	if err != nil {
		return nil, err
	}
	for _, part := range []func() error{req.checkRanges, req.readStop, req.readLogprobs, req.readFormat, req.readPrompts} {
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
	const most = 2 // temperature
	switch {
	case r.MaxTokens != nil && *r.MaxTokens < least:
		return badRequest("max_tokens", "max_tokens must be at least 1, got %d.", *r.MaxTokens)
	case r.MinTokens < 0:
		return badRequest("", "min_tokens must be greater than or equal to 0, got %d.", r.MinTokens)
	case r.MaxTokens != nil && r.MinTokens > *r.MaxTokens:
		return badRequest("", "min_tokens must be less than or equal to max_tokens=%d, got %d.", *r.MaxTokens, r.MinTokens)
	case r.choices < 1:
		return badRequest("", "n must be at least 1, got %d.", r.choices)
	case r.choices > maxChoices:
		return badRequest("", "n must be at most %d, got %d.", maxChoices, r.choices)
	case r.Temperature != nil && *r.Temperature < 0:
		return badRequest("temperature", "temperature must be non-negative, got %v.", *r.Temperature)
	case r.Temperature != nil && *r.Temperature > most:
		return badRequest("temperature", "temperature must be in [0, %d], got %v.", most, *r.Temperature)
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
		return invalid("body.stop", "stop: Input should be a valid string or list of strings")
	}
	for _, s := range r.stops {
		if s == "" {
			return badRequest("", "stop cannot contain an empty string.")
		}
	}
	return nil
}

// readLogprobs reads how many alternatives to each token the answer lists.
func (r *request) readLogprobs() error {
	top, err := alternatives("top_logprobs", r.TopLogprobs)
	if err != nil {
		return err
	}
	if r.chat {
		var on bool
		if !absent(r.Logprobs) && json.Unmarshal(r.Logprobs, &on) != nil {
			return invalid("body.logprobs", "logprobs: Input should be a valid boolean")
		}
		if top != 0 && top != none && !on {
			return badRequest("top_logprobs", "when using `top_logprobs`, `logprobs` must be set to true.")
		}
		if on {
			r.logprobs = max(top, 0)
		}
	} else if r.logprobs, err = alternatives("logprobs", r.Logprobs); err != nil {
		return err
	}
	if r.promptLogprobs, err = alternatives("prompt_logprobs", r.PromptLogprobs); err != nil {
		return err
	}
	if r.promptLogprobs > 0 && r.Stream {
		return badRequest("prompt_logprobs", "`prompt_logprobs` are not available when `stream=True`.")
	}
	if r.promptLogprobs == none && r.Echo && !r.chat {
		r.promptLogprobs = r.logprobs
	}
	if most := max(r.logprobs, top); most > maxLogprobs {
		return badRequest("logprobs", "Requested sample logprobs of %d, which is greater than max allowed: %d", most, maxLogprobs)
	}
	if r.promptLogprobs > maxLogprobs {
		return badRequest("prompt_logprobs", "Requested prompt logprobs of %d, which is greater than max allowed: %d", r.promptLogprobs, maxLogprobs)
	}
	return nil
}

// alternatives reads a number of logprobs. -1 asks for the whole vocabulary.
func alternatives(name string, raw json.RawMessage) (int, error) {
	if absent(raw) {
		return none, nil
	}
	var n integer
	if err := json.Unmarshal(raw, &n); err != nil {
		return 0, badRequest(name, "`%s` must be an integer.", name)
	}
	if n == -1 {
		return vocabulary, nil
	}
	if n < 0 {
		return 0, badRequest(name, "`%s` must be a positive value or -1.", name)
	}
	return int(n), nil
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

// newJob makes the sequences of the request, prompt by prompt. Its errors are *apiError.
func (e *Engine) newJob(req *request, id string) (*job, error) {
	if req.chat {
		req.form.reasoning = e.cfg.Reasoning
	}
	j := &job{form: req.form, news: make(chan struct{}, 1)}
	kv := req.KV
	if req.MaxTokens != nil && int(*req.MaxTokens) > e.cfg.MaxModelLen {
		return nil, badRequest("max_tokens", "max_tokens=%d cannot be greater than max_model_len=%d. Please request fewer output tokens.", *req.MaxTokens, e.cfg.MaxModelLen)
	}
	for _, p := range req.prompts {
		if p.tokens >= e.cfg.MaxModelLen {
			return nil, badRequest("input_tokens", "This model's maximum context length is %d tokens. However, your prompt contains %d input tokens, which exceeds this limit even without any output tokens. Please reduce the length of the input prompt.", e.cfg.MaxModelLen, p.tokens)
		}
		room := e.cfg.MaxModelLen - p.tokens
		params := sampling{maxTokens: room, minTokens: int(req.MinTokens), ignoreEOS: req.IgnoreEOS}
		if req.MaxTokens != nil {
			params.maxTokens = min(room, int(*req.MaxTokens))
		} else if !req.chat {
			params.maxTokens = min(room, defaultCompletion)
		}
		var hashes []uint64
		if req.promptLogprobs == none { // they need the prompt computed, not cached
			hashes = p.hashes(e.cfg.BlockSize)
		}
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
