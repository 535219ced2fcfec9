package wire

import "time"

// Place says how a dispatcher has a request carried out.
type Place string

// The places.
const (
	PlaceSplit Place = "split" // prefill at the worker that gets the job, decode at Assignment.Decode
	PlaceWhole Place = "whole" // both at the worker that gets the job
)

// Rules by which a worker does what workers of another kind are for, as Assignment.Why has them.
const (
	WhyLend = "lend" // a decode worker has time for a prompt
	WhyKeep = "keep" // a prefill worker answers what no decode worker can take, or not in time
)

// Assignment is a dispatcher's decision about one job. It travels with the job to the worker.
type Assignment struct {
	Place      Place         `json:"place"`
	Decode     string        `json:"decode,omitzero"` // PlaceSplit: the decode worker whose KV room is reserved
	Dispatcher string        `json:"dispatcher"`      // frontend whose dispatcher decided
	Why        string        `json:"why"`             // the rule, as a word for logs and metrics
	Waited     time.Duration `json:"waited_ns"`       // from the request's admission to the decision
	Shared     int           `json:"shared,omitzero"` // tokens of the prompt that other requests hold in the KV cache of the worker that answers
}

// Lent tells whether the worker does what workers of another kind are for; nil is not.
func (a *Assignment) Lent() bool { return a != nil && (a.Why == WhyLend || a.Why == WhyKeep) }
