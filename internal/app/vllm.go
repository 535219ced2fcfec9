package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/supervise"
	"github.com/baton-llm/baton/internal/vllm"
)

// supervised is one vLLM below this process, and the worker in front of it.
type supervised struct {
	worker string
	engine vllm.Engine
	child  *supervise.Child
}

// addVLLM plans the engines and looks at the machine; run starts them.
func (d *deployment) addVLLM(ctx context.Context, board *supervise.Board) error {
	cfg := d.proc.cfg
	plan := &cfg.VLLM
	engines, err := plan.Engines(cfg.Up.counts())
	if err != nil {
		return err
	}
	command, err := plan.Check(ctx, len(engines))
	if err != nil {
		return fmt.Errorf("vLLM cannot be started here:\n%w", err)
	}
	bounds := &vllm.Bounds{
		PrefillBatch: cfg.Up.PrefillBatch, DecodeBatch: cfg.Up.DecodeBatch, DecodeChunk: cfg.Up.DecodeChunk,
		Slots: cfg.Decode.Slots, Lease: cfg.Prefill.Lease, APIKey: cfg.Engine.APIKey,
	}
	d.board = board
	for _, e := range engines {
		set, unset := plan.Environment(&e, bounds)
		// Its calls are not those of the worker and are not counted with them.
		client := engine.New(e.URL(), cfg.Engine, d.network.dial, nil, d.proc.log)
		spec := supervise.Spec{
			Name: e.Name, Command: append([]string{command}, plan.Arguments(&e, bounds)...), Env: set, Default: unset,
			Ready: client.Health, Phase: vllm.Phase, Phases: vllm.Phases, IsCause: vllm.IsCause,
		}
		if plan.LogDir != "" {
			spec.LogFile = filepath.Join(plan.LogDir, e.Name+".log")
		}
		d.vllms = append(d.vllms, &supervised{
			worker: newID("", e.Role), engine: e, child: supervise.New(spec, cfg.Supervise, board.Set, d.proc.reg, d.proc.log),
		})
	}
	return nil
}

// run keeps the engine running until ctx ends. One that fails at once is an error that says what to do.
func (s *supervised) run(ctx context.Context) error {
	err := s.child.Run(ctx)
	if errors.Is(err, supervise.ErrFailed) {
		if hint := vllm.Hint(supervise.Cause(err), err.Error()); hint != "" {
			err = fmt.Errorf("%w\n  what to do: %s", err, hint)
		}
	}
	return err
}
