package main

import (
	"cmp"
	"fmt"
	"os"

	"golang.org/x/term"

	"github.com/baton-llm/baton/internal/operator"
)

// adminFlags are what the commands share that ask one frontend over its admin API.
type adminFlags struct {
	Admin    string `env:"BATON_ADMIN" placeholder:"ADDR" help:"Admin listener of the frontend; default: api.admin_listen of the settings, or up.ui (127.0.0.1:9090)."`
	AdminKey string `env:"BATON_ADMIN_KEY" placeholder:"KEY" help:"Operator's key; from the frontend's own machine none is needed. Better in the variable, where no list of processes shows it."`
}

// adminVars are the variables of adminFlags.
var adminVars = []string{"BATON_ADMIN", "BATON_ADMIN_KEY"}

func (a *adminFlags) open(s *session) (*operator.Admin, error) {
	return operator.NewAdmin(cmp.Or(a.Admin, s.cfg.API.AdminListen, s.cfg.Up.UI, "127.0.0.1:9090"), a.AdminKey, nil)
}

type topCommand struct {
	adminFlags
}

// Run draws until q or Ctrl-C; where the output is no terminal it prints what is now.
func (c *topCommand) Run(s *session) error {
	admin, err := c.open(s)
	if err != nil {
		return err
	}
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	if !term.IsTerminal(in) || !term.IsTerminal(out) {
		return admin.Once(s.ctx, s.out)
	}
	was, err := term.MakeRaw(in)
	if err != nil {
		return fmt.Errorf("read keys: %w", err)
	}
	defer term.Restore(in, was) //nolint:errcheck // Nothing is left to be done about it.
	return admin.Watch(s.ctx, operator.Screen{Out: s.out, Keys: os.Stdin, Size: func() (width, height int) {
		width, height, _ = term.GetSize(out) // not known: not bounded
		return width, height
	}})
}

type requestsCommand struct {
	adminFlags
	jsonFlag

	State  string `enum:",queued,prefilling,handed,decoding,done,failed,cancelled" default:"" placeholder:"STATE" help:"Only those: queued, prefilling, handed or decoding; with --ended done, failed or cancelled."`
	Class  string `enum:",interactive,standard,batch" default:"" placeholder:"CLASS" help:"Only those of the class: interactive, standard or batch."`
	Tenant string `placeholder:"NAME" help:"Only those of the tenant."`
	Model  string `placeholder:"NAME" help:"Only those for the model."`
	Worker string `placeholder:"NAME" help:"Only those that the worker has or had a part in."`
	Ended  bool   `help:"Those that ended last, in place of those that run."`
}

// Run lists requests.
func (c *requestsCommand) Run(s *session) error {
	admin, err := c.open(s)
	if err != nil {
		return err
	}
	state, err := admin.State(s.ctx)
	if err != nil {
		return err
	}
	filter := operator.RequestFilter{State: c.State, Class: c.Class, Tenant: c.Tenant, Model: c.Model, Worker: c.Worker, Ended: c.Ended}
	requests := filter.Select(&state.Requests)
	if c.JSON {
		return s.asJSON(requests)
	}
	err = operator.PrintRequests(s.out, requests)
	if left := state.Requests.ActiveLeftOff; err == nil && left > 0 && !c.Ended {
		fmt.Fprintf(s.out, "%d younger requests are not looked at; a frontend lists the %d longest waiting\n", left, len(state.Requests.Active))
	}
	return err
}

type cancelCommand struct {
	adminFlags

	ID string `arg:"" help:"Request, as baton requests lists it; X-Request-Id of its answer."`
}

// Run ends a request of the frontend that is asked.
func (c *cancelCommand) Run(s *session) error {
	admin, err := c.open(s)
	if err != nil {
		return err
	}
	if err := admin.Cancel(s.ctx, c.ID); err != nil {
		return fmt.Errorf("cancel %s: %w", c.ID, err)
	}
	fmt.Fprintf(s.out, "%s is cancelled\n", c.ID)
	return nil
}
