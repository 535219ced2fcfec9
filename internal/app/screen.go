package app

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"

	"github.com/baton-llm/baton/internal/wire"
	"golang.org/x/term"
)

// isTerminal tells whether what is written to w is drawn for a person.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// model is what clients call the model of `baton up`; engines that others run have to be asked.
func (c *Config) model() string {
	if c.Up.Engine == engineVLLM {
		return c.VLLM.ServedName()
	}
	return c.Sim.Model
}

// baseURL is the OpenAI endpoint, without /v1, as this machine reaches it.
func baseURL(cfg *Config, addr net.Addr) string {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		port = "8000"
	}
	if cfg.API.TLSCert != "" {
		return "https://localhost:" + port
	}
	return "http://localhost:" + port
}

// ui is the URL of the page for operators; empty: there is none.
func (d *deployment) ui() string {
	if d.proc.admin == nil {
		return ""
	}
	addr := d.proc.admin.Addr().String()
	if tcp, ok := d.proc.admin.Addr().(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		addr = "localhost:" + strconv.Itoa(tcp.Port)
	}
	return "http://" + addr + "/ui"
}

// printScreen says once what runs where, what to try, and how to stop.
func printScreen(w io.Writer, cfg *Config, addr net.Addr, d *deployment, model string) {
	base := baseURL(cfg, addr)
	nats := "embedded, no port opened"
	if cfg.Embedded.Listen != "" {
		nats = "embedded, " + d.nats.ClientURL()
	}
	what := fmt.Sprintf("%s (simulated, profile %s)", model, cfg.Sim.Profile)
	switch cfg.Up.Engine {
	case engineVLLM:
		what = fmt.Sprintf("%s (vLLM on %s)", model, cfg.VLLM.Device)
	case engineExternal:
		what = model
	}
	fmt.Fprintf(w, `
  baton is up.

    OpenAI endpoint   %s/v1
    model             %s
    NATS              %s
`, base, what, nats)
	if ui := d.ui(); ui != "" {
		fmt.Fprintf(w, "    live view         %s\n", ui)
	}
	for _, f := range d.fronts() {
		fmt.Fprintf(w, "    %-17s engine %s\n", f.worker, f.url)
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

`, base, key, model)
}

// readiness is the content of up.ready_file, for programs that start baton.
type readiness struct {
	URL     string        `json:"url"`          // of the OpenAI endpoint, without /v1
	UI      string        `json:"ui,omitempty"` // of the page for operators
	Model   string        `json:"model"`
	PID     int           `json:"pid"`
	Engines []readyEngine `json:"engines"`
}

type readyEngine struct {
	Name   string    `json:"name"`
	Role   wire.Role `json:"role"`
	Worker string    `json:"worker"`
	URL    string    `json:"url"`
}

// writeReady writes up.ready_file, at once as a whole.
func writeReady(cfg *Config, addr net.Addr, d *deployment, model string) error {
	file := cfg.Up.ReadyFile
	if file == "" {
		return nil
	}
	r := readiness{URL: baseURL(cfg, addr), UI: d.ui(), Model: model, PID: os.Getpid()}
	for _, f := range d.fronts() {
		r.Engines = append(r.Engines, readyEngine{Name: f.engine, Role: f.role, Worker: f.worker, URL: f.url})
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".part", append(text, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(file+".part", file)
}
