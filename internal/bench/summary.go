package bench

import (
	"cmp"
	"slices"
	"time"
)

// SLO is what a request must keep to count as good; 0: no such bound.
type SLO struct{ TTFT, TPOT, E2EL time.Duration }

// Set reports whether there is any bound.
func (s SLO) Set() bool { return s != SLO{} }

// met reports whether the request kept the bounds. One token has no TPOT and keeps any; an answer
// of an unknown number of tokens keeps none.
func (s SLO) met(r *Record) bool {
	tpot, known := r.TPOT()
	known = known || r.Counted != Uncounted
	return (s.TTFT == 0 || r.TTFT <= s.TTFT) && (s.E2EL == 0 || r.Latency <= s.E2EL) && (s.TPOT == 0 || known && tpot <= s.TPOT)
}

// Summary is the figures of the requests that ended well. TTFT and so on are over requests, ITL is
// over all gaps of all requests.
type Summary struct {
	Name  string // of the stream; "": of the whole run
	Class string

	Duration        time.Duration // of the run, in each stream's summary too
	Completed       int
	Failed          int
	Failures        map[Kind]int
	Uncounted       int // completed, but the server gave no number of tokens: they miss in TPOT and output tokens
	InputTokens     int
	CachedTokens    int // of the input tokens
	OutputTokens    int
	MaxTokenEvents  float64 // most events with tokens in one second of the run
	MaxInFlight     int
	Good            int // kept the SLO
	SLO             SLO
	TTFT, TPOT, ITL Dist
	E2EL            Dist // to the last token

	Streams []Summary // of the run's streams, if there are several
}

// Per is n per second of the run.
func (s *Summary) Per(n int) float64 {
	if s.Duration <= 0 {
		return 0
	}
	return float64(n) / s.Duration.Seconds()
}

// Summary computes the figures. slo may be the zero value; without percentiles they are
// DefaultPercentiles.
func (r *Result) Summary(slo SLO, percentiles ...float64) Summary {
	if len(percentiles) == 0 {
		percentiles = DefaultPercentiles
	}
	all := r.summarize(slo, percentiles, func(*Record) bool { return true })
	if len(r.Streams) > 1 {
		for i, stream := range r.Streams {
			s := r.summarize(slo, percentiles, func(rec *Record) bool { return rec.Stream == i })
			s.Name, s.Class = stream.Name, stream.Class
			all.Streams = append(all.Streams, s)
		}
	}
	return all
}

func (r *Result) summarize(slo SLO, percentiles []float64, of func(*Record) bool) Summary {
	s := Summary{Duration: r.Duration, SLO: slo, Failures: map[Kind]int{}}
	var done []*Record
	var ttft, tpot, itl, e2el []time.Duration
	for i := range r.Records {
		rec := &r.Records[i]
		if !of(rec) {
			continue
		}
		if rec.Err != nil {
			s.Failed++
			s.Failures[rec.Err.Kind]++
			continue
		}
		done = append(done, rec)
		s.InputTokens += rec.Input()
		s.CachedTokens += rec.CachedTokens
		s.OutputTokens += rec.OutputTokens
		if rec.Counted == Uncounted {
			s.Uncounted++
		}
		if slo.Set() && slo.met(rec) {
			s.Good++
		}
		if t, ok := rec.TPOT(); ok {
			tpot = append(tpot, t)
		}
		ttft, e2el, itl = append(ttft, rec.TTFT), append(e2el, rec.Latency), append(itl, rec.ITL...)
	}
	s.Completed = len(done)
	s.TTFT, s.TPOT = Describe(Milliseconds(ttft), percentiles), Describe(Milliseconds(tpot), percentiles)
	s.ITL, s.E2EL = Describe(Milliseconds(itl), percentiles), Describe(Milliseconds(e2el), percentiles)
	s.MaxTokenEvents, s.MaxInFlight = maxPerSecond(done), maxInFlight(done)
	return s
}

// maxPerSecond is the most token events within one of the run's seconds.
func maxPerSecond(records []*Record) float64 {
	perSecond := map[int]int{}
	for _, r := range records {
		at := r.Start + r.TTFT
		perSecond[int(at/time.Second)]++
		for _, gap := range r.ITL {
			at += gap
			perSecond[int(at/time.Second)]++
		}
	}
	most := 0
	for _, n := range perSecond {
		most = max(most, n)
	}
	return float64(most)
}

// maxInFlight is the most requests between their start and their last token at one moment.
func maxInFlight(records []*Record) int {
	type step struct {
		at   time.Duration
		more int
	}
	var steps []step
	for _, r := range records {
		steps = append(steps, step{r.Start, 1}, step{r.Start + r.Latency, -1})
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.more, b.more)) })
	now, most := 0, 0
	for _, s := range steps {
		now += s.more
		most = max(most, now)
	}
	return most
}
