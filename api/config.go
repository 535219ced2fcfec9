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
	Listen         string        `yaml:"listen" help:"host:port to serve clients on, over HTTP/1.1 and HTTP/2"`
	TLSCert        string        `yaml:"tls_cert" help:"PEM file of the certificate chain for api.listen; read again when it changes; empty: no TLS"`
	TLSKey         string        `yaml:"tls_key" help:"PEM file of the certificate's private key; read again when it changes"`
	AdminListen    string        `yaml:"admin_listen" help:"host:port for operators, such as 127.0.0.1:9090: /metrics, which then leaves api.listen, the probes, /debug/pprof/ and the admin API, all without TLS; empty: none"`
	AdminKeysFile  string        `yaml:"admin_keys_file" help:"YAML file with the hashes of the keys of operators, in the form of api.keys_file; programs on the frontend's own machine need none to reach api.admin_listen, all others do; empty: nobody else may use the admin API"`
	CORSOrigins    []string      `yaml:"cors_origins" help:"origins whose web pages may call, such as https://chat.example.com; * for every one; empty: none"`
	MaxConnections int           `yaml:"max_connections" help:"most connections of clients at the same time; more wait to be accepted"`
	MaxBody        int           `yaml:"max_body" help:"largest request body in bytes; a larger one gets 413"`
	MaxBodyMemory  int           `yaml:"max_body_memory" help:"most bytes for bodies that are being read, in all requests together; one that finds no room within 5 seconds gets 503"`
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
		Listen:         "127.0.0.1:8000",
		MaxConnections: 20_000,
		MaxBody:        32 << 20,
		MaxBodyMemory:  1 << 30,
		MaxHeader:      64 << 10,
		HeaderTimeout:  10 * time.Second,
		BodyTimeout:    30 * time.Second,
		WriteTimeout:   time.Minute,
		IdleTimeout:    2 * time.Minute,
		TimingHeaders:  true,
		DrainTimeout:   10 * time.Minute,
	}
}

// Validate reports every fault.
func (c Config) Validate() error {
	return errors.Join(
		checkAddress("api.listen", c.Listen),
		c.checkAdmin(),
		c.checkTLS(),
		checkOrigins(c.CORSOrigins),
		config.AtLeast("api.max_connections", c.MaxConnections, 1),
		config.AtLeast("api.max_body", c.MaxBody, 1),
		config.AtLeast("api.max_body_memory", c.MaxBodyMemory, memoryFor(c.MaxBody)),
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

func checkAddress(name, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return fmt.Errorf("%s is %q, want host:port", name, address)
	}
	return nil
}

func (c Config) checkAdmin() error {
	if c.AdminListen == "" {
		return nil
	}
	return checkAddress("api.admin_listen", c.AdminListen)
}
