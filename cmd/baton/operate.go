package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/operator"
	"github.com/baton-llm/baton/internal/telemetry"
)

// operatorCommands are what operators run beside a deployment. Each has its own Run.
type operatorCommands struct {
	Doctor   doctorCommand   `cmd:"" group:"Operate" help:"Look at everything that a deployment needs, and say what is wrong and what to change."`
	Workers  workersCommand  `cmd:"" group:"Operate" help:"List the workers: what they do, whether they are ready and why not, and how much they have."`
	Role     roleCommand     `cmd:"" group:"Operate" help:"List workers, or have one act in another role."`
	Drain    drainCommand    `cmd:"" group:"Operate" help:"Have a worker take no more work, finish what it has, and end."`
	Undrain  undrainCommand  `cmd:"" group:"Operate" help:"Have a worker that was drained with --keep take work again."`
	Top      topCommand      `cmd:"" group:"Operate" help:"Show a frontend's deployment live: workers, queues and requests."`
	Requests requestsCommand `cmd:"" group:"Operate" help:"List the requests of a frontend that run, and where their time went."`
	Cancel   cancelCommand   `cmd:"" group:"Operate" help:"End a request."`
	Queue    queueCommand    `cmd:"" group:"Operate" help:"Show or empty the queues."`
}

// session is one run of an operator's command.
type session struct {
	ctx  context.Context //nolint:containedctx // of the one command that the session is
	cfg  *app.Config
	out  io.Writer
	logs io.Writer
}

// atDesk calls f with a connection to the deployment.
func (s *session) atDesk(f func(*operator.Desk) error) error {
	desk, err := operator.Open(s.ctx, s.cfg.NATS, s.cfg.Fleet, nil, telemetry.Logger(s.cfg.Log, s.logs))
	if err != nil {
		return err
	}
	defer desk.Close()
	return f(desk)
}

// asJSON writes v for programs.
func (s *session) asJSON(v any) error {
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// jsonFlag is what the commands that list something share.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print JSON."`
}
