//go:build e2e

package e2evllm

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answerTime bounds a request: engines may be restarted meanwhile, on a machine that others use too.
const answerTime = 8 * time.Minute

const (
	chatPath       = "/v1/chat/completions"
	completionPath = "/v1/completions"
)

// body is a request, without its model.
type body map[string]any

// with is a copy of the request with another member.
func (b body) with(name string, value any) body {
	out := body{name: value}
	for k, v := range b {
		if k != name {
			out[k] = v
		}
	}
	return out
}

// ask is a request and where it goes.
type ask struct {
	name, path string
	body       body
}

func chat(content string, tokens int) ask {
	return ask{name: content, path: chatPath, body: body{
		"messages": []body{{"role": "user", "content": content}}, "max_tokens": tokens, "temperature": 0,
	}}
}

func completion(prompt any, tokens int) ask {
	return ask{name: fmt.Sprint(prompt), path: completionPath, body: body{"prompt": prompt, "max_tokens": tokens, "temperature": 0}}
}

// answer is what came back of an unstreamed request.
type answer struct {
	status int
	header http.Header
	raw    string
	parsed
}

// parsed has the members of both kinds of answers and of their stream's events.
type parsed struct {
	Choices []struct {
		Index   int    `json:"index"`
		Text    string `json:"text"`
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
		Finish   *string   `json:"finish_reason"`
		Logprobs *logprobs `json:"logprobs"`
	} `json:"choices"`
	Usage *usage `json:"usage"`
	Error *struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Param   string `json:"param"`
	} `json:"error"`
	Params json.RawMessage `json:"kv_transfer_params"`
}

// logprobs has the members of chats, and those of completions.
type logprobs struct {
	Content []struct {
		Token string `json:"token"`
		Top   []struct {
			Token   string  `json:"token"`
			Logprob float64 `json:"logprob"`
		} `json:"top_logprobs"`
	} `json:"content"`

	Tokens []string             `json:"tokens"`
	Top    []map[string]float64 `json:"top_logprobs"`
}

type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
}

// text of all choices.
func (p *parsed) text() (text string) {
	for _, c := range p.Choices {
		text += c.Text + c.Message.Content + c.Delta.Content
	}
	return text
}

// finish is why the first choice ended; "" if it has not.
func (p *parsed) finish() string {
	if len(p.Choices) == 0 || p.Choices[0].Finish == nil {
		return ""
	}
	return *p.Choices[0].Finish
}

// way is how baton had the request done.
func (a *answer) way() string {
	return fmt.Sprintf("%s (%s), attempt %s", a.header.Get("X-Baton-Path"), a.header.Get("X-Baton-Why"), a.header.Get("X-Baton-Attempts"))
}

// open sends a request and returns the answer's beginning.
func open(ctx context.Context, base string, a ask) (*http.Response, error) {
	data, err := json.Marshal(a.body.with("model", model))
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+a.path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Baton-Timing", "1")
	return http.DefaultClient.Do(req)
}

// post waits for the whole answer.
func post(ctx context.Context, base string, a ask) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	resp, err := open(ctx, base, a)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	out := answer{status: resp.StatusCode, header: resp.Header, raw: string(raw)}
	return out, json.Unmarshal(raw, &out.parsed)
}

// posted is the answer to a request that must succeed.
func posted(t *testing.T, base string, a ask) answer {
	t.Helper()
	got, err := post(t.Context(), base, a)
	if err != nil || got.status != http.StatusOK {
		t.Fatalf("%.60q: status %d, %v: %s", a.name, got.status, err, got.raw)
	}
	return got
}

// stream is an answer that is being streamed.
type stream struct {
	resp   *http.Response
	lines  *bufio.Scanner
	cancel context.CancelFunc
	done   bool // [DONE] came
}

func openStream(t *testing.T, base string, a ask) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), answerTime)
	t.Cleanup(cancel)
	resp, err := open(ctx, base, ask{name: a.name, path: a.path, body: a.body.with("stream", true)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		raw, _ := io.ReadAll(resp.Body)
		t.Fatalf("status %d: %s", resp.StatusCode, raw)
	}
	return &stream{resp: resp, lines: bufio.NewScanner(resp.Body), cancel: cancel}
}

// leave closes the connection.
func (s *stream) leave() {
	s.cancel()
	_ = s.resp.Body.Close()
}

// next event; io.EOF after [DONE] and at the end without it.
func (s *stream) next() (event parsed, err error) {
	for s.lines.Scan() {
		data, ok := strings.CutPrefix(s.lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			s.done = true
			return parsed{}, io.EOF
		}
		return event, json.Unmarshal([]byte(data), &event)
	}
	if err := s.lines.Err(); err != nil {
		return parsed{}, err
	}
	return parsed{}, io.EOF
}

// streamed is all of a stream.
type streamed struct {
	text, finish string
	events       int
	usage        *usage
	failure      string // the message of its error event
	done         bool
}

// rest reads a stream to its end.
func (s *stream) rest() (all streamed, err error) {
	for {
		event, err := s.next()
		if err != nil {
			all.done = s.done
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return all, err
		}
		all.events++
		all.text += event.text()
		if f := event.finish(); f != "" {
			all.finish = f
		}
		if event.Usage != nil {
			all.usage = event.Usage
		}
		if event.Error != nil {
			all.failure = event.Error.Message
		}
	}
}
