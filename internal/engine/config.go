package engine

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Config says how to call an engine, and bounds the calls.
type Config struct {
	APIKey           string        `yaml:"api_key" secret:"true" help:"Key that the engine asks for (vLLM: --api-key), sent as Authorization: Bearer; empty: none. Clients' own keys never reach the engine."`
	TLSCA            string        `yaml:"tls_ca" help:"File of CA certificates that sign the engine's, in place of the system's; for https URLs."`
	TLSCert          string        `yaml:"tls_cert" help:"File of the client certificate, for engines that ask for one."`
	TLSKey           string        `yaml:"tls_key" help:"File of the client certificate's key."`
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
	if (c.TLSCert == "") != (c.TLSKey == "") {
		err = errors.Join(err, errors.New("engine.tls_cert and engine.tls_key: want both or neither"))
	}
	if _, e := c.tls(); e != nil {
		err = errors.Join(err, e)
	}
	if c.MaxAnswerBytes < 1 {
		err = errors.Join(err, fmt.Errorf("engine.max_answer_bytes is %d, want 1 or more", c.MaxAnswerBytes))
	}
	if c.MaxEventBytes < 1 {
		err = errors.Join(err, fmt.Errorf("engine.max_event_bytes is %d, want 1 or more", c.MaxEventBytes))
	}
	return err
}

// tls is how an engine with an https URL is known, and how it knows baton.
func (c Config) tls() (*tls.Config, error) {
	out := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		pem, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return nil, fmt.Errorf("engine.tls_ca: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("engine.tls_ca: %s holds no certificate in PEM", c.TLSCA)
		}
	}
	if c.TLSCert != "" && c.TLSKey != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("engine.tls_cert and engine.tls_key: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}
