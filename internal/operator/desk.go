// Package operator is what people ask of running processes over NATS: which workers there are, what waits, and that a
// worker act in another role or take no more work; and of one frontend over its admin API: its requests, and that one end.
// It asks those whose matter it is, and changes nothing behind their backs.
package operator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"text/tabwriter"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

// answerTime is how long one listens for those who answer a hello; they do so at once.
const answerTime = time.Second

// Desk is an operator's connection to a deployment.
type Desk struct {
	bus *bus.Bus
	cfg fleet.Config
	log *slog.Logger
}

// Open connects to NATS, to inproc if it is not nil. The caller must Close the desk.
func Open(ctx context.Context, nats bus.Config, cfg fleet.Config, inproc interface{ InProcessConn() (net.Conn, error) }, log *slog.Logger) (*Desk, error) {
	b, err := bus.Dial(ctx, nats, string(bus.Operator), inproc, telemetry.Registry(), log)
	if err != nil {
		return nil, err
	}
	return &Desk{bus: b, cfg: cfg, log: log}, nil
}

// Close ends the connection.
func (d *Desk) Close() { d.bus.Close() }

// fleet returns who answers a hello.
func (d *Desk) fleet(ctx context.Context) (*fleet.Fleet, error) {
	all := fleet.New(d.bus, d.cfg, telemetry.Registry(), d.log)
	listen, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := all.Run(listen); err != nil {
		return nil, err
	}
	return all, ctx.Err()
}

// warnOfMissing says what keeps requests from being served now.
func (d *Desk) warnOfMissing(ctx context.Context, out io.Writer) error {
	all, err := d.fleet(ctx)
	if err != nil {
		return err
	}
	for _, m := range all.Missing() {
		fmt.Fprintf(out, "warning: there is %s now\n", m)
	}
	return nil
}

// table writes rows of cells that tabs separate, in columns.
func table(out io.Writer, rows func(tab io.Writer)) error {
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	rows(tab)
	return tab.Flush()
}

// percent is used of most; a dash where there is no bound.
func percent(used, most int) string {
	if most <= 0 {
		return "-"
	}
	return fmt.Sprintf("%d%%", (100*used+most/2)/most)
}

// isWorker tells a worker from a frontend.
func isWorker(a *wire.Announcement) bool { return a.Role != wire.RoleFrontend }
