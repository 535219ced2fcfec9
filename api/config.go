package api

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/baton-llm/baton/api/auth"
	"github.com/baton-llm/baton/internal/config"
)

// Config bounds what a client may cost. No setting bounds how long an answer takes or waits.
type Config struct {
	Listen         string        `yaml:"listen" help:"host:port to serve HTTP/1.1 and HTTP/2 without TLS on"`
	MaxBody        int           `yaml:"max_body" help:"largest request body in bytes; a larger one gets 413"`
	MaxHeader      int           `yaml:"max_header_bytes" help:"largest request header in bytes"`
	HeaderTimeout  time.Duration `yaml:"header_timeout" help:"longest time to send a request's header"`
	BodyTimeout    time.Duration `yaml:"body_timeout" help:"longest pause of a client that sends a body; the whole may take this and one second for each 16 KiB"`
	WriteTimeout   time.Duration `yaml:"write_timeout" help:"longest time one write may wait for a client that does not read"`
	IdleTimeout    time.Duration `yaml:"idle_timeout" help:"how long a connection without a request is kept"`
	RequestTimeout time.Duration `yaml:"request_timeout" help:"deadline of a request, queueing included; X-Baton-Deadline-Ms can only shorten it; 0: none"`
	SSEKeepalive   time.Duration `yaml:"sse_keepalive" help:"send an empty line into a stream that is silent for so long, also before its first token (the status is then 200 whatever follows); go-openai gives up after 300 in a row; 0: never"`
	TimingHeaders  bool          `yaml:"timing_headers" help:"tell clients that send X-Baton-Timing: 1 where the time of their request went and which workers it took"`
	DrainDelay     time.Duration `yaml:"drain_delay" help:"how long to go on accepting after readiness is off, so that load balancers notice"`
	DrainTimeout   time.Duration `yaml:"drain_timeout" help:"how long requests may go on once the server is told to stop"`

	Auth auth.Config `yaml:",inline"`
}

// DefaultConfig suits thousands of clients that wait for a long queue, on this machine: it asks for no key.
func DefaultConfig() Config {
	return Config{
		Listen:        "127.0.0.1:8000",
		MaxBody:       32 << 20,
		MaxHeader:     64 << 10,
		HeaderTimeout: 10 * time.Second,
		BodyTimeout:   30 * time.Second,
		WriteTimeout:  time.Minute,
		IdleTimeout:   2 * time.Minute,
		TimingHeaders: true,
		DrainTimeout:  10 * time.Minute,
	}
}

// Validate reports every fault.
func (c Config) Validate() error {
	var address error
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		address = fmt.Errorf("api.listen is %q, want host:port", c.Listen)
	}
	return errors.Join(
		address,
		config.AtLeast("api.max_body", c.MaxBody, 1),
		config.AtLeast("api.max_header_bytes", c.MaxHeader, 1<<10),
		config.AtLeast("api.header_timeout", c.HeaderTimeout, time.Millisecond),
		config.AtLeast("api.body_timeout", c.BodyTimeout, time.Millisecond),
		config.AtLeast("api.write_timeout", c.WriteTimeout, time.Millisecond),
		config.AtLeast("api.idle_timeout", c.IdleTimeout, time.Millisecond),
		config.AtLeast("api.request_timeout", c.RequestTimeout, 0),
		config.AtLeast("api.sse_keepalive", c.SSEKeepalive, 0),
		config.AtLeast("api.drain_delay", c.DrainDelay, 0),
		config.AtLeast("api.drain_timeout", c.DrainTimeout, 0),
	)
}
