package wire

import (
	"slices"
	"time"
)

// HandedInfo is the payload of a Handed frame.
type HandedInfo struct {
	Prefill      time.Duration // the engine call
	PromptTokens int           // as the engine counted; 0: it did not say
	CachedTokens int           // of them found in the prefix cache
	DecodeWorker string        // that the decode job is for
	Lease        time.Duration // that the handle still has
}

// EndInfo is the payload of an End frame.
type EndInfo struct {
	PromptTokens     int // from the engine's usage; 0: it did not say
	CompletionTokens int
	CachedTokens     int
}

// Append adds the fields of the info to dst.
func (i *HandedInfo) Append(dst []byte) []byte {
	dst = slices.Grow(dst, infoRoom)
	dst = appendInt(dst, 1, i.Prefill)
	dst = appendInt(dst, 2, i.PromptTokens)
	dst = appendInt(dst, 3, i.CachedTokens)
	dst = appendText(dst, 4, i.DecodeWorker)
	return appendInt(dst, 5, i.Lease)
}

// ReadHandedInfo is the inverse of Append.
func ReadHandedInfo(data []byte) (i HandedInfo, err error) {
	f := readFields(data)
	for f.next() {
		switch f.field {
		case 1:
			i.Prefill = f.duration()
		case 2:
			i.PromptTokens = f.int()
		case 3:
			i.CachedTokens = f.int()
		case 4:
			i.DecodeWorker = f.text()
		case 5:
			i.Lease = f.duration()
		}
	}
	return i, f.fault("what a handed frame says")
}

// Append adds the fields of the info to dst.
func (i *EndInfo) Append(dst []byte) []byte {
	dst = slices.Grow(dst, infoRoom)
	dst = appendInt(dst, 1, i.PromptTokens)
	dst = appendInt(dst, 2, i.CompletionTokens)
	return appendInt(dst, 3, i.CachedTokens)
}

// ReadEndInfo is the inverse of Append.
func ReadEndInfo(data []byte) (i EndInfo, err error) {
	f := readFields(data)
	for f.next() {
		switch f.field {
		case 1:
			i.PromptTokens = f.int()
		case 2:
			i.CompletionTokens = f.int()
		case 3:
			i.CachedTokens = f.int()
		}
	}
	return i, f.fault("what an end frame says")
}

// Reason is why a run failed, as a word for metrics and for the router's decision.
type Reason string

// Reasons. Retryable says after which of them the router tries again.
const (
	EngineRejected Reason = "engine_rejected" // the engine answered 4xx: the client's fault, Body is the engine's own
	EngineError    Reason = "engine_error"    // 5xx, or an answer that is not what the protocol says
	EngineDown     Reason = "engine_down"     // no connection, or it broke
	EngineTimeout  Reason = "engine_timeout"  // no byte within the worker's bound
	NoHandle       Reason = "no_handle"       // prefill answered 200 without a KV handle: a configuration fault
	HandleExpired  Reason = "handle_expired"  // the lease ended, or would, before decode could use it
	HandleUsed     Reason = "handle_used"     // an earlier delivery may have read it
	HandleMismatch Reason = "handle_mismatch" // the handle belongs to another body
	BodyGone       Reason = "body_gone"       // the frontend or the bucket no longer has the body
	WorkerStopping Reason = "worker_stopping" // the worker is draining and hands the job back
	DeadlineOver   Reason = "deadline"        // the request's deadline passed
	JobLost        Reason = "job_lost"        // the queue has forgotten the job before any worker had it
	RunLost        Reason = "run_lost"        // the worker has the run no more: it heard nothing of the frontend for too long
	TooLate        Reason = "too_late"        // its first token can no longer come in time: refused before any worker had it
)

// Retryable tells whether another try may end differently.
func (r Reason) Retryable() bool {
	switch r {
	case EngineDown, EngineError, EngineTimeout, HandleExpired, HandleUsed, BodyGone, WorkerStopping, JobLost, RunLost:
		return true
	case EngineRejected, NoHandle, HandleMismatch, DeadlineOver, TooLate:
		return false
	}
	return false
}

// Failure is the payload of a Fail frame.
type Failure struct {
	Reason  Reason `json:"reason"`
	Message string `json:"message"`         // for the client, unless Body is set: names no host
	Status  int    `json:"status,omitzero"` // the engine's HTTP status, or the one its error event names
	Body    []byte `json:"body,omitempty"`  // the engine's error body, byte for byte
	Told    bool   `json:"told,omitzero"`   // the last Data frame was the engine's own error event
}
