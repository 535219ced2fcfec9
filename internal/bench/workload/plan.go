package workload

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/baton-llm/baton/internal/bench"
)

// closedCeiling is the most requests of a closed loop that only a duration ends.
const closedCeiling = 100_000

// Plan makes the plan of the streams. duration is that of the run, 0 if the number of requests
// ends it; it only helps to tell how many requests are needed.
func Plan(specs []Spec, endpoint bench.Endpoint, duration time.Duration) (bench.Plan, error) {
	var plan bench.Plan
	for i := range specs {
		s := &specs[i]
		err := s.Validate()
		if err == nil && endpoint == bench.Chat && s.Prompt == "tokens" {
			err = errors.New("prompt is tokens, want text for the chat endpoint")
		}
		if err != nil {
			return bench.Plan{}, fmt.Errorf("stream %s: %w", s.Name, err)
		}
		m := &maker{Spec: *s, stream: i, chat: endpoint == bench.Chat}
		requests, err := m.requests(duration)
		if err != nil {
			return bench.Plan{}, fmt.Errorf("stream %s: %w", s.Name, err)
		}
		plan.Streams = append(plan.Streams, m.bench())
		plan.Requests = append(plan.Requests, requests...)
	}
	return plan, nil
}

// Warmup is a burst of n requests like those of the first stream, with other texts.
func Warmup(specs []Spec, endpoint bench.Endpoint, n int) (bench.Plan, error) {
	s := specs[0]
	s.Seed = ^s.Seed
	s.NumPrompts, s.Arrival = n, Burst
	return Plan([]Spec{s}, endpoint, 0)
}

// maker makes the requests of one stream.
type maker struct {
	Spec
	stream int
	chat   bool
}

// bench is what package bench needs to know of the stream.
func (m *maker) bench() bench.Stream {
	out := bench.Stream{Name: m.Name, Class: m.Class}
	switch m.arrival() {
	case Closed:
		out.Concurrency = m.Concurrency
	case Constant:
		out.Rate = m.Rate
	case Poisson:
		out.Rate, out.Burstiness = m.Rate, 1
	case Gamma:
		out.Rate, out.Burstiness = m.Rate, m.Burstiness
	}
	return out
}

func (m *maker) requests(duration time.Duration) ([]bench.Request, error) {
	var out []bench.Request
	if m.Workload == Trace {
		rows, err := readTrace(m.Trace, m.NumPrompts)
		if err != nil {
			return nil, err
		}
		for i, row := range rows {
			out = append(out, m.traced(i, row))
		}
	} else {
		for i := range m.count(duration) {
			switch m.Workload {
			case SharedPrefix:
				out = append(out, m.prefixed(i))
			case MultiTurn:
				out = append(out, m.turn(i))
			default:
				out = append(out, m.random(i))
			}
		}
	}
	m.arrive(out)
	return out, nil
}

// count is the number of requests, turns included.
func (m *maker) count(duration time.Duration) int {
	n := math.MaxInt
	if m.NumPrompts > 0 {
		n = m.NumPrompts
	}
	turns := 1
	if m.Workload == MultiTurn {
		turns = m.Turns
	}
	switch m.arrival() {
	case Constant, Poisson, Gamma:
		if duration > 0 {
			n = min(n, turns*int(math.Ceil(m.Rate*duration.Seconds())))
		}
	case Closed:
		if duration > 0 {
			n = min(n, closedCeiling)
		}
	}
	if n == math.MaxInt {
		n = defaultPrompts
	}
	return n
}

// arrive sets the times of the requests that begin conversations.
func (m *maker) arrive(requests []bench.Request) {
	if m.arrival() == Recorded {
		return
	}
	var begin []int
	for i, r := range requests {
		if r.Conversation == 0 || i == 0 || requests[i-1].Conversation != r.Conversation {
			begin = append(begin, i)
		}
	}
	times := m.times(len(begin))
	for k, i := range begin {
		requests[i].At = times[k]
	}
}
