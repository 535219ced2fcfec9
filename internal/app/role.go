package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

// answerTime is how long one listens for those who answer a hello; they do so at once.
const answerTime = time.Second

// ListWorkers prints what workers there are, what they do and how much they have.
func ListWorkers(ctx context.Context, cfg *Config, out, logs io.Writer) error {
	return onBus(ctx, cfg, nil, logs, func(b *bus.Bus) error { return listWorkers(ctx, b, cfg, out, logs) })
}

// SetRole has a worker act in another role, and says what is then missing.
func SetRole(ctx context.Context, cfg *Config, worker string, role wire.Role, out, logs io.Writer) error {
	return onBus(ctx, cfg, nil, logs, func(b *bus.Bus) error { return setRole(ctx, b, cfg, worker, role, out, logs) })
}

// onBus calls f with a connection that leaves the queues alone.
func onBus(ctx context.Context, cfg *Config, inproc inProcess, logs io.Writer, f func(*bus.Bus) error) error {
	b, err := bus.Dial(ctx, cfg.NATS, "operator", inproc, telemetry.Registry(), telemetry.Logger(cfg.Log, logs))
	if err != nil {
		return err
	}
	defer b.Close()
	return f(b)
}

func setRole(ctx context.Context, b *bus.Bus, cfg *Config, worker string, role wire.Role, out, logs io.Writer) error {
	was, err := b.Request(ctx, wire.RoleSubject(worker), []byte(role))
	if errors.Is(err, bus.ErrNoResponder) {
		return fmt.Errorf("no worker %s answers; baton role lists those that do", worker)
	}
	if err != nil {
		return fmt.Errorf("have %s act as %s: %w", worker, role, err)
	}
	fmt.Fprintf(out, "%s acts as %s now, before as %s\n", worker, role, was)
	all, err := hearFleet(ctx, b, cfg, logs)
	if err != nil {
		return err
	}
	for _, m := range all.Missing() {
		fmt.Fprintf(out, "warning: there is %s now\n", m)
	}
	return nil
}

func listWorkers(ctx context.Context, b *bus.Bus, cfg *Config, out, logs io.Writer) error {
	all, err := hearFleet(ctx, b, cfg, logs)
	if err != nil {
		return err
	}
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tab, "WORKER\tROLE\tSTATE\tRUNNING\tTOKENS\tCAPACITY\tHANDLES\tENGINE")
	for _, a := range all.Workers() {
		if a.Role != wire.RoleFrontend {
			fmt.Fprintf(tab, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\n", a.ID, a.Role, fleet.State(&a), a.Load.Running, a.Load.Tokens, a.Load.Capacity, a.Load.Handles, a.Engine)
		}
	}
	return tab.Flush()
}

// hearFleet returns who answers a hello.
func hearFleet(ctx context.Context, b *bus.Bus, cfg *Config, logs io.Writer) (*fleet.Fleet, error) {
	all := fleet.New(b, cfg.Fleet, telemetry.Registry(), telemetry.Logger(cfg.Log, logs))
	listen, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	if err := all.Run(listen); err != nil {
		return nil, err
	}
	return all, ctx.Err()
}
