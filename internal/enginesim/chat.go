package enginesim

const (
	objectChat  = "chat.completion"
	objectChunk = "chat.completion.chunk"
)

// chatDialect is /v1/chat/completions.
type chatDialect struct{ *answer }

type chatDelta struct {
	Role      string         `json:"role,omitempty"`
	Content   *string        `json:"content,omitempty"`
	Reasoning string         `json:"reasoning,omitempty"`
	ToolCalls []chatToolCall `json:"tool_calls,omitempty"`
}

// chatToolCall is a call or, in a stream, a part of one.
type chatToolCall struct {
	Index    *int         `json:"index,omitempty"` // in a stream
	ID       string       `json:"id,omitempty"`
	Type     string       `json:"type,omitempty"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments,omitempty"`
}

type chatChunkChoice struct {
	Index        int           `json:"index"`
	Delta        chatDelta     `json:"delta"`
	Logprobs     *chatLogprobs `json:"logprobs"`
	FinishReason *string       `json:"finish_reason"`
	StopReason   any           `json:"stop_reason,omitempty"` // a *string in the last chunk of a choice, be it nil
	TokenIDs     any           `json:"token_ids,omitempty"`   // a []int64 in all but the first chunk, be it nil
}

type chatChunk struct {
	ID             string            `json:"id"`
	Object         string            `json:"object"`
	Created        int64             `json:"created"`
	Model          string            `json:"model"`
	Choices        []chatChunkChoice `json:"choices"`
	Usage          *usage            `json:"usage,omitempty"`
	PromptTokenIDs any               `json:"prompt_token_ids,omitempty"` // a []int64 in the first chunk of a choice, be it nil
	PromptText     any               `json:"prompt_text,omitempty"`      // a *string in the first chunk of a choice, always nil
	Fingerprint    string            `json:"system_fingerprint,omitempty"`
}

type chatMessageOut struct {
	Role         string         `json:"role"`
	Content      *string        `json:"content"`
	Refusal      *string        `json:"refusal"`
	Annotations  null           `json:"annotations"`
	Audio        null           `json:"audio"`
	FunctionCall null           `json:"function_call"`
	ToolCalls    []chatToolCall `json:"tool_calls,omitempty"`
	Reasoning    *string        `json:"reasoning"`
}

type chatChoice struct {
	Index        int            `json:"index"`
	Message      chatMessageOut `json:"message"`
	Logprobs     *chatLogprobs  `json:"logprobs"`
	FinishReason *string        `json:"finish_reason"`
	StopReason   *string        `json:"stop_reason"`
	TokenIDs     []int64        `json:"token_ids"`
	Experts      null           `json:"routed_experts"`
}

type chatWhole struct {
	ID                string                     `json:"id"`
	Object            string                     `json:"object"`
	Created           int64                      `json:"created"`
	Model             string                     `json:"model"`
	Choices           []chatChoice               `json:"choices"`
	ServiceTier       null                       `json:"service_tier"`
	SystemFingerprint string                     `json:"system_fingerprint"`
	Usage             *usage                     `json:"usage"`
	PromptLogprobs    []map[string]promptLogprob `json:"prompt_logprobs"`
	PromptTokenIDs    []int64                    `json:"prompt_token_ids"`
	PromptText        null                       `json:"prompt_text"`
	KVTransferParams  *handle                    `json:"kv_transfer_params"`
	ECTransferParams  null                       `json:"ec_transfer_params"`
	Metrics           null                       `json:"metrics"`
}

// null is a member that this engine has nothing to say for.
type null *struct{}

// fingerprint is the system_fingerprint.
const fingerprint = "vllm-" + version

