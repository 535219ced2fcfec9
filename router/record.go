package router

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/baton-llm/baton/internal/histogram"
	"github.com/baton-llm/baton/router/series"
)

// reasonOf is a word for why a call ended; empty: nothing went wrong, or the client left.
func reasonOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// The values of the label verdict.
const (
	verdictMet    = "met"
	verdictLate   = "late"   // the first token
	verdictSlow   = "slow"   // the tokens after it
	verdictFailed = "failed" // for a reason that is not the client's
)

// verdict says how a request did by what it must keep to; empty: it says nothing of that, as its client left or asked
// for what no engine does. An answer that is not streamed has no times of tokens and is met once it is there.
func (i *Info) verdict(aim series.Aim) string {
	switch {
	case i.State == Cancelled, i.State == Failed && i.Status < http.StatusInternalServerError && i.Status != http.StatusTooManyRequests:
		return ""
	case i.State == Failed:
		return verdictFailed
	case i.Streaming && aim.TTFT > 0 && i.Timing.FirstToken > aim.TTFT:
		return verdictLate
	case i.Streaming && aim.TPOT > 0 && i.TPOT() > aim.TPOT:
		return verdictSlow
	}
	return verdictMet
}

// record counts a request that has ended, writes its log line, ends its span and enters it among the past ones.
func (c *call) record(is *Info, from State) {
	m, class, t, took, span := c.r.metrics, is.Class.String(), &is.Timing, is.Since.Sub(is.Admitted), c.span.SpanContext()
	m.requests.WithLabelValues(is.State.String(), class, is.Model).Inc()
	histogram.Observe(m.seconds.WithLabelValues(class, is.Model), took, span)
	m.attempts.Observe(float64(t.Attempts))
	if verdict := is.verdict(c.r.deps.Aim); verdict != "" {
		m.slo.WithLabelValues(verdict, class, is.Model).Inc()
	}
	if is.State == Done {
		m.tokens.WithLabelValues("prompt", is.Model).Add(float64(max(0, is.Usage.PromptTokens)))
		m.tokens.WithLabelValues("cached", is.Model).Add(float64(max(0, is.Usage.CachedTokens)))
		m.tokens.WithLabelValues("completion", is.Model).Add(float64(max(0, is.Usage.CompletionTokens)))
		if per := is.TPOT(); per > 0 {
			histogram.Observe(m.tpot.WithLabelValues(class, is.Model), per, span)
		}
	}
	level, attrs := slog.LevelDebug, []slog.Attr{
		slog.String("request_id", is.ID), slog.String("model", is.Model), slog.String("state", is.State.String()),
		slog.String("from", from.String()), slog.Int("attempts", t.Attempts), slog.String("worker", is.Worker),
		slog.String("place", t.Place), slog.String("why", t.Why), slog.Duration("dispatch", t.Dispatch),
		slog.Duration("took", took),
	}
	if is.State == Failed {
		level = slog.LevelInfo
		if is.Reason != "" { // not the error's text: an engine may quote the prompt in it
			attrs = append(attrs, slog.String("reason", is.Reason), slog.Int("status", is.Status))
		}
	}
	c.r.log.LogAttrs(context.Background(), level, "request ended", attrs...)
	c.endSpan(is)
	c.r.past.add(is)
	c.r.figures.End(is.ended(), is.Since)
}
