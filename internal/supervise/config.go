package supervise

import (
	"errors"
	"fmt"
	"time"

	"github.com/baton-llm/baton/internal/config"
)

// Config says how patient the supervisor is.
type Config struct {
	StartTimeout    time.Duration `yaml:"start_timeout" help:"longest time from an engine's start until it is ready, the download of a model included"`
	RestartDelay    time.Duration `yaml:"restart_delay" help:"pause before an engine that ended is started again; it doubles with every further end"`
	RestartDelayMax time.Duration `yaml:"restart_delay_max" help:"longest such pause"`
	RestartReset    time.Duration `yaml:"restart_reset" help:"an engine that was ready for so long begins with the first pause again"`
	StopTimeout     time.Duration `yaml:"stop_timeout" help:"how long an engine may take to end once it is told to; then it is killed"`
}

// DefaultConfig suits large models: an engine that takes minutes to start is not hurried.
func DefaultConfig() Config {
	return Config{
		StartTimeout: time.Hour, RestartDelay: time.Second, RestartDelayMax: time.Minute, RestartReset: 5 * time.Minute,
		StopTimeout: 20 * time.Second,
	}
}

// Validate reports every fault.
func (c Config) Validate() error {
	err := errors.Join(
		config.AtLeast("supervise.start_timeout", c.StartTimeout, time.Second),
		config.AtLeast("supervise.restart_delay", c.RestartDelay, 10*time.Millisecond),
		config.AtLeast("supervise.restart_reset", c.RestartReset, 0),
		config.AtLeast("supervise.stop_timeout", c.StopTimeout, 0),
	)
	if c.RestartDelayMax < c.RestartDelay {
		err = errors.Join(err, fmt.Errorf("supervise.restart_delay_max is %s, want supervise.restart_delay (%s) or more", c.RestartDelayMax, c.RestartDelay))
	}
	return err
}
