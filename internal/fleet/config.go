package fleet

import (
	"errors"
	"fmt"
	"time"
)

// Config is how patient the fleet is.
type Config struct {
	Missed     int           `yaml:"missed" help:"a process that misses so many of its announcements is asked, and counts as dead if it does not answer within a second"`
	Check      time.Duration `yaml:"check" help:"time between two looks for dead processes"`
	ModelGrace time.Duration `yaml:"model_grace" help:"how long a model stays known after its last worker left"`
}

// DefaultConfig returns the settings that hold where nobody says otherwise.
func DefaultConfig() Config {
	return Config{Missed: 3, Check: 250 * time.Millisecond, ModelGrace: 10 * time.Minute}
}

// Validate reports every fault, by YAML name.
func (c *Config) Validate() error {
	var err error
	if c.Missed < 1 {
		err = errors.Join(err, fmt.Errorf("fleet.missed is %d, want 1 or more", c.Missed))
	}
	if c.Check <= 0 {
		err = errors.Join(err, fmt.Errorf("fleet.check is %s, want more than 0", c.Check))
	}
	if c.ModelGrace < 0 {
		err = errors.Join(err, fmt.Errorf("fleet.model_grace is %s, want 0 or more", c.ModelGrace))
	}
	return err
}
