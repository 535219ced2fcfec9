package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/baton-llm/baton/internal/chaos"
)

// chaosCommand is the flags of `baton chaos`.
type chaosCommand struct {
	chaos.Config `embed:""`

	JSON bool `name:"json" help:"Print the report as JSON."`
}

var errPromiseBroken = errors.New("the promise was broken")

// run prints the report; a broken promise is an error.
func (c *chaosCommand) run(ctx context.Context, out, progress io.Writer) error {
	cfg, temporary := c.Config, c.Dir == ""
	if cfg.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		cfg.Binary = self
	}
	report, err := chaos.Run(ctx, cfg, func(line string) { fmt.Fprintln(progress, line) })
	if err != nil {
		return err
	}
	if c.JSON {
		err = json.NewEncoder(out).Encode(report)
	} else {
		err = report.Print(out)
	}
	if err == nil && !report.Kept() {
		err = errPromiseBroken
	} else if err == nil && temporary {
		err = os.RemoveAll(report.Dir)
	}
	return err
}
