package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/peers/load"
	"github.com/baton-llm/baton/internal/peers/stub"
)

// cell is one load that everyone is measured with.
type cell struct {
	Name   string        `json:"name"`
	Conns  int           `json:"conns"`
	Tokens int           `json:"tokens"` // of each answer
	Pace   time.Duration `json:"pace"`   // between two tokens; 0: as fast as it goes
	Prompt int           `json:"prompt"` // bytes
	Once   bool          `json:"once"`   // each connection has one request, all begin at once
	Limit  time.Duration `json:"limit"`  // of one request; 0: two minutes
}

// cells are the loads of one round; quick ones take a fraction of the time.
func cells(quick bool) []cell {
	streams, burst, paced := 2000, 5000, 100
	if quick {
		paced = 40
	}
	return []cell{
		{Name: "c1", Conns: 1, Tokens: 64, Prompt: 200},
		{Name: "c32", Conns: 32, Tokens: 64, Prompt: 200},
		{Name: "c256", Conns: 256, Tokens: 64, Prompt: 200},
		{Name: "paced5", Conns: 32, Tokens: 64, Pace: 5 * time.Millisecond, Prompt: 200},
		{Name: "prompt50k", Conns: 1, Tokens: 8, Prompt: 50_000},
		{Name: "prompt500k", Conns: 1, Tokens: 8, Prompt: 500_000},
		{Name: "streams", Conns: streams, Tokens: paced, Pace: 50 * time.Millisecond, Prompt: 200, Once: true},
		{Name: "burst", Conns: burst, Tokens: 16, Prompt: 200, Once: true},
	}
}

// plan is the load on one router, spread over its endpoints and models; each lasts about as long as window.
func (c *cell) plan(r *router, window time.Duration) *load.Plan {
	p := &load.Plan{
		Addrs: append([]string{r.addr}, r.others...), Path: "/v1/chat/completions", Tokens: c.Tokens, Conns: c.Conns,
		For: window, Gaps: c.Pace > 0, Timeout: cmp.Or(c.Limit, 2*time.Minute),
	}
	for _, model := range append([]string{stub.Model}, r.models...) {
		p.Bodies = append(p.Bodies, c.body(model))
	}
	if c.Once {
		p.PerConn, p.For = 1, p.Timeout
	}
	return p
}

// body is a streamed chat whose prompt has the size of the cell, of words as long as English ones.
func (c *cell) body(model string) []byte {
	prompt := "pace=" + c.Pace.String() + " "
	prompt += strings.Repeat("prompt ", max(0, c.Prompt-len(prompt))/7+1)[:max(0, c.Prompt-len(prompt))]
	return fmt.Appendf(nil, `{"model":%q,"messages":[{"role":"user","content":%q}],"max_tokens":%d,"temperature":0,"stream":true}`, model, prompt, c.Tokens)
}
