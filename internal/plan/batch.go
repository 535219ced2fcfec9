package plan

import (
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

const (
	seqs     = 1024   // max_num_seqs: no bound but the KV cache
	hole     = 128    // tokens of a decode engine's iteration that no long prompt takes, for handles and short prompts
	grain    = 64     // between two sizes of a batch that are tried
	smallest = 2 * 64 // batch
	largest  = 8192
)

// sizes finds batches by the engine's time model alone; what is found is then tried in simulation.
type sizes struct {
	model         enginesim.Model
	input, output int
}

// prompts is how many prompt tokens an engine that does nothing else computes a second with this batch.
func (s *sizes) prompts(batch int) float64 {
	var took time.Duration
	if n := batch / s.input; n > 0 { // several in one iteration
		parts := make([]enginesim.Part, n)
		for i := range parts {
			parts[i] = enginesim.Part{New: s.input}
		}
		return float64(n*s.input) / s.model.Step(parts).Seconds()
	}
	for done := 0; done < s.input; done += batch {
		took += s.model.Step([]enginesim.Part{{Computed: done, New: min(batch, s.input-done)}})
	}
	return float64(s.input) / took.Seconds()
}

// prefill is the smallest batch that computes prompts about as fast as any. Batches can be too large: a long prompt is
// then computed alone, and its last part leaves most of an iteration empty.
func (s *sizes) prefill() int {
	const enough = 0.995
	best := 0.0
	for batch := 1024; batch <= largest; batch *= 2 {
		best = max(best, s.prompts(batch))
	}
	batch := 1024
	for s.prompts(batch) < enough*best {
		batch *= 2
	}
	return batch
}

// mixed is the largest batch of which one iteration takes no longer than most, in the steady state: a chunk of
// a prompt beside the answers that such chunks begin, decodes of others' prompts, and what is left free.
func (s *sizes) mixed(decodes float64, free int, most time.Duration) int {
	batch := smallest
	for next := smallest; next <= largest; next += grain {
		room := float64(next-free) - decodes
		chunk := max(1, room/(1+float64(s.output)/float64(s.input))) // each of its tokens will be output/input answers' tokens
		answers := min(int(decodes+chunk*float64(s.output)/float64(s.input)), s.model.KVTokens()/(s.input+s.output), seqs)
		if s.step(int(chunk), answers) > most {
			break
		}
		batch = next
	}
	return batch
}

func (s *sizes) step(chunk, answers int) time.Duration {
	parts := []enginesim.Part{{Computed: s.input / 2, New: chunk}}
	for range answers {
		parts = append(parts, enginesim.Part{Computed: s.input + s.output/2, New: 1})
	}
	return s.model.Step(parts)
}
