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
	eta    = 1.05 // efficiency of the fused step, as fitted with the table
	hostMS = 2.0  // host time of one iteration

	llama70BBytes = 80 * 8 * 128 * 2 * 2 // layers, KV heads, head size, K and V, bf16
	llama8BBytes  = 32 * 8 * 128 * 2 * 2
)

// profile is the time model of one engine: an iteration takes
// eta*(G(m) + A*sum(new*context) + B*context of the decodes) + hostMS milliseconds,
// where m counts the tokens computed and G is interpolated over K.
type profile struct {
	K             []float64
	G             []float64 `json:"G"`
	A             float64   `json:"a"`
	B             float64   `json:"b"`
	KV            int       `json:"kv"` // capacity in tokens
	BytesPerToken int       `json:"-"`
}

// batch is the work of one iteration.
type batch struct {
	tokens    int     // computed, of prompts and decodes
	attention float64 // sum over the prompts' new tokens of the context each one sees
	context   int     // tokens in the KV caches of the decodes
}

// add counts new tokens of a sequence that has computed tokens in its KV cache.
func (b *batch) add(computed, tokens int) {
	b.tokens += tokens
	if tokens == 1 {
		b.context += computed + 1
		return
	}
	b.attention += float64(tokens)*float64(computed) + float64(tokens)*float64(tokens+1)/2
}

// duration of one iteration in simulated time.
func (p *profile) duration(b batch) time.Duration {
	ms := eta*(p.linear(float64(b.tokens))+p.A*b.attention+p.B*float64(b.context)) + hostMS
	return time.Duration(ms * float64(time.Millisecond))
}

func (p *profile) linear(m float64) float64 {
	i, _ := slices.BinarySearch(p.K, m)
	i = min(max(i, 1), len(p.K)-1)
	part := (m - p.K[i-1]) / (p.K[i] - p.K[i-1])
	return p.G[i-1] + part*(p.G[i]-p.G[i-1])
}

// profiles parses the table once and adds the profiles that are not in it.
var profiles = sync.OnceValues(func() (map[string]*profile, error) {
	var table struct {
		K        []float64           `json:"K"`
		Profiles map[string]*profile `json:"profiles"`
	}
	if err := json.Unmarshal(stepTimes, &table); err != nil {
		return nil, fmt.Errorf("read the step times: %w", err)
	}
	all := map[string]*profile{}
	for name, p := range table.Profiles {
		p.K, p.BytesPerToken = table.K, llama70BBytes
		all["llama-70b-"+name] = p
	}
	all["llama-8b-h100-tp1"] = scaled8B(all["llama-70b-h100-tp8"])
	// Not measured: a round decode step of 15 ms and 20,000 prompt tokens per second, for people.
	all["fast"] = &profile{
		K: table.K, G: []float64{12.4, 12.4, 12.5, 12.6, 13, 14, 17, 27, 49, 95, 190, 380, 760},
		A: 2e-8, B: 1e-6, KV: 1 << 20, BytesPerToken: llama8BBytes,
	}
	return all, nil
})

// scaled8B derives Llama-3.1-8B on one H100 from the 70B model on eight; it is not measured. One
// GPU holds 8.03e9 parameters here against 70.6e9/8 there, 32 heads in 32 layers against 8 in 80,
// and 8 KV heads in 32 layers against 1 in 80. Capacity: 72 GB less 16 GB of weights.
func scaled8B(tp8 *profile) *profile {
	p := &profile{K: tp8.K, A: tp8.A * 32 * 32 / (8 * 80), B: tp8.B * 8 * 32 / 80, KV: 430_000, BytesPerToken: llama8BBytes}
	for _, g := range tp8.G {
		p.G = append(p.G, g*8.03/(70.6/8))
	}
	return p
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
