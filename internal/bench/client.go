package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"
)

// client sends single requests and times their answers.
type client struct {
	target Target
	opts   *Options
	http   *http.Client
	begun  time.Time // of the run
	live   *live
}

// body is the JSON of one request.
func (c *client) body(r *Request, p Prompt) ([]byte, error) {
	out := map[string]any{
		"model": c.target.Model, "stream": true, "stream_options": map[string]bool{"include_usage": true},
		"temperature": c.opts.Temperature,
	}
	if c.opts.IgnoreEOS {
		out["ignore_eos"] = true
	}
	if c.opts.TokenIDs {
		out["return_token_ids"] = true
	}
	switch {
	case c.target.Endpoint == Chat && p.Tokens != nil:
		return nil, errors.New("the chat endpoint takes no token ids")
	case c.target.Endpoint == Chat:
		if p.Messages == nil {
			p.Messages = []Message{{Role: "user", Content: p.Text}}
		}
		out["messages"], out["max_completion_tokens"] = p.Messages, r.OutputLen
	case p.Messages != nil:
		return nil, errors.New("the completions endpoint takes no messages")
	case p.Tokens != nil:
		out["prompt"], out["max_tokens"] = p.Tokens, r.OutputLen
	default:
		out["prompt"], out["max_tokens"] = p.Text, r.OutputLen
	}
	maps.Copy(out, c.opts.ExtraBody)
	return json.Marshal(out)
}

// do sends one request and fills rec. It returns the text of the answer.
func (c *client) do(ctx context.Context, stream *Stream, r *Request, answers []string, rec *Record) string {
	body, err := c.body(r, r.Prompt(answers))
	if err != nil {
		rec.Start = time.Since(c.begun)
		rec.End = rec.Start
		rec.Err = &Failure{Kind: Skipped, Message: err.Error()}
		c.live.unsent()
		return ""
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.Timeout, errTimeout)
	defer cancel()
	start := time.Now()
	rec.Start = start.Sub(c.begun)
	a := answer{rec: rec, start: start, live: c.live}
	c.live.sent()
	if err := c.call(ctx, stream, body, &a); err != nil {
		rec.Err = failure(ctx, err)
	}
	rec.End = time.Since(c.begun)
	a.settle(c.opts.TokenIDs)
	c.live.ended(a.tokens > 0, rec.Err != nil)
	text := a.text.String()
	if c.opts.KeepText {
		rec.Text = text
	}
	return text
}

func (c *client) call(ctx context.Context, stream *Stream, body []byte, a *answer) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.target.url(string(c.target.Endpoint)), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("X-Request-Id", a.rec.ID)
	if stream.Class != "" {
		req.Header.Set("X-Baton-Class", stream.Class)
	}
	c.target.sign(req.Header)
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // Read only.
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // the status says enough without it
		return &Failure{Kind: KindOfStatus(resp.StatusCode), Message: messageOf(text)}
	}
	if ct := resp.Header.Get("Content-Type"); !strings.HasPrefix(ct, "text/event-stream") {
		return fmt.Errorf("%w: its Content-Type is %q", errNotSSE, ct)
	}
	events := newEvents(resp.Body)
	for {
		data, at, err := events.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if err := a.take(data, at); err != nil {
			return err
		}
	}
	if a.tokens == 0 {
		return &Failure{Kind: Empty, Message: "the stream held no token"}
	}
	return nil
}

// messageOf is the message in an OpenAI error, or the text itself.
func messageOf(body []byte) string {
	var e struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil && e.Error.Message != "" {
		return clip([]byte(e.Error.Message))
	}
	return clip(bytes.TrimSpace(body))
}
