package main

import (
	"context"
	"slices"
	"time"
)

// mostModels is how many pairs of stub engines there are, idle ones included.
const mostModels = 20

// point is one size in one series.
type point struct {
	series string
	size   int
	cell   cell
	start  func(ctx context.Context, s *site) (*router, error) // the router is there even with an error
}

// points are what is measured with so many descriptors in one process, in the order of a round.
func points(binary string, files int, quick bool) (all []point) {
	requests := cell{Conns: 32, Tokens: 64, Prompt: 200}
	for _, n := range []int{2, 4, 16, 64} {
		all = append(all, point{"workers", n, requests, func(ctx context.Context, s *site) (*router, error) {
			return batonUp(ctx, s, binary, slices.Repeat(s.pairs[:1], n/2))
		}})
	}
	for _, n := range []int{1, 5, mostModels} {
		all = append(all, point{"models", n, requests, func(ctx context.Context, s *site) (*router, error) {
			return batonUp(ctx, s, binary, s.pairs[:n])
		}})
	}
	for _, n := range []int{1, 2, 4, 8} {
		all = append(all, point{"frontends", n, requests, func(ctx context.Context, s *site) (*router, error) {
			return batonApart(ctx, s, binary, n)
		}})
	}
	sizes, least := streams(files), 100
	if quick {
		sizes, least = sizes[:2], 20
	}
	for _, n := range sizes {
		c := cell{Conns: n, Tokens: max(least, n/streamsPerToken), Pace: 50 * time.Millisecond, Prompt: 200, Once: true, Limit: streamTime}
		all = append(all, point{"streams", n, c, func(ctx context.Context, s *site) (*router, error) {
			return batonUp(ctx, s, binary, s.pairs[:1])
		}})
	}
	for i := range all {
		all[i].cell.Name = all[i].series
	}
	return all
}

// The first streams shall not have ended when the last begin, of which there are some 500 in a second: as many as
// streamsPerToken in 50 ms. Where the machine is slower, so are the tokens.
const streamsPerToken = 25

// streamTime bounds one stream: the most of them take minutes where the processor cannot have all tokens in time.
const streamTime = 5 * time.Minute

// otherFiles is how many descriptors of a process are no streams': connections to prefill engines and NATS, those that
// wait for their next use, logs.
const otherFiles = 2000

// streams are how many streams at once are measured. One stream is two descriptors in baton.
func streams(files int) (sizes []int) {
	most := max(500, (files-otherFiles)/2)
	for _, n := range []int{500, 1000, 2000, 5000, 10_000} {
		sizes = append(sizes, min(n, most))
	}
	return slices.Compact(sizes)
}
