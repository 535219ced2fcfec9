package wire

import (
	"slices"
	"time"
)

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

// Assignment is a dispatcher's decision about one job. It travels with the job to the worker, and is the payload of the
// frames Prefilling and Decoding.
type Assignment struct {
	Place      Place
	Decode     string        // PlaceSplit: the decode worker whose KV room is reserved
	Dispatcher string        // frontend whose dispatcher decided
	Why        string        // the rule, as a word for logs and metrics
	Waited     time.Duration // from the request's admission to the decision
	Shared     int           // tokens of the prompt that other requests hold in the KV cache of the worker that answers
}

// Lent tells whether the worker does what workers of another kind are for; nil is not.
func (a *Assignment) Lent() bool { return a != nil && (a.Why == WhyLend || a.Why == WhyKeep) }

// Append adds the assignment's fields to dst; nil has none.
func (a *Assignment) Append(dst []byte) []byte {
	if a == nil {
		return dst
	}
	dst = slices.Grow(dst, infoRoom)
	dst = appendText(dst, 1, a.Place)
	dst = appendText(dst, 2, a.Decode)
	dst = appendText(dst, 3, a.Dispatcher)
	dst = appendText(dst, 4, a.Why)
	dst = appendInt(dst, 5, a.Waited)
	return appendInt(dst, 6, a.Shared)
}

// ReadAssignment is the inverse of Append.
func ReadAssignment(data []byte) (Assignment, error) {
	f := readFields(data)
	a := readAssignment(&f)
	return a, f.fault("assignment")
}

func readAssignment(f *fields) (a Assignment) {
	for f.next() {
		switch f.field {
		case 1:
			a.Place = Place(f.text())
		case 2:
			a.Decode = f.text()
		case 3:
			a.Dispatcher = f.text()
		case 4:
			a.Why = f.text()
		case 5:
			a.Waited = f.duration()
		case 6:
			a.Shared = f.int()
		}
	}
	return a
}
