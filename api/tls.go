package api

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// keyPairAge is how old what is known of the files may be when a connection begins.
const keyPairAge = time.Second

func (c Config) checkTLS() error {
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return errors.New("api.tls_cert and api.tls_key go together: set both or neither")
	}
	return nil
}

// keyPair is a certificate with its key in two files, which may be replaced at any time. It reads
// them itself when a connection begins: nothing has to be told, and no goroutine waits for it. It
// is safe for concurrent use.
type keyPair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	seen    pemFiles  // when they were last read
	read    time.Time // when that was
}

// pemFiles is what the two files held, or why they could not be read.
type pemFiles struct{ cert, key, fault string }

func readPEM(certFile, keyFile string) pemFiles {
	cert, certErr := os.ReadFile(certFile)
	key, keyErr := os.ReadFile(keyFile)
	if err := errors.Join(certErr, keyErr); err != nil {
		return pemFiles{fault: err.Error()}
	}
	return pemFiles{cert: string(cert), key: string(key)}
}

// loadKeyPair fails unless the files hold a pair now.
func loadKeyPair(certFile, keyFile string, log *slog.Logger) (*keyPair, error) {
	p := &keyPair{certFile: certFile, keyFile: keyFile, log: log}
	if err := p.reload(time.Now()); err != nil {
		return nil, fmt.Errorf("load api.tls_cert and api.tls_key: %w", err)
	}
	return p, nil
}

// config is for a server that speaks HTTP/2 and HTTP/1.1; the server adds the names for ALPN.
func (p *keyPair) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12, // RFC 9325; older ones are broken
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.get(time.Now()), nil },
	}
}

// get returns the pair to use. What the files hold counts once it is whole: in the midst of a
// replacement, or after a bad one, that is the old pair.
func (p *keyPair) get(now time.Time) *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.read) >= keyPairAge {
		if err := p.reload(now); err != nil {
			p.log.Error("new TLS certificate not taken; the old one stays in use", slog.Any("error", err))
		}
	}
	return p.current
}

// reload reports each state of the files once. It needs the lock.
func (p *keyPair) reload(now time.Time) error {
	seen := readPEM(p.certFile, p.keyFile)
	p.read = now
	if seen == p.seen {
		return nil
	}
	p.seen = seen
	if seen.fault != "" {
		return errors.New(seen.fault)
	}
	pair, err := tls.X509KeyPair([]byte(seen.cert), []byte(seen.key))
	if err != nil {
		return fmt.Errorf("%s with %s: %w", p.certFile, p.keyFile, err)
	}
	if p.current != nil {
		p.log.Info("new TLS certificate taken", slog.Time("not_after", pair.Leaf.NotAfter))
	}
	p.current = &pair
	return nil
}
