// Package bench sends planned requests to an OpenAI-compatible endpoint and measures what a client
// sees. It owns the sending, the HTTP client, the clock and the figures. It knows nothing of
// baton: the product must not be measured with its own parser, and any other endpoint may be the
// target. Package workload makes plans, package report shows results.
package bench

import (
	"errors"
	"fmt"
	"time"
)

// Plan is what Run sends. A plan can be run again: Run changes nothing in it.
type Plan struct {
	Streams  []Stream
	Requests []Request // those of one stream in the order of sending
}

// Stream is a set of requests that are alike. Streams run beside each other.
type Stream struct {
	Name        string
	Class       string  // value of the X-Baton-Class header; "": no header
	Concurrency int     // a closed loop of so many conversations; 0: an open loop
	Rate        float64 // arrivals per second, for the record; 0: none (burst, closed loop, trace)
	Burstiness  float64 // shape of the gamma distribution of the pauses, for the record; 0: none
}

// Request is one request to be sent.
type Request struct {
	Stream int // index in Plan.Streams

	// Conversation joins the requests of a stream that have the same value above 0: each is sent
	// when the one before it has been answered. 0: a request on its own.
	Conversation int

	// At is the time of sending since the beginning of the run; in a later turn of a conversation
	// it is the pause after the answer before. The concurrency of the stream and of the run may
	// delay both.
	At time.Duration

	InputLen  int // tokens in the prompt, as far as the workload can tell
	OutputLen int // max_tokens

	// Prompt makes the content at the time of sending, so that only the requests in flight are in
	// memory. It gets the answers of the turns before, oldest first, and may be called at any time
	// from any goroutine.
	Prompt func(answers []string) Prompt
}

// Prompt is the content of a request: one of its members is set. The chat endpoint makes one user
// message of a text, and cannot send tokens.
type Prompt struct {
	Text     string
	Tokens   []int64
	Messages []Message
}

// Message is one message of a chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func (p *Plan) validate() error {
	if len(p.Requests) == 0 {
		return errors.New("the plan has no requests")
	}
	for i, r := range p.Requests {
		if r.Stream < 0 || r.Stream >= len(p.Streams) {
			return fmt.Errorf("request %d of the plan is of stream %d, want 0 to %d", i, r.Stream, len(p.Streams)-1)
		}
		if r.Prompt == nil || r.OutputLen < 1 {
			return fmt.Errorf("request %d of the plan has no prompt or asks for %d tokens, want 1 or more", i, r.OutputLen)
		}
	}
	return nil
}

// conversations lists, for each stream, its conversations as indexes of requests, in the order of
// their first turns.
func (p *Plan) conversations() [][][]int {
	type key struct{ stream, conversation int }
	of := make([][][]int, len(p.Streams))
	at := map[key]int{}
	for i, r := range p.Requests {
		k := key{r.Stream, r.Conversation}
		if j, known := at[k]; known {
			of[r.Stream][j] = append(of[r.Stream][j], i)
			continue
		}
		if r.Conversation > 0 {
			at[k] = len(of[r.Stream])
		}
		of[r.Stream] = append(of[r.Stream], []int{i})
	}
	return of
}
