package engine

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Config says how to call an engine, and bounds the calls.
type Config struct {
	APIKey           string        `yaml:"api_key" secret:"true" help:"Key that the engine asks for (vLLM: --api-key), sent as Authorization: Bearer; empty: none. Clients' own keys never reach the engine."`
	ConnectTimeout   time.Duration `yaml:"connect_timeout" help:"Longest time for a connection to the engine to open."`
	FirstByteTimeout time.Duration `yaml:"first_byte_timeout" help:"Longest time from the request to the first byte of the engine's answer."`
	IdleTimeout      time.Duration `yaml:"idle_timeout" help:"Longest time without a byte in the middle of an answer."`
	MaxAnswerBytes   int           `yaml:"max_answer_bytes" help:"Largest answer that is not streamed, in bytes."`
	MaxEventBytes    int           `yaml:"max_event_bytes" help:"Largest single event of a streamed answer, in bytes."`
}

// DefaultConfig returns the defaults. The first byte may take long: the engine has its own queue.
func DefaultConfig() Config {
	return Config{
		ConnectTimeout: 5 * time.Second, FirstByteTimeout: time.Hour, IdleTimeout: 5 * time.Minute,
		MaxAnswerBytes: 64 << 20, MaxEventBytes: 1 << 20,
	}
}

// Validate reports every fault by its YAML name.
func (c Config) Validate() (err error) {
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"connect_timeout", c.ConnectTimeout},
		{"first_byte_timeout", c.FirstByteTimeout},
		{"idle_timeout", c.IdleTimeout},
	} {
		if d.value <= 0 {
			err = errors.Join(err, fmt.Errorf("engine.%s is %v, want more than 0", d.name, d.value))
		}
	}
	if strings.ContainsFunc(c.APIKey, func(r rune) bool { return r <= ' ' || r > '~' }) {
		err = errors.Join(err, errors.New("engine.api_key holds a character that a header cannot carry, want printable ASCII without spaces"))
	}
	if c.MaxAnswerBytes < 1 {
		err = errors.Join(err, fmt.Errorf("engine.max_answer_bytes is %d, want 1 or more", c.MaxAnswerBytes))
	}
	if c.MaxEventBytes < 1 {
		err = errors.Join(err, fmt.Errorf("engine.max_event_bytes is %d, want 1 or more", c.MaxEventBytes))
	}
	return err
}
