package api

import (
	"net/http"
	"strconv"
	"time"
)

// timingHeader with the value 1 asks for the headers below in the answer: where its time went until
// the first token, when they are written, which way it took and why (the dispatcher's rule), and which
// workers it came from. Milliseconds are
// decimals; what does not apply or is not known yet has no header. A stream whose first byte was a
// keep-alive has none, and neither has an error.
const timingHeader = "X-Baton-Timing"

// describe adds the timing headers to an answer that is about to begin, if they are asked for.
func (s *Server) describe(h http.Header, r *http.Request, answer Answer) {
	if !s.cfg.TimingHeaders || r.Header.Get(timingHeader) != "1" {
		return
	}
	t := answer.Timing()
	h.Set("X-Baton-Queue-Ms", milliseconds(t.Queue))
	h.Set("X-Baton-Ttft-Ms", milliseconds(t.FirstToken))
	h.Set("X-Baton-Decode-Worker", t.DecodeWorker)
	h.Set("X-Baton-Attempts", strconv.Itoa(t.Attempts))
	if t.Whole {
		h.Set("X-Baton-Path", "whole")
	} else {
		h.Set("X-Baton-Path", "split")
		h.Set("X-Baton-Prefill-Ms", milliseconds(t.Prefill))
		h.Set("X-Baton-Handover-Ms", milliseconds(t.Handover))
		h.Set("X-Baton-Prefill-Worker", t.PrefillWorker)
	}
	if t.Why != "" {
		h.Set("X-Baton-Why", t.Why)
		h.Set("X-Baton-Dispatch-Ms", milliseconds(t.Dispatch))
	}
	if t.PromptTokens > 0 {
		h.Set("X-Baton-Prompt-Tokens", strconv.Itoa(t.PromptTokens))
		h.Set("X-Baton-Cached-Tokens", strconv.Itoa(t.CachedTokens))
	}
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 3, 64)
}
