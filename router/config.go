package router

import (
	"errors"
	"time"

	"github.com/baton-llm/baton/internal/config"
)

// Limits bound what one frontend has in flight; 0 means no bound.
type Limits struct {
	Requests int `yaml:"requests" help:"most requests in flight; more are refused with 429; 0: no bound"`
	Bytes    int `yaml:"bytes" help:"most bytes of bodies in flight; more are refused with 429; 0: no bound"`
}

// Config bounds one router.
type Config struct {
	All         Limits `yaml:"all"`
	Interactive Limits `yaml:"interactive"`
	Standard    Limits `yaml:"standard"`
	Batch       Limits `yaml:"batch"`

	Attempts   int           `yaml:"attempts" help:"most tries in a row of one request that engines fail; one that brings a good part of a streamed answer ends the row"`
	Backoff    time.Duration `yaml:"backoff" help:"pause before the second try; it doubles with each more"`
	MaxBackoff time.Duration `yaml:"max_backoff" help:"longest pause between two tries"`

	InlineBody     int           `yaml:"inline_body" help:"a body of more bytes stays here until a worker asks for it, instead of travelling in the job"`
	StoreBody      int           `yaml:"store_body" help:"a body of more bytes is stored in a bucket, for workers to fetch; less than what one NATS message holds"`
	MaxAnswer      int           `yaml:"max_answer_bytes" help:"largest answer that is not streamed: the router holds all of it before the client gets any"`
	ContinueBytes  int           `yaml:"continue_bytes" help:"most bytes of text of a streamed answer that are kept to continue it on another worker when its own dies; an answer with more, or any if 0, then ends with an error"`
	LingerBytes    int           `yaml:"linger_bytes" help:"most bytes of bodies kept for decode workers after their requests were given up"`
	Linger         time.Duration `yaml:"linger" help:"how long such a body is kept: the engines' KV lease"`
	PublishTimeout time.Duration `yaml:"publish_timeout" help:"how long to try to put a job into its queue"`
	CleanupTimeout time.Duration `yaml:"cleanup_timeout" help:"longest time for removing one job or stored body that nobody wants"`
}

// DefaultConfig admits bursts of thousands of prompts.
func DefaultConfig() Config {
	return Config{
		All:      Limits{Requests: 16384, Bytes: 1 << 30},
		Attempts: 3, Backoff: 50 * time.Millisecond, MaxBackoff: time.Second,
		InlineBody: 4 << 10, StoreBody: 512 << 10, MaxAnswer: 64 << 20, ContinueBytes: 256 << 10, LingerBytes: 64 << 20, Linger: 30 * time.Second,
		PublishTimeout: 15 * time.Second, CleanupTimeout: 5 * time.Second,
	}
}

// Validate reports every fault.
func (c Config) Validate() error {
	return errors.Join(
		config.AtLeast("router.all.requests", c.All.Requests, 0),
		config.AtLeast("router.all.bytes", c.All.Bytes, 0),
		config.AtLeast("router.interactive.requests", c.Interactive.Requests, 0),
		config.AtLeast("router.interactive.bytes", c.Interactive.Bytes, 0),
		config.AtLeast("router.standard.requests", c.Standard.Requests, 0),
		config.AtLeast("router.standard.bytes", c.Standard.Bytes, 0),
		config.AtLeast("router.batch.requests", c.Batch.Requests, 0),
		config.AtLeast("router.batch.bytes", c.Batch.Bytes, 0),
		config.AtLeast("router.attempts", c.Attempts, 1),
		config.AtLeast("router.inline_body", c.InlineBody, 0),
		config.AtLeast("router.store_body", c.StoreBody, 0),
		config.AtLeast("router.max_answer_bytes", c.MaxAnswer, 1),
		config.AtLeast("router.continue_bytes", c.ContinueBytes, 0),
		config.AtLeast("router.linger_bytes", c.LingerBytes, 0),
		config.AtLeast("router.backoff", c.Backoff, time.Millisecond),
		config.AtLeast("router.max_backoff", c.MaxBackoff, c.Backoff),
		config.AtLeast("router.linger", c.Linger, 0),
		config.AtLeast("router.publish_timeout", c.PublishTimeout, time.Millisecond),
		config.AtLeast("router.cleanup_timeout", c.CleanupTimeout, time.Millisecond),
	)
}
