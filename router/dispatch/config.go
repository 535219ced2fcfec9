package dispatch

import (
	"errors"
	"time"

	"github.com/baton-llm/baton/internal/config"
)

// Config bounds one dispatcher.
type Config struct {
	LookAhead      int           `yaml:"look_ahead" help:"most queued jobs of one model that the dispatcher holds to choose from; those behind wait in order of arrival"`
	LookAheadBytes int           `yaml:"look_ahead_bytes" help:"most bytes of such jobs"`
	Refresh        time.Duration `yaml:"refresh" help:"how often to look at the fleet and the clock when nothing happens"`
}

// DefaultConfig holds a large burst: jobs are small, their bodies stay with the frontends.
func DefaultConfig() Config {
	return Config{LookAhead: 16384, LookAheadBytes: 64 << 20, Refresh: 500 * time.Millisecond}
}

// Validate reports every fault.
func (c Config) Validate() error {
	return errors.Join(
		config.AtLeast("dispatch.look_ahead", c.LookAhead, 1),
		config.AtLeast("dispatch.look_ahead_bytes", c.LookAheadBytes, 1<<20),
		config.AtLeast("dispatch.refresh", c.Refresh, time.Millisecond),
	)
}
