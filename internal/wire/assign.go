package wire

import "time"

// Place says how a dispatcher has a request carried out.
type Place string

// The places.
const (
	PlaceSplit Place = "split" // prefill at the worker that gets the job, decode at Assignment.Decode
	PlaceWhole Place = "whole" // both at the worker that gets the job
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
