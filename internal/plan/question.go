// Package plan says how to divide engines between prefill and decode for a load, and how to set them. It plays
// the load against each division with the real scheduling law (internal/lawsim) and compares what clients would
// see. It owns the candidates and the choice; docs/plan.md says how far the figures carry.
package plan

import (
	"errors"
	"fmt"
	"time"

	"github.com/baton-llm/baton/internal/config"
	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/lawsim"
)

// Question is a load and the engines that are to serve it.
type Question struct {
	Profile   string  `default:"llama-70b-h100-tp4" help:"Model and GPUs of one engine, as in sim.profile."`
	Engines   int     `default:"2" help:"Engines of that kind."`
	InputLen  int     `default:"8192" help:"Tokens of each prompt."`
	OutputLen int     `default:"200" help:"Tokens of each answer."`
	Burst     int     `xor:"load" help:"Requests that come at once." placeholder:"N"`
	Rate      float64 `xor:"load" help:"Requests a second that come at random." placeholder:"N"`

	Burstiness   float64       `default:"1" help:"Shape of the pauses of --rate: 1 is Poisson, less comes in bursts."`
	SLOTPOT      time.Duration `name:"slo-tpot" default:"100ms" help:"Time per output token to keep."`
	SLOTTFT      time.Duration `name:"slo-ttft" help:"Time to first token to keep; default: 2s with --rate, none with --burst." placeholder:"TIME"`
	TransferGBps float64       `name:"transfer-gbps" default:"25" help:"Gigabytes per second of the link out of an engine."`
}

// Bounds of what is played.
const (
	maxEngines  = 32
	maxRequests = 20_000
)

// Validate reports every fault, by the flag's name.
func (q *Question) Validate() error {
	_, err := enginesim.ModelByName(q.Profile)
	if (q.Burst > 0) == (q.Rate > 0) {
		err = errors.Join(err, errors.New("want either --burst or --rate, more than 0"))
	}
	if q.Engines > maxEngines || q.Burst > maxRequests || q.Rate > maxRequests {
		err = errors.Join(err, fmt.Errorf("--engines is %d, --burst %d and --rate %v, want at most %d, %d and %d", q.Engines, q.Burst, q.Rate, maxEngines, maxRequests, maxRequests))
	}
	if !(q.Burstiness > 0) || !(q.TransferGBps > 0) {
		err = errors.Join(err, fmt.Errorf("--burstiness is %v and --transfer-gbps %v, want more than 0", q.Burstiness, q.TransferGBps))
	}
	return errors.Join(
		err, config.AtLeast("--engines", q.Engines, 1), config.AtLeast("--input-len", q.InputLen, 1), config.AtLeast("--output-len", q.OutputLen, 2),
		config.AtLeast("--slo-tpot", q.SLOTPOT, time.Millisecond), config.AtLeast("--slo-ttft", q.SLOTTFT, 0),
	)
}

// slo is what answers shall keep.
func (q *Question) slo() lawsim.SLO {
	s := lawsim.SLO{TTFT: q.SLOTTFT, TPOT: q.SLOTPOT}
	if s.TTFT == 0 && q.Rate > 0 {
		s.TTFT = 2 * time.Second
	}
	return s
}

// requests are the load, at a rate of its own unless it is a burst.
func (q *Question) requests(rate float64) []*lawsim.Request {
	if q.Burst > 0 {
		return lawsim.Burst(q.Burst, q.InputLen, q.OutputLen)
	}
	const (
		lasts    = 300.0 // seconds, if that is neither few nor many requests
		few      = 300
		many     = 1500
		seedOfIt = 1
	)
	return lawsim.Arrivals(seedOfIt, min(many, max(few, int(lasts*rate))), rate, q.Burstiness, q.InputLen, q.OutputLen)
}
