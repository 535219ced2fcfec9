package api

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/baton-llm/baton/router"
)

// pemFile is a certificate for 127.0.0.1 under the given name, or its key.
type pemFile struct{ path, text string }

func certificate(t *testing.T, dir, name string) (cert, key pemFile) {
	t.Helper()
	secret, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &secret.PublicKey, secret)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(secret)
	if err != nil {
		t.Fatal(err)
	}
	return pemFile{filepath.Join(dir, "tls.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}))},
		pemFile{filepath.Join(dir, "tls.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))}
}

func (f pemFile) write(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(f.path, []byte(f.text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTLSSpeaksBothVersionsOfHTTP(t *testing.T) {
	cert, key := certificate(t, t.TempDir(), "first")
	cert.write(t)
	key.write(t)
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return newScript(nil, "{}"), nil }}
	h := start(t, r, oneModel, func(c *Config) { c.TLSCert, c.TLSKey = cert.path, key.path })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(cert.text))
	for _, major := range []int{1, 2} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(major == 1)
		transport.Protocols.SetHTTP2(major == 2)
		req := h.request(t, "POST", chatPath, chatSSE)
		req.URL.Scheme = "https"
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if text := readAll(t, resp); resp.ProtoMajor != major || text != "data: {}\n\ndata: [DONE]\n\n" {
			t.Errorf("answer is %s %q, want HTTP/%d", resp.Proto, text, major)
		}
		transport.CloseIdleConnections()
	}
	old := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	if conn, err := old.DialContext(t.Context(), "tcp", h.addr); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 was taken")
	}
}

// certificate is the name of the certificate that a new connection gets.
func (h *harness) certificate(t *testing.T) string {
	t.Helper()
	plain, err := h.dial(t.Context(), "tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(plain, &tls.Config{InsecureSkipVerify: true}) // the name is what is asked for
	defer func() { _ = conn.Close() }()
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func TestTLSFilesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cert, key := certificate(t, dir, "first")
		cert.write(t)
		key.write(t)
		h := startVirtual(t, failing(errors.New("called")), oneModel, func(c *Config) { c.TLSCert, c.TLSKey = cert.path, key.path })
		expect := func(when, want string, complaints int) {
			t.Helper()
			for range 3 {
				time.Sleep(keyPairAge)
				if got := h.certificate(t); got != want {
					t.Errorf("%s the certificate is %q, want %q", when, got, want)
				}
			}
			if got := strings.Count(h.log.String(), "new TLS certificate not taken"); got != complaints {
				t.Errorf("%s the log complains %d times, want %d:\n%s", when, got, complaints, h.log)
			}
		}
		expect("at first", "first", 0)
		second, secondKey := certificate(t, dir, "second")
		second.write(t)
		expect("with the new certificate and the old key", "first", 1)
		secondKey.write(t)
		expect("with the new pair", "second", 1)
		pemFile{cert.path, "no PEM"}.write(t)
		expect("with a broken file", "second", 2)
		if err := os.Remove(cert.path); err != nil {
			t.Fatal(err)
		}
		expect("without a file", "second", 3)
		cert.write(t)
		key.write(t)
		expect("with the first pair again", "first", 3)
	})
}

func TestTLSNeedsAPairToStart(t *testing.T) {
	cfg := DefaultConfig()
	cfg.TLSCert, cfg.TLSKey = filepath.Join(t.TempDir(), "none.crt"), "none.key"
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(cfg, Deps{Fleet: oneModel, Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err := s.Serve(t.Context(), ln); err == nil || !strings.Contains(err.Error(), "api.tls_cert") || !strings.Contains(err.Error(), "none.crt") {
		t.Errorf("Serve = %v, want an error that names the setting and the file", err)
	}
	if conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("the listener was left open")
	}
}
