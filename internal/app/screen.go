package app

import (
	"fmt"
	"io"
	"net"

	"github.com/baton-llm/baton/internal/wire"
)

// printScreen says once what runs where, what to try, and how to stop.
func printScreen(w io.Writer, cfg *Config, addr net.Addr, d *deployment) {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		port = "8000"
	}
	base := "http://localhost:" + port
	if cfg.API.TLSCert != "" {
		base = "https://localhost:" + port
	}
	nats := "embedded, no port opened"
	if cfg.Embedded.Listen != "" {
		nats = "embedded, " + d.nats.ClientURL()
	}
	fmt.Fprintf(w, `
  baton is up.

    OpenAI endpoint   %s/v1
    model             %s (simulated, profile %s)
    NATS              %s
`, base, cfg.Sim.Model, cfg.Sim.Profile, nats)
	for _, role := range []wire.Role{wire.RolePrefill, wire.RoleDecode, wire.RoleBoth} {
		for _, s := range d.engines {
			if s.role == role {
				fmt.Fprintf(w, "    %-17s engine %s\n", s.worker, s.url())
			}
		}
	}
	key := ""
	if cfg.API.Auth.Configured() {
		key = ` -H "Authorization: Bearer $KEY"`
	}
	fmt.Fprintf(w, `
  Try it:

    curl %s/v1/chat/completions -H "Content-Type: application/json"%s -d '{
      "model": "%s", "max_tokens": 200, "stream": true,
      "messages": [{"role": "user", "content": "Write a quick sort in Python."}]}'

  Stop with Ctrl-C.

`, base, key, cfg.Sim.Model)
}
