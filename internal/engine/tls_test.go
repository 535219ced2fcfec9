package engine_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
)

func TestConnectionsBehindTLSAreUsedAgain(t *testing.T) {
	ca := natsdtest.NewAuthority(t)
	cert, key := ca.Issue(t, "127.0.0.1")
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var opened atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // a server that has begun its answer reads no more of the request
		_, _ = w.Write(body)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{own}}
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			opened.Add(1)
		}
	}
	server.StartTLS()
	defer server.Close()
	cfg := engine.DefaultConfig()
	cfg.TLSCA = ca.File
	client := engine.New(server.URL, cfg, nil, nil, quiet)
	defer client.Close()
	for _, size := range []int{10, 100_000, 10} {
		if got, err := client.Post(bounded(t), engine.Call{Path: "/", Body: make([]byte, size)}); err != nil || len(got) != size {
			t.Errorf("Post = %d bytes, %v; want %d", len(got), err, size)
		}
	}
	if n := opened.Load(); n != 1 {
		t.Errorf("three calls took %d connections, want 1", n)
	}
	server.CloseClientConnections()
	if _, err := client.Post(bounded(t), call); err != nil {
		t.Errorf("Post after the engine closed = %v, want it on a new connection", err)
	}
}

// An engine behind TLS is called if its authority is the configured one, and with a certificate if it asks.
func TestEngineBehindTLS(t *testing.T) {
	ca, other := natsdtest.NewAuthority(t), natsdtest.NewAuthority(t)
	cert, key := ca.Issue(t, "127.0.0.1")
	own, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	for name, c := range map[string]struct {
		asks   tls.ClientAuthType
		change func(*engine.Config)
		want   string // of the error; empty: none
	}{
		"its authority":         {tls.NoClientCert, func(c *engine.Config) { c.TLSCA = ca.File }, ""},
		"another authority":     {tls.NoClientCert, func(c *engine.Config) { c.TLSCA = other.File }, "unknown authority"},
		"the system's":          {tls.NoClientCert, func(*engine.Config) {}, "unknown authority"},
		"both ways":             {tls.RequireAndVerifyClientCert, func(c *engine.Config) { c.TLSCA, c.TLSCert, c.TLSKey = ca.File, cert, key }, ""},
		"both ways, without it": {tls.RequireAndVerifyClientCert, func(c *engine.Config) { c.TLSCA = ca.File }, "certificate required"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{own}, ClientAuth: c.asks, ClientCAs: pool}
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			defer server.Close()
			cfg := engine.DefaultConfig()
			c.change(&cfg)
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			client := engine.New(server.URL, cfg, nil, nil, quiet)
			defer client.Close()
			_, err := client.Post(bounded(t), call)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("Post = %v, want %q", err, c.want)
			}
		})
	}
	bad := engine.DefaultConfig()
	bad.TLSCA, bad.TLSCert = key, cert
	if err := bad.Validate(); err == nil || !strings.Contains(err.Error(), "engine.tls_ca") || !strings.Contains(err.Error(), "engine.tls_key") {
		t.Errorf("Validate = %v, want both faults by name", err)
	}
}
