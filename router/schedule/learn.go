package schedule

import "time"

// average is an exponentially weighted mean of samples.
type average struct {
	mean, deviation float64
	samples         int
}

const (
	averageStep = 0.1 // weight of one sample, once there are some
	fewSamples  = 8   // before that an average is not relied on
)

func (a *average) add(x float64) {
	a.samples++
	step := max(averageStep, 1/float64(a.samples))
	off := x - a.mean
	a.mean += step * off
	if off < 0 {
		off = -off
	}
	if a.samples > 1 {
		a.deviation += step * (off - a.deviation)
	}
}

// estimates is what the law has learned of the requests and the engines.
type estimates struct {
	ratio    average // counted tokens of a prompt to those estimated
	answer   average // tokens of the answers
	handover average
	gap      average // seconds between two tokens of a stream
}

// prompt is the likely length of a job's prompt by the engine's count.
func (e *estimates) prompt(j *Job) int {
	if e.ratio.samples < fewSamples {
		return max(1, j.Tokens)
	}
	return max(1, int(float64(j.Tokens)*e.ratio.mean))
}

// room is how many tokens of answer to keep room for.
func (e *estimates) room(j *Job, assumed int) int {
	switch {
	case j.MaxTokens > 0:
		return j.MaxTokens
	case e.answer.samples < fewSamples:
		return assumed
	}
	return max(1, int(e.answer.mean+2*e.answer.deviation))
}

// rest is how long the answer likely takes after its first token; 0: not known.
func (e *estimates) rest(j *Job) time.Duration {
	tokens := e.answer.mean
	if j.MaxTokens > 0 {
		tokens = min(tokens, float64(j.MaxTokens))
	}
	return time.Duration(tokens * e.gap.mean * float64(time.Second))
}

// handoverTime is how long a first token likely takes after the prefill.
func (e *estimates) handoverTime() time.Duration {
	return time.Duration(e.handover.mean * float64(time.Second))
}
