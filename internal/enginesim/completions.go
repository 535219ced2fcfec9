package enginesim

const objectCompletion = "text_completion"

// completionDialect is /v1/completions.
type completionDialect struct{ *answer }

type completionHead struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
}

type completionChunkChoice struct {
	Index          int                 `json:"index"`
	Text           string              `json:"text"`
	Logprobs       *completionLogprobs `json:"logprobs"`
	FinishReason   *string             `json:"finish_reason"`
	StopReason     *string             `json:"stop_reason"`
	PromptTokenIDs []int64             `json:"prompt_token_ids"`
	TokenIDs       []int64             `json:"token_ids"`
}

type completionChunk struct {
	completionHead
	Choices     []completionChunkChoice `json:"choices"`
	Usage       *usage                  `json:"usage,omitempty"`
	Fingerprint string                  `json:"system_fingerprint,omitempty"` // with the usage at the end
}

type completionChoice struct {
	completionChunkChoice
	PromptLogprobs []map[string]promptLogprob `json:"prompt_logprobs"`
	Experts        null                       `json:"routed_experts"`
}

type completionWhole struct {
	completionHead
	Choices           []completionChoice `json:"choices"`
	ServiceTier       null               `json:"service_tier"`
	SystemFingerprint string             `json:"system_fingerprint"`
	Usage             *usage             `json:"usage"`
	KVTransferParams  *handle            `json:"kv_transfer_params"`
	ECTransferParams  null               `json:"ec_transfer_params"`
	Metrics           null               `json:"metrics"`
}

func (a completionDialect) head() completionHead {
	return completionHead{ID: a.id, Object: objectCompletion, Created: a.created, Model: a.engine.cfg.Model}
}

func (a completionDialect) choice(p piece) completionChunkChoice {
	prompt := a.job.seqs[p.index].prompt
	echoed := p.first && a.req.Echo && !a.req.ReturnTokenIDs
	c := completionChunkChoice{
		Index: p.index, Text: p.text, Logprobs: a.completionLogprobs(p.tokens, p.offset, echoed),
		FinishReason: orNil(p.finish), StopReason: orNil(p.matched),
	}
	if a.req.ReturnTokenIDs {
		c.TokenIDs = tokenIDs(p.tokens)
		if p.first {
			c.PromptTokenIDs = prompt.tokenIDs()
		}
	}
	return c
}

func (a completionDialect) whole(choices []choice, h *handle) any {
	out := completionWhole{completionHead: a.head(), SystemFingerprint: fingerprint, Usage: a.usage(true), KVTransferParams: h}
	for _, c := range choices {
		p := piece{index: c.index, first: true, text: c.text, tokens: c.tokens, finish: c.finish, matched: c.matched}
		out.Choices = append(out.Choices, completionChoice{
			completionChunkChoice: a.choice(p), PromptLogprobs: a.promptLogprobs(a.job.seqs[c.index].prompt),
		})
	}
	return out
}

func (completionDialect) open(*events) {}

func (a completionDialect) write(out *events, p piece) {
	out.data(mustJSON(completionChunk{completionHead: a.head(), Choices: []completionChunkChoice{a.choice(p)}, Usage: a.runningUsage()}))
}

func (a completionDialect) close(out *events) {
	if o := a.req.StreamOptions; o != nil && o.IncludeUsage {
		out.data(mustJSON(completionChunk{completionHead: a.head(), Choices: []completionChunkChoice{}, Usage: a.usage(true), Fingerprint: fingerprint}))
	}
	out.done()
}

func (completionDialect) fail(out *events, err *apiError) {
	out.data(err.body())
	out.done()
}
