package wire

import "time"

// DrainAsk is what an operator asks of a worker.
type DrainAsk string

// The requests. A worker that is asked for what it does already says yes.
const (
	DrainLeave  DrainAsk = "leave"  // finish what it has, then end, as on SIGTERM
	DrainHold   DrainAsk = "hold"   // finish what it has, and stay without work
	DrainResume DrainAsk = "resume" // take work again, after DrainHold
)

// Line is where a request of a frontend waits.
type Line string

// The lines, by the stream that holds the job.
const (
	LinePrefill Line = "prefill" // nothing has begun
	LineDecode  Line = "decode"  // the prompt is computed, and its handle on its way to a decode worker
)

// QueueAsk asks a frontend which of its requests wait in a line, and to end them if Purge is set.
type QueueAsk struct {
	Line  Line   `json:"line"`
	Class *Class `json:"class,omitempty"` // nil: all
	Purge bool   `json:"purge,omitzero"`
	Most  int    `json:"most"` // of Requests in the answer, at most MostWaiting
}

// MostWaiting bounds one answer: a message holds it.
const MostWaiting = 1000

// QueueAnswer is a frontend's answer to a QueueAsk.
type QueueAnswer struct {
	Total    int            `json:"total"`              // that wait and match
	Classes  []ClassWaiting `json:"classes,omitempty"`  // of them, where any wait
	Purged   int            `json:"purged,omitzero"`    // of them, ended by this
	Requests []Waiting      `json:"requests,omitempty"` // the oldest of them, the oldest first
}

// ClassWaiting is what waits of one class.
type ClassWaiting struct {
	Class   Class     `json:"class"`
	Waiting int       `json:"waiting"`
	Oldest  time.Time `json:"oldest"` // when it was admitted
}

// Waiting is a request that waits, without a word of its prompt.
type Waiting struct {
	ID        string    `json:"id"`
	Frontend  string    `json:"frontend"`
	Model     string    `json:"model"`
	Class     Class     `json:"class"`
	Tenant    string    `json:"tenant,omitempty"`
	Admitted  time.Time `json:"admitted"`
	Attempt   int       `json:"attempt"`
	Tokens    int       `json:"prompt_tokens"`    // estimate until an engine has counted
	MaxTokens int       `json:"max_tokens"`       // 0: not said
	Worker    string    `json:"worker,omitempty"` // LineDecode: that its handle is for
}
