package enginesim

type usage struct {
	PromptTokens      int                `json:"prompt_tokens"`
	TotalTokens       int                `json:"total_tokens"`
	CompletionTokens  int                `json:"completion_tokens"`
	Details           *promptDetails     `json:"prompt_tokens_details,omitempty"`
	CompletionDetails *completionDetails `json:"completion_tokens_details,omitempty"`
}

type promptDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

// completionDetails are there where the model reasons.
type completionDetails struct {
	ReasoningTokens int `json:"reasoning_tokens"`
}

// usage is what was used so far, details of the prompt too at the end.
func (a *answer) usage(details bool) *usage {
	u := &usage{CompletionTokens: a.tokens}
	cached := 0
	for i, s := range a.job.seqs {
		if s.choice == 0 {
			u.PromptTokens += s.prompt.tokens
			cached += a.states[i].cached
		}
	}
	u.TotalTokens = u.PromptTokens + u.CompletionTokens
	if details {
		u.Details = &promptDetails{CachedTokens: cached}
	}
	if a.req.form.reasoning > 0 {
		u.CompletionDetails = &completionDetails{ReasoningTokens: a.reasoningTokens()}
	}
	return u
}

func (a *answer) reasoningTokens() int {
	n := 0
	for i := range a.texts {
		n += min(a.texts[i].taken, a.req.form.reasoning)
	}
	return n
}

// usageBefore is the usage before the first token.
func (a *answer) usageBefore() *usage {
	u := a.usage(false)
	u.TotalTokens -= u.CompletionTokens
	u.CompletionTokens = 0
	if u.CompletionDetails != nil {
		u.CompletionDetails.ReasoningTokens = 0
	}
	return u
}

// runningUsage is the usage in each chunk, where the request asks for it.
func (a *answer) runningUsage() *usage {
	if o := a.req.StreamOptions; o != nil && o.ContinuousUsage {
		return a.usage(false)
	}
	return nil
}
