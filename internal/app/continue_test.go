package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/wire"
	"golang.org/x/sync/errgroup"
)

// streamed is what a client makes of a stream.
type streamed struct {
	text, id, finish          string
	created                   int64
	roles, finishes, done     int
	usages                    int
	prompt, completion, total int
	failure                   string
}

// follow reads a stream and fails where two events of it disagree.
func follow(ctx context.Context, client *http.Client, url, body string) (got streamed, err error) {
	resp, err := post(ctx, client, url, body)
	if err != nil {
		return got, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte("data: "))
		if !ok {
			continue
		}
		if string(data) == "[DONE]" {
			got.done++
			continue
		}
		var e struct {
			ID      string
			Created int64
			Choices []struct {
				Text  string
				Delta struct{ Role, Content string }
				End   string `json:"finish_reason"`
			}
			Usage *struct {
				Prompt     int `json:"prompt_tokens"`
				Completion int `json:"completion_tokens"`
				Total      int `json:"total_tokens"`
			}
			Error *struct{ Message string }
		}
		if err := json.Unmarshal(data, &e); err != nil {
			return got, fmt.Errorf("event %s: %w", data, err)
		}
		if e.Error != nil {
			got.failure = e.Error.Message
			continue
		}
		if got.id == "" {
			got.id, got.created = e.ID, e.Created
		}
		if e.ID != got.id || e.Created != got.created {
			return got, fmt.Errorf("event %s is of another answer than %s, %d", data, got.id, got.created)
		}
		if e.Usage != nil {
			got.usages++
			got.prompt, got.completion, got.total = e.Usage.Prompt, e.Usage.Completion, e.Usage.Total
		}
		for _, c := range e.Choices {
			if c.Delta.Role != "" {
				got.roles++
			}
			if c.End != "" {
				got.finish = c.End
				got.finishes++
			}
			got.text += c.Text + c.Delta.Content
		}
	}
	return got, lines.Err()
}

// whole tells what is wrong with a stream of so many tokens.
func (s streamed) whole(path, body string, tokens int) error {
	digest, err := enginesim.Digest(path, []byte(body))
	if err != nil {
		return err
	}
	roles, usages := 0, 0
	if strings.Contains(path, "chat") {
		roles = 1
	}
	if strings.Contains(body, "include_usage") {
		usages = 1
	}
	switch want := enginesim.Proof(digest, tokens); {
	case s.failure != "":
		return errors.New(s.failure)
	case s.text != want:
		return fmt.Errorf("text %q, want %q", s.text, want)
	case s.roles != roles || s.finishes != 1 || s.finish != "length" || s.done != 1 || s.usages != usages:
		return fmt.Errorf("not the events of one answer: %+v", s)
	case usages > 0 && (s.completion != tokens || s.total != s.prompt+tokens):
		return fmt.Errorf("usage is of another answer: %+v", s)
	}
	return nil
}

// A worker of live streams goes, or its engine does: they all go on elsewhere, to the text of an
// undisturbed run.
func TestStreamsGoOnWhenTheirWorkerGoes(t *testing.T) {
	const streams, tokens = 60, 400
	for name, end := range map[string]func(*part){
		"worker dies":  func(p *part) { p.kill() },
		"worker stops": func(p *part) { p.leave() },
		"engine dies":  func(p *part) { p.engine.SetFaults(enginesim.Faults{Crash: true}) },
		"engine hangs": func(p *part) { p.engine.SetFaults(enginesim.Faults{Hang: true}) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := onePair()
			cfg.Schedule = DefaultConfig().Schedule
			cfg.Up.Decode, cfg.Up.Drain = 2, time.Second
			cfg.Engine.IdleTimeout = 5 * time.Second
			cfg.Sim.Lease, cfg.Prefill.Lease = 10*time.Second, 10*time.Second
			onSite(t, cfg, everyone, func(t *testing.T, s *site) {
				var g errgroup.Group
				for i := range streams {
					path, asked := "/v1/chat/completions", fmt.Sprintf(`"messages":[{"role":"user","content":"%d %s"}]`, i, words(20*i))
					if i%2 == 1 {
						path, asked = "/v1/completions", fmt.Sprintf(`"prompt":"%d %s"`, i, words(20*i))
					}
					if i%3 > 0 {
						asked += `,"stream_options":{"include_usage":true}`
					}
					body := fmt.Sprintf(`{"model":%q,%s,"max_tokens":%d,"ignore_eos":true,"stream":true}`, s.cfg.Sim.Model, asked, tokens)
					g.Go(func() error {
						got, err := follow(t.Context(), s.client, s.base+path, body)
						if err = errors.Join(err, got.whole(path, body, tokens)); err != nil {
							return fmt.Errorf("stream %d: %w", i, err)
						}
						return nil
					})
				}
				time.Sleep(5 * time.Second)
				victim := s.of(wire.RoleDecode)[0]
				if n := victim.engine.Stats().Running; n == 0 {
					t.Error("the engine that is to go runs nothing")
				}
				end(victim)
				if err := g.Wait(); err != nil {
					t.Error(err)
				}
				synctest.Wait() // a client has its last byte before its request is counted
				if n := metric(t, s.d.proc.reg, "baton_requests_total", "done"); n != streams {
					t.Errorf("%v requests are done, want %d", n, streams)
				}
				if n := metric(t, s.d.proc.reg, "baton_request_continued_total", ""); n == 0 {
					t.Error("no stream was continued")
				}
				victim.engine.SetFaults(enginesim.Faults{})
				if victim.killed { // its decode jobs come to the next process of its name, which refuses their handles
					s.start(t, victim.simulated)
				}
				time.Sleep(s.cfg.Sim.Lease)
			})
		})
	}
}

// What cannot be continued exactly ends with an error event, also where another worker could take it.
func TestStreamsThatCannotGoOnEndWithAnError(t *testing.T) {
	onSite(t, onePair(), everyone, func(t *testing.T, s *site) {
		for _, e := range s.d.engines {
			e.engine.SetFaults(enginesim.Faults{CutAfter: 3})
		}
		var g errgroup.Group
		for path, members := range map[string][]string{
			"/v1/chat/completions": {
				`"n":2`, `"logprobs":true`, `"stop":["nowhere"]`, `"seed":7`, `"presence_penalty":0.5`, `"response_format":{"type":"json_object"}`,
				`"tools":[{"type":"function","function":{"name":"f"}}]`, `"return_token_ids":true`,
			},
			"/v1/completions": {`"logprobs":1`, `"echo":true`, `"n":2`, `"stop":"nowhere"`},
		} {
			for _, member := range members {
				body := fmt.Sprintf(`{"model":%q,"prompt":"hi","messages":[{"role":"user","content":"hi"}],"max_tokens":50,"ignore_eos":true,"stream":true,%s}`, s.cfg.Sim.Model, member)
				g.Go(func() error {
					got, err := follow(t.Context(), s.client, s.base+path, body)
					if err != nil || got.failure == "" || got.done != 1 || got.finishes != 0 {
						return fmt.Errorf("%s with %s: %+v, %w; want an error event", path, member, got, err)
					}
					return nil
				})
			}
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if n := metric(t, s.d.proc.reg, "baton_request_continued_total", ""); n != 0 {
			t.Errorf("%v tries continued", n)
		}
	})
}
