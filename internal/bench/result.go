package bench

import "time"

// Count says where the number of an answer's tokens is from. The number of events is no such
// source: a server may put several tokens into one event.
type Count string

// The sources of token counts.
const (
	Uncounted  Count = ""          // the server did not say; the request has no TPOT
	ByUsage    Count = "usage"     // the usage that the server reports
	ByTokenIDs Count = "token_ids" // the ids that came, with return_token_ids
)

// Record is what was seen of one request. Start, Due and End are times since the beginning of the
// run, by the monotonic clock.
type Record struct {
	ID     string
	Stream int // index in Result.Streams

	InputLen     int // planned
	OutputLen    int // asked for
	PromptTokens int // as the server reports; 0: it did not
	CachedTokens int // of them from a prefix cache
	OutputTokens int
	Counted      Count

	Due     time.Duration // when the plan would have it sent
	Start   time.Duration // when it was sent
	TTFT    time.Duration // Start to the first event with a token
	ITL     []time.Duration
	Latency time.Duration // Start to the last event with a token
	End     time.Duration // when the answer was closed

	Finish string // the finish_reason
	Text   string // only with Options.KeepText
	Err    *Failure
}

// Input is the size of the prompt in tokens, by the server where it says so.
func (r *Record) Input() int {
	if r.PromptTokens > 0 {
		return r.PromptTokens
	}
	return r.InputLen
}

// TPOT is the time per output token after the first, (latency - TTFT)/(tokens - 1). An answer of
// one token, or of an unknown number, has none.
func (r *Record) TPOT() (time.Duration, bool) {
	if r.Counted == Uncounted || r.OutputTokens < 2 {
		return 0, false
	}
	return (r.Latency - r.TTFT) / time.Duration(r.OutputTokens-1), true
}

// Result is what one run measured.
type Result struct {
	Began          time.Time
	Duration       time.Duration // of the run, to the end of the last answer
	Endpoint       Endpoint
	Model          string
	Streams        []Stream
	MaxConcurrency int // Options.MaxConcurrency
	Unsent         int // requests of the plan that were not sent, since the time was over
	Interrupted    bool
	Records        []Record // of the requests that were sent or skipped, in the order of the plan
}

// Stretch multiplies all times of a run whose server was made scale times faster than what it
// stands for.
func (r *Result) Stretch(scale float64) {
	by := func(d *time.Duration) { *d = time.Duration(float64(*d) * scale) }
	by(&r.Duration)
	for i := range r.Records {
		rec := &r.Records[i]
		for _, d := range []*time.Duration{&rec.Due, &rec.Start, &rec.TTFT, &rec.Latency, &rec.End} {
			by(d)
		}
		for j := range rec.ITL {
			by(&rec.ITL[j])
		}
	}
}
