package wire

import "time"

// Refusal tells a frontend that a dispatcher has dropped one of its queued jobs. A list of them is a
// message on RefuseSubject; one that is lost is not repeated: the request's own deadline ends it.
type Refusal struct {
	Stream     uint64        `json:"stream"`
	Attempt    uint32        `json:"attempt"`
	Reason     Reason        `json:"reason"`                  // DeadlineOver or TooLate
	RetryAfter time.Duration `json:"retry_after_ns,omitzero"` // TooLate: when such a request could be served; 0: not known
}
