package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/prometheus/client_golang/prometheus"
)

// Each way to be let in, with what is right and what is not.
func TestServerLetsInWhoItKnows(t *testing.T) {
	natsd.DropPooledTimers()
	public, seed := natsdtest.NKey(t)
	_, otherSeed := natsdtest.NKey(t)
	operator, creds := natsdtest.Creds(t)
	_, otherCreds := natsdtest.Creds(t)
	ca, otherCA := natsdtest.NewAuthority(t), natsdtest.NewAuthority(t)
	cert, key := ca.Issue(t, "127.0.0.1")
	otherCert, otherKey := otherCA.Issue(t, "127.0.0.1")
	elsewhereCert, elsewhereKey := ca.Issue(t, "elsewhere.example")
	tlsConf := func(cert, key, more string) string {
		return fmt.Sprintf("tls { cert_file: %q, key_file: %q %s }", cert, key, more)
	}
	mutual := tlsConf(cert, key, fmt.Sprintf(", ca_file: %q, verify: true", ca.File))
	set := func(values ...string) func(*bus.Config) {
		return func(c *bus.Config) {
			for i := 0; i < len(values); i += 2 {
				*map[string]*string{
					"creds": &c.Creds, "nkey": &c.NKey, "user": &c.User, "password": &c.Password, "token": &c.Token,
					"ca": &c.TLSCA, "cert": &c.TLSCert, "key": &c.TLSKey,
				}[values[i]] = values[i+1]
			}
		}
	}
	for name, c := range map[string]struct {
		conf   string
		client func(*bus.Config)
		want   string // of the error; empty: it is let in
	}{
		"password":                      {"authorization { user: u, password: p }", set("user", "u", "password", "p"), ""},
		"wrong password":                {"authorization { user: u, password: p }", set("user", "u", "password", "x"), "nats.password"},
		"nothing":                       {"authorization { user: u, password: p }", set(), "nats.user"},
		"token":                         {"authorization { token: tok }", set("token", "tok"), ""},
		"wrong token":                   {"authorization { token: tok }", set("token", "x"), "nats.token"},
		"nkey":                          {fmt.Sprintf("authorization { users: [{ nkey: %s }] }", public), set("nkey", seed), ""},
		"another's nkey":                {fmt.Sprintf("authorization { users: [{ nkey: %s }] }", public), set("nkey", otherSeed), "nats.nkey"},
		"no nkey file":                  {fmt.Sprintf("authorization { users: [{ nkey: %s }] }", public), set("nkey", "missing.nk"), "nats.nkey"},
		"creds":                         {operator, set("creds", creds), ""},
		"creds of another operator":     {operator, set("creds", otherCreds), "nats.creds"},
		"no creds file":                 {operator, set("creds", "missing.creds"), "nats.creds"},
		"TLS":                           {tlsConf(cert, key, ""), set("ca", ca.File), ""},
		"TLS, wrong authority":          {tlsConf(cert, key, ""), set("ca", otherCA.File), "nats.tls_ca is not the authority"},
		"TLS, authority unknown":        {tlsConf(cert, key, ""), set(), "nats.tls_ca is not the authority"},
		"TLS, another host":             {tlsConf(elsewhereCert, elsewhereKey, ""), set("ca", ca.File), "another host"},
		"TLS, no authority file":        {tlsConf(cert, key, ""), set("ca", "missing.pem"), "nats.tls_"},
		"server without TLS":            {"", set("ca", ca.File), "TLS"},
		"TLS both ways":                 {mutual, set("ca", ca.File, "cert", cert, "key", key), ""},
		"TLS both ways, no certificate": {mutual, set("ca", ca.File), "nats.tls_cert"},
		"TLS both ways, another's":      {mutual, set("ca", ca.File, "cert", otherCert, "key", otherKey), "nats.tls_cert"},
	} {
		t.Run(name, func(t *testing.T) {
			s := natsdtest.Start(t, fmt.Sprintf("%s\njetstream { store_dir: %q, max_memory_store: 8GB }", c.conf, t.TempDir()))
			cfg := bus.DefaultConfig()
			cfg.URL, cfg.ConnectTimeout = s.URL(), 5*time.Second
			if strings.HasSuffix(name, "both ways, another's") {
				cfg.ConnectTimeout = time.Second // the server just hangs up, which might pass
			}
			c.client(&cfg)
			b, err := bus.Connect(t.Context(), cfg, "frontend", nil, prometheus.NewRegistry(), quiet)
			if err == nil {
				defer b.Close()
				_, err = b.Prefill().Publish(t.Context(), job("m", 1))
			}
			switch {
			case c.want == "" && err != nil:
				t.Errorf("not let in: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), s.URL())):
				t.Errorf("Connect = %v, want %q and the server in it", err, c.want)
			case c.want != "" && !strings.Contains(name, "both ways") && strings.Contains(err.Error(), "no success within"):
				t.Errorf("Connect tried again, as if that could help: %v", err)
			}
		})
	}
}

// A server that lets the process in but does not let it do its work is named, with what to do.
func TestMissingPermissionIsNamed(t *testing.T) {
	natsd.DropPooledTimers()
	for name, c := range map[string]struct{ permissions, want string }{
		"nothing allowed":     {`{ publish: { deny: ">" } }`, "$JS.API.INFO"},
		"no streams":          {`{ publish: { deny: "$JS.API.STREAM.>" } }`, "$JS.API.STREAM.CREATE." + "BATON_PREFILL"},
		"replies not allowed": {`{ subscribe: { deny: "baton.inbox.>" } }`, "baton.inbox.frontend"},
	} {
		t.Run(name, func(t *testing.T) {
			s := natsdtest.Start(t, fmt.Sprintf("authorization { users: [{ user: u, password: p, permissions: %s }] }\njetstream { store_dir: %q, max_memory_store: 8GB }", c.permissions, t.TempDir()))
			cfg := bus.DefaultConfig()
			cfg.URL, cfg.User, cfg.Password, cfg.RequestTimeout = s.URL(), "u", "p", 500*time.Millisecond
			_, err := bus.Connect(t.Context(), cfg, "frontend", nil, prometheus.NewRegistry(), quiet)
			if !errors.Is(err, bus.ErrDenied) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "baton nats permissions") {
				t.Errorf("Connect = %v, want what is denied and what to do", err)
			}
		})
	}
}
