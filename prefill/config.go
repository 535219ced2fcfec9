package prefill

import (
	"errors"
	"time"

	"github.com/baton-llm/baton/internal/config"
)

// Config bounds one prefill worker.
type Config struct {
	BatchTokens  int           `yaml:"batch_tokens" help:"most prompt tokens at the engine, whatever a dispatcher sends; about two of its batches"`
	MaxHandles   int           `yaml:"max_handles" help:"most prompts at the engine or handed over and not yet read; each pins KV on the prefill GPU"`
	Lease        time.Duration `yaml:"lease" help:"how long the engine keeps unread KV blocks (vLLM: kv_lease_duration)"`
	InlineBody   int           `yaml:"inline_body" help:"largest body in bytes that travels with the decode job instead of being asked from the frontend"`
	BodyTimeout  time.Duration `yaml:"body_timeout" help:"longest wait for a body that the job does not carry"`
	DrainTimeout time.Duration `yaml:"drain_timeout" help:"how long running jobs may go on once the worker is told to stop"`
}

// DefaultConfig suits stock vLLM. 64 handles are 64 prompts' KV: at 4096 tokens each a quarter
// million tokens, what a 70B model at TP4 holds beside its batch.
func DefaultConfig() Config {
	return Config{
		BatchTokens: 8192, MaxHandles: 64, Lease: 30 * time.Second,
		InlineBody: 4 << 10, BodyTimeout: 10 * time.Second, DrainTimeout: 30 * time.Second,
	}
}

// Validate reports every fault.
func (c Config) Validate() error {
	return errors.Join(
		config.AtLeast("prefill.batch_tokens", c.BatchTokens, 1),
		config.AtLeast("prefill.max_handles", c.MaxHandles, 1),
		config.AtLeast("prefill.inline_body", c.InlineBody, 0),
		config.AtLeast("prefill.lease", c.Lease, 2*time.Second),
		config.AtLeast("prefill.body_timeout", c.BodyTimeout, time.Millisecond),
		config.AtLeast("prefill.drain_timeout", c.DrainTimeout, 0),
	)
}
