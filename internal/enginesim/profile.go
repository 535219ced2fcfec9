package enginesim

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// stepTimes are measured times of one iteration; its source member says where they are from.
//
//go:embed step-times.json
var stepTimes []byte

const (
	llama70BBytes = 80 * 8 * 128 * 2 * 2 // layers, KV heads, head size, K and V, bf16
	llama8BBytes  = 32 * 8 * 128 * 2 * 2
)

// profile is what an engine takes from its hardware and model. The operators of an iteration take
// G(m) + A*attention + B*context milliseconds, see batch; G is interpolated over K.
type profile struct {
	K []float64
	G []float64 `json:"G"`
	A float64   `json:"a"`
	B float64   `json:"b"`

	KV            int           `json:"kv"` // capacity in tokens
	BytesPerToken int           `json:"-"`
	Efficiency    float64       `json:"-"` // an iteration's time as a multiple of its operators'
	HostTime      time.Duration `json:"-"` // of one iteration, beside its operators
	Handover      time.Duration `json:"-"` // of one KV cache, beside its transfer
}

// batch is the work of one iteration.
type batch struct {
	prompts   int     // tokens computed of prompts
	decodes   int     // tokens computed of sequences that compute one
	attention float64 // sum over the prompts' new tokens of the context each one sees
	context   int     // tokens in the KV caches of the decodes
}

func (b *batch) tokens() int { return b.prompts + b.decodes }

// add counts new tokens of a sequence that has computed tokens in its KV cache.
func (b *batch) add(computed, tokens int) {
	if tokens == 1 {
		b.decodes++
		b.context += computed + 1
		return
	}
	b.prompts += tokens
	b.attention += float64(tokens)*float64(computed) + float64(tokens)*float64(tokens+1)/2
}

// duration of one iteration in simulated time. Fused, prompts and decodes go through the weights
// together; unfused, each of them goes by itself and one after the other.
func (c *Config) duration(p *profile, b batch) time.Duration {
	ms := p.A*b.attention + p.B*float64(b.context)
	if c.Unfused {
		ms += p.linear(b.prompts) + p.linear(b.decodes)
	} else {
		ms += p.linear(b.tokens())
	}
	return c.HostTime + time.Duration(c.Efficiency*ms*float64(time.Millisecond))
}

// linear is G; no tokens take no time.
func (p *profile) linear(tokens int) float64 {
	if tokens == 0 {
		return 0
	}
	m := float64(tokens)
	i, _ := slices.BinarySearch(p.K, m)
	i = min(max(i, 1), len(p.K)-1)
	part := (m - p.K[i-1]) / (p.K[i] - p.K[i-1])
	return p.G[i-1] + part*(p.G[i]-p.G[i-1])
}

// profiles are those of the table, parsed once, and fast.
//
// Of the table's: G, A and B are fitted to what the operators of vLLM's forward pass take on the
// hardware by aisimulate's tables (scripts/simcheck/fit.py); the capacity is 90 % of the memory of
// the GPUs less weights and about 4 GB of workspace on each. The rest is assumed: 5 % and 2 ms of
// an iteration beside its operators, and 175 ms of a hand-over beside its transfer, for the first
// engine's answer, a router and the other engine's handshake.
// docs/simulation.md tells how far these carry.
var profiles = sync.OnceValues(func() (map[string]*profile, error) {
	var table struct {
		K        []float64           `json:"K"`
		Profiles map[string]*profile `json:"profiles"`
	}
	if err := json.Unmarshal(stepTimes, &table); err != nil {
		return nil, fmt.Errorf("read the step times: %w", err)
	}
	all := map[string]*profile{"fast": fast(table.K)}
	for name, p := range table.Profiles {
		p.K, p.Efficiency, p.HostTime, p.Handover = table.K, 1.05, 2*time.Millisecond, 175*time.Millisecond
		p.BytesPerToken = llama8BBytes
		if !strings.HasPrefix(name, "llama-8b-") {
			name, p.BytesPerToken = "llama-70b-"+name, llama70BBytes
		}
		all[name] = p
	}
	return all, nil
})

// fast is no hardware's: a round decode step of 15 ms and 20,000 prompt tokens per second, for
// people who try things out.
func fast(k []float64) *profile {
	return &profile{
		K: k, G: []float64{12.4, 12.4, 12.5, 12.6, 13, 14, 17, 27, 49, 95, 190, 380, 760}, A: 2e-8, B: 1e-6,
		KV: 1 << 20, BytesPerToken: llama8BBytes,
		Efficiency: 1.05, HostTime: 2 * time.Millisecond, Handover: 10 * time.Millisecond,
	}
}

func profileByName(name string) (*profile, error) {
	all, err := profiles()
	if err != nil {
		return nil, err
	}
	if p := all[name]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("no profile is named %q, want one of %s", name, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
}
