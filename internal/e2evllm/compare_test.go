//go:build e2e

package e2evllm

import (
	"fmt"
	"strings"
)

// tie is how much less likely than the first, in nats, a token may be that another computation of the same
// prompt chooses in its place. Weights and KV caches are bfloat16, with three digits: a prompt computed in one
// pass and the same with its last token computed alone, over a KV cache that was moved, differ in the last of
// them. A wrong KV cache differs by much more.
const tie = 0.25

// choice is a token that one engine alone chose, and what it might have chosen.
type choice struct {
	token string
	top   []likely
}

type likely struct {
	token string
	log   float64
}

// choices of an answer with log probabilities, in the form of either path.
func (p *parsed) choices() (out []choice) {
	if len(p.Choices) == 0 || p.Choices[0].Logprobs == nil {
		return nil
	}
	lp := p.Choices[0].Logprobs
	for _, c := range lp.Content {
		next := choice{token: c.Token}
		for _, alternative := range c.Top {
			next.top = append(next.top, likely{alternative.Token, alternative.Logprob})
		}
		out = append(out, next)
	}
	for i, token := range lp.Tokens {
		next := choice{token: token}
		if i < len(lp.Top) {
			for token, log := range lp.Top[i] {
				next.top = append(next.top, likely{token, log})
			}
		}
		out = append(out, next)
	}
	return out
}

// probable asks for the log probabilities that tied needs.
func (a ask) probable() ask {
	if a.path == chatPath {
		a.body = a.body.with("logprobs", true).with("top_logprobs", 3)
	} else {
		a.body = a.body.with("logprobs", 3)
	}
	return a
}

// tied explains why text may differ from what one engine alone said: up to where they part they are the same,
// and there the engine found both tokens as likely, but for a tie. "": it may not.
func tied(text string, alone answer) string {
	said := ""
	for _, c := range alone.choices() {
		if strings.HasPrefix(text, said+c.token) {
			said += c.token
			continue
		}
		var best, other *likely
		for i := range c.top {
			l := &c.top[i]
			if l.token == c.token {
				best = l
			} else if l.token != "" && strings.HasPrefix(text, said+l.token) && (other == nil || l.log > other.log) {
				other = l
			}
		}
		if best == nil || other == nil || best.log-other.log > tie {
			return ""
		}
		return fmt.Sprintf("after %q the engine alone found %q and %q as likely: %.2f and %.2f", said, best.token, other.token, best.log, other.log)
	}
	return ""
}
