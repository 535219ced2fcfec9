package decode

import (
	"errors"
	"time"

	"github.com/baton-llm/baton/internal/config"
)

// Config bounds one decode worker.
type Config struct {
	Slots         int           `yaml:"slots" help:"most requests at the engine at once (vLLM: max_num_seqs)"`
	KVTokens      int           `yaml:"kv_tokens" help:"tokens of KV cache that requests may reserve; 0: ask the engine, and no bound until it says"`
	AssumedTokens int           `yaml:"assumed_tokens" help:"answer length to reserve for a request that names no max_tokens"`
	LeaseMargin   time.Duration `yaml:"lease_margin" help:"refuse a handle whose lease ends sooner than this"`
	BodyTimeout   time.Duration `yaml:"body_timeout" help:"longest wait for a body that the job does not carry"`
	CountUsage    bool          `yaml:"count_usage" help:"have the engine count the tokens of streams whose clients do not ask for it; the event is taken out again; false: for engines that refuse stream_options"`
	DrainTimeout  time.Duration `yaml:"drain_timeout" help:"how long running requests may go on once the worker is told to stop"`
}

// DefaultConfig suits stock vLLM.
func DefaultConfig() Config {
	return Config{
		Slots: 256, AssumedTokens: 256, LeaseMargin: time.Second, BodyTimeout: 10 * time.Second,
		CountUsage: true, DrainTimeout: 10 * time.Minute,
	}
}

// Validate reports every fault.
func (c Config) Validate() error {
	return errors.Join(
		config.AtLeast("decode.slots", c.Slots, 1),
		config.AtLeast("decode.kv_tokens", c.KVTokens, 0),
		config.AtLeast("decode.assumed_tokens", c.AssumedTokens, 1),
		config.AtLeast("decode.lease_margin", c.LeaseMargin, 0),
		config.AtLeast("decode.body_timeout", c.BodyTimeout, time.Millisecond),
		config.AtLeast("decode.drain_timeout", c.DrainTimeout, 0),
	)
}
