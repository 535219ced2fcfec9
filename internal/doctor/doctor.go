// Package doctor looks at a deployment from outside and says what is wrong with it and what to change: this machine,
// NATS, baton's streams, its processes and their engines. It changes nothing, and every look has a bound. What the
// settings mean is their packages' matter.
package doctor

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

// Subject is what is looked at: settings as the processes have them, and engines that no worker announces.
type Subject struct {
	NATS    bus.Config
	Fleet   fleet.Config
	Engine  engine.Config
	Mode    schedule.Mode
	Window  int           // schedule.prefill_window
	Lease   time.Duration // that workers count on: prefill.lease
	Batch   int           // up.decode_batch: what an engine may have that computes prompts beside answers
	Chunk   int           // up.decode_chunk, likewise
	Role    wire.Role     // whose NATS permissions are tried: those of the user in NATS
	Engines []string      // URLs
	Version string        // of this program

	Listen time.Duration // for processes that answer a hello; they do so at once

	Connections int   // most that one frontend takes
	Memory      int64 // most bytes that one frontend holds

	InProcess interface{ InProcessConn() (net.Conn, error) } // a NATS server of this process; nil: NATS.URL
	Dial      func(ctx context.Context, network, addr string) (net.Conn, error)
}

// most times of one look.
const (
	connectTime = 5 * time.Second
	askTime     = 2 * time.Second // of one request to the server
	engineTime  = 10 * time.Second
)

// Examine looks at everything, for as long as ctx lets it.
func Examine(ctx context.Context, s Subject) *Report {
	r := &Report{}
	machine(r, &s)
	log := slog.New(slog.DiscardHandler) // all that is worth a word is a finding
	urls := s.urls()
	if b := connect(ctx, r, &s, log); b != nil {
		defer b.Close()
		server(ctx, r, b)
		streams(ctx, r, &s, b)
		permissions(ctx, r, &s, b)
		urls = processes(ctx, r, &s, b, log)
	}
	engines(ctx, r, &s, urls, log)
	return r
}

// connect returns nil, and a finding, if there is no way to NATS.
func connect(ctx context.Context, r *Report, s *Subject, log *slog.Logger) *bus.Bus {
	cfg := s.NATS
	cfg.ConnectTimeout = min(cfg.ConnectTimeout, connectTime)
	cfg.RequestTimeout = min(cfg.RequestTimeout, askTime)
	b, err := bus.Dial(ctx, cfg, string(s.Role), s.InProcess, telemetry.Registry(), log)
	if err != nil {
		r.problem(aboutNATS, err.Error(), "run a server (baton nats, or nats-server -js), or say where it is: --nats nats://HOST:4222")
		return nil
	}
	return b
}

// Report is what was found, in the order in which it was looked for. Its methods are safe for concurrent use.
type Report struct {
	mu       sync.Mutex
	findings []Finding
}

// Level says how much a finding matters.
type Level string

// The levels.
const (
	OK      Level = "ok"
	Warning Level = "warning" // works, and not as well or as safely as it could
	Problem Level = "problem" // requests fail, or will
)

// Finding is one line of a report.
type Finding struct {
	Level Level  `json:"level"`
	About string `json:"about"`
	Found string `json:"found"`
	Fix   string `json:"fix,omitempty"` // a command or a setting; empty: nothing is to be done
}

func (r *Report) add(f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.Found = strings.ReplaceAll(f.Found, "\n", "; ") // joined errors
	r.findings = append(r.findings, f)
}

func (r *Report) ok(about, found string) { r.add(Finding{Level: OK, About: about, Found: found}) }

func (r *Report) warn(about, found, fix string) {
	r.add(Finding{Level: Warning, About: about, Found: found, Fix: fix})
}

func (r *Report) problem(about, found, fix string) {
	r.add(Finding{Level: Problem, About: about, Found: found, Fix: fix})
}

// Findings returns what was found.
func (r *Report) Findings() []Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.findings
}

// Count returns how many findings are of a level.
func (r *Report) Count(level Level) (n int) {
	for _, f := range r.Findings() {
		if f.Level == level {
			n++
		}
	}
	return n
}

// Print writes the report for people.
func (r *Report) Print(out io.Writer) error {
	var text strings.Builder
	about := ""
	for _, f := range r.Findings() {
		if f.About != about {
			about = f.About
			fmt.Fprintln(&text, about)
		}
		fmt.Fprintf(&text, "  %-8s %s\n", f.Level, f.Found)
		if f.Fix != "" {
			fmt.Fprintf(&text, "           → %s\n", f.Fix)
		}
	}
	fmt.Fprintf(&text, "\n%d ok, %d to be warned of, %d problems\n", r.Count(OK), r.Count(Warning), r.Count(Problem))
	_, err := io.WriteString(out, text.String())
	return err
}
