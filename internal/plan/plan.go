package plan

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/lawsim"
)

// Figures that differ by less are the same.
const (
	sameTime = 1.02 // times
	sameGood = 1.0  // percent of all requests
	sameRate = 1.03
)

// Advice is the answer to a Question.
type Advice struct {
	Question Question
	Options  []Option // each with the best of its batches
	Best     int      // of Options
	Kept     bool     // the best keeps the time per output token for 99 in 100 requests
}

// Make plays the load against every way to use the engines.
func Make(ctx context.Context, q Question) (*Advice, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	model, err := enginesim.ModelByName(q.Profile)
	if err != nil {
		return nil, err
	}
	if most := model.KVTokens(); q.InputLen+q.OutputLen > most {
		return nil, fmt.Errorf("a request of %d and %d tokens does not fit the KV cache of %s, which has %d", q.InputLen, q.OutputLen, q.Profile, most)
	}
	s := &sizes{model: model, input: q.InputLen, output: q.OutputLen}
	families := q.families(s)
	options := make([]Option, len(families))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range families {
		g.Go(func() (err error) {
			options[i], err = q.try(ctx, s, f)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	best := q.best(options)
	return &Advice{Question: q, Options: options, Best: best, Kept: options[best].P99TPOT <= q.SLOTPOT}, nil
}

// try returns the best of a family.
func (q *Question) try(ctx context.Context, s *sizes, f family) (Option, error) {
	for i := range f {
		if err := ctx.Err(); err != nil {
			return Option{}, err
		}
		sum, err := q.play(&f[i], q.Rate)
		if err != nil {
			return Option{}, fmt.Errorf("play %s: %w", f[i].Name(), err)
		}
		f[i].Summary = sum
	}
	o := f[q.best(f)]
	if q.Burst > 0 {
		return o, nil
	}
	err := q.sustain(ctx, s, &o)
	return o, err
}

func (q *Question) play(o *Option, rate float64) (lawsim.Summary, error) {
	rs := q.requests(rate)
	if _, err := lawsim.Run(o.deployment(q), rs); err != nil {
		return lawsim.Summary{}, err
	}
	return lawsim.Sum(rs, q.slo()), nil
}

// sustain finds the highest rate at which nine in ten requests keep the SLO, between nothing and what the
// engines could do if there were only prompts.
func (q *Question) sustain(ctx context.Context, s *sizes, o *Option) error {
	const (
		enough = 90.0
		steps  = 7 // leaves less than a percent of the range
	)
	low, high := 0.0, float64(q.Engines)*s.prompts(largest)/float64(q.InputLen)
	for range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		rate := (low + high) / 2
		sum, err := q.play(o, rate)
		if err != nil {
			return fmt.Errorf("play %s at %.2f requests a second: %w", o.Name(), rate, err)
		}
		if sum.Good >= enough {
			low = rate
		} else {
			high = rate
		}
	}
	o.Sustainable = low
	return nil
}

// best chooses: of a burst, who keeps the time per token and is done first, or who comes closest to keeping it; of a rate, who has the most good
// answers and then the most to spare. What is the same in that is told apart by the tail of the time per token.
func (q *Question) best(options []Option) int {
	left := make([]int, len(options))
	for i := range left {
		left[i] = i
	}
	keep := func(by func(o *Option) bool) {
		some := slices.DeleteFunc(slices.Clone(left), func(i int) bool { return !by(&options[i]) })
		if len(some) > 0 {
			left = some
		}
	}
	lowest := func(value func(o *Option) float64, same float64) {
		least := value(&options[left[0]])
		for _, i := range left {
			least = min(least, value(&options[i]))
		}
		keep(func(o *Option) bool { return value(o) <= least*same })
	}
	tail := func(o *Option) float64 { return o.P99TPOT.Seconds() }
	if q.Burst > 0 {
		kept := func(o *Option) bool { return o.P99TPOT <= q.SLOTPOT }
		if keep(kept); kept(&options[left[0]]) {
			lowest(func(o *Option) float64 { return o.Total.Seconds() }, sameTime)
		}
	} else {
		most := slices.MaxFunc(options, func(a, b Option) int { return cmp.Compare(a.Good, b.Good) }).Good
		keep(func(o *Option) bool { return o.Good >= most-sameGood })
		lowest(func(o *Option) float64 { return 1 / max(o.Sustainable, 1e-9) }, sameRate)
	}
	lowest(tail, 1)
	return left[0]
}
