package enginesim

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"
	"time"
)

// load is a burst of requests that share nothing.
type load struct {
	requests      int
	inFlight      int // most that clients have sent at once; 0: all
	input, output int // tokens of each
	brief         int // each so many requests end after briefTokens; 0: none
	serial        bool
}

const briefTokens = 3

func (l load) outputOf(i int) int {
	if l.brief > 0 && i%l.brief == l.brief-1 {
		return briefTokens
	}
	return l.output
}

// served is when a client sent its request and got its first and last token.
type served struct {
	sent, first, last time.Time
	output            int // tokens
}

// figures are those of benchmark clients.
type figures struct {
	Seconds float64 `json:"seconds"`
	TTFT    float64 `json:"mean_ttft_s"`
	TPOT    float64 `json:"mean_tpot_ms"`
	P99     float64 `json:"p99_tpot_ms"`
}

// replay gives the load to the engines without HTTP, in virtual time: request i goes to engine
// i modulo their number. With decoders, the engines only prefill: request i then goes on to
// decoder i modulo theirs, and in a serial load no prompt is computed before that has the last one.
func replay(l load, engines, decoders []*sim) figures {
	var (
		clients sync.WaitGroup
		turn    = make(chan struct{}, 1) // taken by the prompt whose turn it is in a serial load
		all     = make([]served, l.requests)
		slots   = make(chan struct{}, cmp.Or(l.inFlight, l.requests))
		begun   = time.Now()
	)
	for i := range all {
		slots <- struct{}{}
		all[i].sent = time.Now()
		clients.Go(func() {
			defer func() { <-slots }()
			e, c := engines[i%len(engines)], call{number: i, input: l.input, output: l.outputOf(i)}
			if decoders != nil {
				if l.serial {
					turn <- struct{}{}
					c.started = func() { <-turn }
				}
				c.remote = e.do(call{number: i, input: l.input, output: 1, keep: true}).handle
				e = decoders[i%len(decoders)]
			}
			done := e.do(c)
			all[i].first, all[i].last, all[i].output = done.first, done.last, c.output
		})
		synctest.Wait() // requests come in order
	}
	clients.Wait()
	return summary(all, begun)
}

// call is one request to one engine.
type call struct {
	number        int // stands for the prompt's text
	input, output int
	keep          bool    // the KV cache, for a reader
	remote        *handle // of another engine's
	started       func()  // with the first token; nil: nobody is told
}

// called is what came of it.
type called struct {
	first, last time.Time
	handle      *handle
}

func (s *sim) do(c call) called {
	j := &job{news: make(chan struct{}, 1)}
	seq := &sequence{
		job: j, stop: make(chan struct{}), params: sampling{maxTokens: c.output, ignoreEOS: true},
		prompt: prompt{tokens: c.input, digest: fmt.Sprint("prompt ", c.number)},
	}
	for i := range c.input / s.cfg.BlockSize {
		seq.hashes = append(seq.hashes, uint64(c.number)<<32|uint64(i))
	}
	if c.keep {
		seq.pinUnder = seq.prompt.digest
	}
	if c.remote != nil {
		seq.remote = &remoteRead{handle: *c.remote}
	}
	j.seqs = []*sequence{seq}
	if err := s.submit(j); err != nil {
		s.rig.t.Error(err)
		return called{}
	}
	var got called
	var state []progress
	for {
		<-j.news
		state = s.progressOf(j, state)
		if got.first.IsZero() && (state[0].produced > 0 || state[0].ended) {
			got.first = time.Now()
			if c.started != nil {
				c.started()
			}
		}
		if state[0].ended {
			if state[0].produced != c.output {
				s.rig.t.Errorf("request %d ended after %d tokens, want %d: %+v", c.number, state[0].produced, c.output, state[0].ending)
			}
			got.last, got.handle = time.Now(), state[0].handle
			return got
		}
	}
}

func summary(all []served, begun time.Time) figures {
	var f figures
	tpot := make([]float64, len(all))
	for i, s := range all {
		f.Seconds = max(f.Seconds, s.last.Sub(begun).Seconds())
		f.TTFT += s.first.Sub(s.sent).Seconds() / float64(len(all))
		tpot[i] = 1e3 * s.last.Sub(s.first).Seconds() / float64(s.output-1)
		f.TPOT += tpot[i] / float64(len(all))
	}
	slices.Sort(tpot)
	f.P99 = tpot[len(tpot)*99/100]
	return f
}
