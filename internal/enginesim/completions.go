package enginesim

const objectCompletion = "text_completion"

type completionHead struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
}

type completionChunkChoice struct {
	Index        int                 `json:"index"`
	Text         string              `json:"text"`
	Logprobs     *completionLogprobs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason"`
	StopReason   *string             `json:"stop_reason"`
}

type completionChunk struct {
	completionHead
	Choices []completionChunkChoice `json:"choices"`
	Usage   *usage                  `json:"usage,omitempty"`
}

type completionChoice struct {
	completionChunkChoice
	PromptLogprobs *string `json:"prompt_logprobs"`
}

type completionWhole struct {
	completionHead
	Choices           []completionChoice `json:"choices"`
	ServiceTier       *string            `json:"service_tier"`
	SystemFingerprint *string            `json:"system_fingerprint"`
	Usage             *usage             `json:"usage"`
	KVTransferParams  *handle            `json:"kv_transfer_params"`
}

type completionLogprobs struct {
	TextOffset    []int                `json:"text_offset"`
	TokenLogprobs []float64            `json:"token_logprobs"`
	Tokens        []string             `json:"tokens"`
	TopLogprobs   []map[string]float64 `json:"top_logprobs"`
}

func (a *answer) completion() completionHead {
	return completionHead{ID: a.id, Object: objectCompletion, Created: a.created, Model: a.engine.cfg.Model}
}

func (a *answer) completionChoice(p piece) completionChunkChoice {
	return completionChunkChoice{
		Index: p.index, Text: p.text, Logprobs: a.completionLogprobs(p), FinishReason: orNil(p.finish), StopReason: orNil(p.matched),
	}
}

func (a *answer) completionChunk(p piece) completionChunk {
	return completionChunk{completionHead: a.completion(), Choices: []completionChunkChoice{a.completionChoice(p)}, Usage: a.runningUsage()}
}

func (a *answer) completionWhole(pieces []piece, h *handle) completionWhole {
	out := completionWhole{completionHead: a.completion(), Usage: a.usage(true), KVTransferParams: h}
	for _, p := range pieces {
		out.Choices = append(out.Choices, completionChoice{completionChunkChoice: a.completionChoice(p)})
	}
	return out
}

func (a *answer) completionLogprobs(p piece) *completionLogprobs {
	if a.req.logprobs < 0 {
		return nil
	}
	out := &completionLogprobs{TextOffset: []int{}, TokenLogprobs: []float64{}, Tokens: []string{}, TopLogprobs: []map[string]float64{}}
	offset := p.offset
	for _, word := range p.tokens {
		top := map[string]float64{}
		for rank := range max(1, a.req.logprobs) {
			top[alternative(word, rank)] = fakeLogprob(rank)
		}
		out.TextOffset = append(out.TextOffset, offset)
		out.TokenLogprobs = append(out.TokenLogprobs, fakeLogprob(0))
		out.Tokens = append(out.Tokens, word)
		out.TopLogprobs = append(out.TopLogprobs, top)
		offset += len(word)
	}
	return out
}
