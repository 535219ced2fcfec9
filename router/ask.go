package router

import (
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// ask is what an attempt asks for: all of the answer, or what is left of it.
type ask struct {
	body         []byte // nobody changes it
	digest       string
	ref          string    // of the stored body; empty: none
	promptTokens int       // estimate
	maxTokens    int       // 0: not said
	since        time.Time // when its first token began to be waited for
}

func newAsk(req *Request, now time.Time) ask {
	return ask{body: req.Body, digest: wire.BodyDigest(req.Body), promptTokens: req.PromptTokens, maxTokens: req.MaxTokens, since: now}
}

// goOn has the next attempt ask for the rest of an answer that broke off. One that cannot be asked for
// ends the call: settle is then what is left to do without the lock, which goOn needs.
func (c *call) goOn(now time.Time) (settle func()) {
	if !c.begun {
		return nil
	}
	body, most, err := c.sent.Body(c.req.Body)
	if err != nil {
		return c.finish(Failed, failed(c.lost, c.tries()), now)
	}
	c.r.dropBody(c.ask.ref)
	c.ask = ask{body: body, digest: wire.BodyDigest(body), promptTokens: c.req.PromptTokens + c.sent.Tokens(), maxTokens: most, since: now}
	c.r.bodies.put(c.stream, body)
	c.sent.Next()
	c.r.metrics.continued.Inc()
	return nil
}
