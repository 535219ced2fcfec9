package schedule

import (
	"errors"
	"fmt"
	"time"

	"github.com/baton-llm/baton/internal/config"
)

// Mode says which placements are allowed.
type Mode string

// The modes.
const (
	Elastic    Mode = "elastic"    // split, and whole requests wherever that is better
	Split      Mode = "split"      // prefill and decode on different workers wherever a request can be split and is not short
	Aggregated Mode = "aggregated" // every request whole on one worker
)

// SLO is what the operator promises of latency.
type SLO struct {
	TTFT time.Duration `yaml:"ttft" help:"time to first token to aim at; 0: none"`
	TPOT time.Duration `yaml:"tpot" help:"time per output token to aim at"`
}

// Config is the scheduling policy. Lengths are in tokens.
type Config struct {
	Mode          Mode          `yaml:"mode" help:"elastic, split or aggregated"`
	SLO           SLO           `yaml:"slo"`
	ShortPrompt   int           `yaml:"short_prompt" help:"a prompt with at most this many uncached tokens runs whole on a decode worker, in mode split as well; 0: none does"`
	PrefillWindow int           `yaml:"prefill_window" help:"a worker gets another prompt while those at it without a first token have fewer tokens than this: one engine batch"`
	KVHigh        float64       `yaml:"kv_high" help:"part of a worker's KV cache that requests may commit"`
	KVLow         float64       `yaml:"kv_low" help:"part of a decode worker's KV cache that may be committed after a long prompt runs whole on it"`
	AssumedTokens int           `yaml:"assumed_tokens" help:"answer length to reserve for a request that names no max_tokens, until lengths are learned"`
	RejectLate    bool          `yaml:"reject_late" help:"refuse a queued request as soon as its first token can no longer come in time, by slo.ttft or its deadline, instead of serving it last: 429 with a Retry-After by which what waits before it is done"`
	Aging         time.Duration `yaml:"aging" help:"a request that waited for so long counts as one of the next better class"`
	Lease         time.Duration `yaml:"lease" help:"a decode worker's room that was reserved for a handle is free again after so long without news"`
}

// DefaultConfig suits a 70B model on 4 GPUs per engine.
func DefaultConfig() Config {
	return Config{
		Mode: Elastic, SLO: SLO{TPOT: 100 * time.Millisecond}, ShortPrompt: 512, PrefillWindow: 4096,
		KVHigh: 0.95, KVLow: 0.93, AssumedTokens: 256, Aging: 30 * time.Minute, Lease: 35 * time.Second,
	}
}

// Validate reports every fault.
func (c Config) Validate() error {
	var errs []error
	if c.Mode != Elastic && c.Mode != Split && c.Mode != Aggregated {
		errs = append(errs, fmt.Errorf("schedule.mode is %q, want elastic, split or aggregated", c.Mode))
	}
	for name, part := range map[string]float64{"kv_high": c.KVHigh, "kv_low": c.KVLow} {
		if !(part > 0 && part <= 1) {
			errs = append(errs, fmt.Errorf("schedule.%s is %v, want more than 0 and at most 1", name, part))
		}
	}
	return errors.Join(append(
		errs,
		config.AtLeast("schedule.slo.ttft", c.SLO.TTFT, 0),
		config.AtLeast("schedule.slo.tpot", c.SLO.TPOT, time.Microsecond),
		config.AtLeast("schedule.short_prompt", c.ShortPrompt, 0),
		config.AtLeast("schedule.prefill_window", c.PrefillWindow, 1),
		config.AtLeast("schedule.assumed_tokens", c.AssumedTokens, 1),
		config.AtLeast("schedule.aging", c.Aging, time.Second),
		config.AtLeast("schedule.lease", c.Lease, time.Second),
	)...)
}
