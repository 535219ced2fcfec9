package decode

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds one decode worker.
type Config struct {
	Slots         int           `yaml:"slots" help:"most requests at the engine at once (vLLM: max_num_seqs)"`
	KVTokens      int           `yaml:"kv_tokens" help:"tokens of KV cache that requests may reserve; 0: ask the engine, and no bound until it says"`
	AssumedTokens int           `yaml:"assumed_tokens" help:"answer length to reserve for a request that names no max_tokens"`
	LeaseMargin   time.Duration `yaml:"lease_margin" help:"refuse a handle whose lease ends sooner than this"`
	BodyTimeout   time.Duration `yaml:"body_timeout" help:"longest wait for a body that the job does not carry"`
	DrainTimeout  time.Duration `yaml:"drain_timeout" help:"how long running requests may go on once the worker is told to stop"`
}

// DefaultConfig suits stock vLLM.
func DefaultConfig() Config {
	return Config{Slots: 256, AssumedTokens: 256, LeaseMargin: time.Second, BodyTimeout: 10 * time.Second, DrainTimeout: 10 * time.Minute}
}

// Validate reports every fault.
func (c Config) Validate() error {
	var errs []error
	for _, n := range []struct {
		name       string
		value, min int
	}{
		{"slots", c.Slots, 1},
		{"kv_tokens", c.KVTokens, 0},
		{"assumed_tokens", c.AssumedTokens, 1},
	} {
		if n.value < n.min {
			errs = append(errs, fmt.Errorf("decode.%s is %d, want %d or more", n.name, n.value, n.min))
		}
	}
	for _, d := range []struct {
		name       string
		value, min time.Duration
	}{
		{"lease_margin", c.LeaseMargin, 0},
		{"body_timeout", c.BodyTimeout, time.Millisecond},
		{"drain_timeout", c.DrainTimeout, 0},
	} {
		if d.value < d.min {
			errs = append(errs, fmt.Errorf("decode.%s is %v, want %v or more", d.name, d.value, d.min))
		}
	}
	return errors.Join(errs...)
}
