package auth

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// Config says where the API keys are.
type Config struct {
	KeysFile     string  `yaml:"keys_file" help:"YAML file with the hashes of API keys (docs/auth.md); it is read again when it changes"`
	Keys         Secrets `yaml:"keys" secret:"true" help:"API keys without limits, separated by commas; best set in the variable, where no process list shows them"`
	InsecureOpen bool    `yaml:"insecure_open" help:"serve everyone who reaches api.listen, without keys, although it is no loopback address"`
}

// Configured tells whether requests need a key.
func (c Config) Configured() bool { return c.KeysFile != "" || len(c.Keys) > 0 }

// CheckOpen refuses to serve without keys where others than this machine's users can connect.
func (c Config) CheckOpen(listen string) error {
	if c.Configured() || c.InsecureOpen || loopback(listen) {
		return nil
	}
	return fmt.Errorf("api.listen is %q, which other machines may reach, and no API key is configured; name a file of keys "+
		"(--api.keys_file FILE, filled by `baton keys new`), or set keys in BATON_API_KEYS, or let everyone in with --insecure-open (api.insecure_open); "+
		"or listen on 127.0.0.1", listen)
}

// loopback takes a name other than localhost for reachable: what it resolves to may change.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && addr.Unmap().IsLoopback())
}

// Secrets are API keys that came in plain text, of which only the digests are kept.
type Secrets []Digest

// UnmarshalText reads keys that are separated by commas or blanks.
func (s *Secrets) UnmarshalText(text []byte) error {
	var faults []error
	*s = nil
	for key := range strings.FieldsFuncSeq(string(text), func(r rune) bool { return r == ',' || r <= ' ' }) {
		faults = append(faults, CheckKey(key))
		*s = append(*s, DigestOf(key))
	}
	return errors.Join(faults...)
}

// MarshalText says how many there are, for people: a digest does not lead back to its key.
func (s Secrets) MarshalText() ([]byte, error) {
	if len(s) == 0 {
		return nil, nil
	}
	return fmt.Appendf(nil, "%d hidden", len(s)), nil
}