// tokenIDs are nil unless the request asks for them.
func (a chatDialect) tokenIDs(tokens []string) []int64 {
	if !a.req.ReturnTokenIDs {
		return nil
	}
	return tokenIDs(tokens)
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func (a chatDialect) whole(choices []choice, h *handle) any {
	prompt := a.req.prompts[0]
	out := chatWhole{
		ID: a.id, Object: objectChat, Created: a.created, Model: a.engine.cfg.Model, SystemFingerprint: fingerprint, Usage: a.usage(true),
		PromptLogprobs: a.promptLogprobs(prompt), KVTransferParams: h,
	}
	if a.req.ReturnTokenIDs {
		out.PromptTokenIDs = prompt.tokenIDs()
	}
	for _, c := range choices {
		o := chatChoice{
			Index: c.index, Message: a.message(c), Logprobs: a.chatLogprobs(c.tokens),
			FinishReason: orNil(a.finish(c.finish, len(c.calls) > 0)), StopReason: orNil(c.matched), TokenIDs: a.tokenIDs(c.tokens),
		}
		out.Choices = append(out.Choices, o)
	}
	return out
}

// message is an answer that is not streamed. One that calls has no content or, where a call was
// asked for, an empty one.
func (a chatDialect) message(c choice) chatMessageOut {
	m := chatMessageOut{Role: roleAssistant, Content: &c.text, Reasoning: orNil(c.reasoning)}
	if len(a.req.form.calls) > 0 && !a.req.form.required {
		m.Content = nil
	}
	for _, call := range c.calls {
		m.ToolCalls = append(m.ToolCalls, chatToolCall{
			ID: call.ID, Type: "function", Function: chatFunction{Name: call.Name, Arguments: call.Arguments},
		})
	}
	return m
}

// finish is the reason as the API has it: of a named call it is "stop", as vLLM's is.
func (a *answer) finish(reason string, called bool) string {
	if reason == "stop" && called && !a.req.form.named {
		return "tool_calls"
	}
	return reason
}

func (a chatDialect) chunk(choices ...chatChunkChoice) chatChunk {
	return chatChunk{
		ID: a.id, Object: objectChunk, Created: a.created, Model: a.engine.cfg.Model, Choices: append([]chatChunkChoice{}, choices...),
	}
}

func (chatDialect) open(*events) {}

func (a chatDialect) write(out *events, p piece) {
	if p.first {
		out.data(mustJSON(a.roleChunk(p.index)))
	}
	c := chatChunkChoice{
		Index: p.index, Delta: delta(p), Logprobs: a.chatLogprobs(p.tokens),
		FinishReason: orNil(a.finish(p.finish, a.texts[p.index].opened > 0)), TokenIDs: a.tokenIDs(p.tokens),
	}
	if p.finish != "" {
		c.StopReason = orNil(p.matched)
	}
	chunk := a.chunk(c)
	chunk.Usage = a.runningUsage()
	out.data(mustJSON(chunk))
}

func delta(p piece) chatDelta {
	switch p.kind {
	case partReasoning:
		return chatDelta{Reasoning: p.text}
	case partOpening:
		return chatDelta{ToolCalls: []chatToolCall{{Index: &p.callIndex, ID: p.call.ID, Type: "function", Function: chatFunction{Name: p.call.Name}}}}
	case partArguments:
		return chatDelta{ToolCalls: []chatToolCall{{Index: &p.callIndex, Function: chatFunction{Arguments: p.text}}}}
	case partClosing:
		return chatDelta{}
	default:
		return chatDelta{Content: &p.text}
	}
}

// roleChunk is the first one of a choice; it goes out with the first token.
func (a chatDialect) roleChunk(index int) chatChunk {
	c := a.chunk(chatChunkChoice{Index: index, Delta: chatDelta{Role: roleAssistant, Content: new(string)}})
	var prompt []int64
	if a.req.ReturnTokenIDs {
		prompt = a.req.prompts[0].tokenIDs()
	}
	c.PromptTokenIDs, c.PromptText = prompt, null(nil)
	if a.runningUsage() != nil {
		c.Usage = a.usageBefore()
	}
	return c
}

func (a chatDialect) close(out *events) {
	if o := a.req.StreamOptions; o != nil && o.IncludeUsage {
		c := a.chunk()
		c.Usage, c.Fingerprint = a.usage(true), fingerprint
		out.data(mustJSON(c))
	}
	out.done()
}

func (chatDialect) fail(out *events, err *apiError) {
	out.data(err.body())
	out.done()
}
