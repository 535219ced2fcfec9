package app

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
)

// process is what every part of one operating-system process shares.
type process struct {
	cfg    *Config
	log    *slog.Logger
	reg    *prometheus.Registry
	tracer trace.Tracer
	bus    *bus.Bus
	begun  time.Time
	admin  net.Listener                // for operators of the frontend; nil: as api.admin_listen says
	flush  func(context.Context) error // of the tracer
	single bool                        // its one worker may end it
	near   relay.Near                  // the frontend of this process
	next   *worker.Handover            // to the decode workers
}

// inProcess opens connections to a NATS server in this process.
type inProcess interface {
	InProcessConn() (net.Conn, error)
}

// flushTime bounds the sending of the last spans.
const flushTime = time.Second

// open connects a process to NATS: to inproc if it is not nil, else to nats.url.
func open(ctx context.Context, cfg *Config, role string, inproc inProcess, logs io.Writer) (*process, error) {
	p := &process{cfg: cfg, log: telemetry.Logger(cfg.Log, logs), reg: telemetry.Registry(), begun: time.Now()}
	provider, flush, err := telemetry.Tracing(ctx, cfg.Tracing)
	if err != nil {
		return nil, fmt.Errorf("start tracing: %w", err)
	}
	p.tracer, p.flush = provider.Tracer("baton"), flush
	connect := bus.Join
	if role == string(wire.RoleFrontend) || inproc != nil {
		connect = bus.Connect // its settings of the queues are those that count
	}
	if p.bus, err = connect(ctx, cfg.NATS, role, inproc, p.reg, p.log); err != nil {
		p.closeTracing()
		return nil, err
	}
	p.next = worker.NewHandover(p.bus.Decode())
	return p, nil
}

// close ends what open began.
func (p *process) close() {
	p.bus.Close()
	p.closeTracing()
}

func (p *process) closeTracing() {
	ctx, cancel := context.WithTimeout(context.Background(), flushTime)
	defer cancel()
	if err := p.flush(ctx); err != nil {
		p.log.Warn("last spans not sent", slog.Any("error", err))
	}
}

// newID names one start of one part, such as decode-7f3kq2ab: a process that comes back is another.
// name (nats.name) goes before role.
func newID(name string, role wire.Role) string {
	return wire.ProcessID(cmp.Or(name, string(role)), strings.ToLower(rand.Text()[:8]))
}
