package main

import (
	"context"
	"errors"
	"time"

	"github.com/baton-llm/baton/internal/doctor"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

// doctorCommand is the flags of `baton doctor`.
type doctorCommand struct {
	Engine  []string      `placeholder:"URL" help:"Engine to look at, beside those that workers announce; again for each more."`
	As      string        `enum:"frontend,prefill,decode,both,operator" default:"operator" help:"Role whose NATS permissions this command's user shall have."`
	Timeout time.Duration `default:"30s" help:"Longest time of all."`
	JSON    bool          `name:"json" help:"Print the findings as JSON."`
}

var errProblems = errors.New("there are problems")

// Run prints what was found; a problem is an error.
func (d *doctorCommand) Run(s *session) error {
	ctx, cancel := context.WithTimeout(s.ctx, d.Timeout)
	defer cancel()
	cfg := s.cfg
	report := doctor.Examine(ctx, doctor.Subject{
		NATS: cfg.NATS, Fleet: cfg.Fleet, Engine: cfg.Engine,
		Mode: cfg.Schedule.Mode, Window: cfg.Schedule.PrefillWindow, Lease: cfg.Prefill.Lease, Batch: cfg.Up.DecodeBatch, Chunk: cfg.Up.DecodeChunk,
		Role: wire.Role(d.As), Engines: d.Engine, Version: telemetry.Version(), Listen: time.Second,
		Connections: cfg.API.MaxConnections,
		Memory:      int64(cfg.Router.All.Bytes) + int64(cfg.API.MaxBodyMemory) + int64(cfg.Dispatch.LookAheadBytes) + int64(cfg.Router.LingerBytes),
	})
	var err error
	if d.JSON {
		err = s.asJSON(report.Findings())
	} else {
		err = report.Print(s.out)
	}
	if err == nil && report.Count(doctor.Problem) > 0 {
		err = errProblems
	}
	return err
}
