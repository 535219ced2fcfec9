package decode

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
)

// stream passes each event of a streamed answer on.
func (a *attempt) stream(ctx context.Context, call engine.Call) (wire.EndInfo, error) {
	s, err := a.deps.Engine.Stream(ctx, call)
	if err != nil {
		return wire.EndInfo{}, engineErr(ctx, err)
	}
	defer s.Close()
	used := meter{running: a.job.Counts}
	out := events{dialect: wire.DialectOf(call.Path)}
	for {
		event, err := s.Next()
		if errors.Is(err, io.EOF) {
			return used.sum(), nil
		}
		if err != nil {
			return wire.EndInfo{}, engineErr(ctx, err)
		}
		if failure, ok := engine.ErrorEvent(out.dialect, event); ok {
			return wire.EndInfo{}, a.broken(ctx, &out, event, failure)
		}
		if onlyUsage := used.read(event.Data); onlyUsage && a.counting {
			continue // we asked for it, the client did not
		}
		payload, err := out.payload(event)
		if err != nil {
			return wire.EndInfo{}, err
		}
		if err := a.data(ctx, payload); err != nil {
			return wire.EndInfo{}, err
		}
	}
}

// broken returns what the router is to hear of an error event. Where events have names, a client
// that has seen some gets this one, too, as the engine sent it; else the frontend writes it.
func (a *attempt) broken(ctx context.Context, out *events, event sse.Event, failure wire.Failure) error {
	if a.told && out.dialect.Named() {
		payload, err := out.payload(event)
		if err != nil {
			return err
		}
		if err := a.data(ctx, payload); err != nil {
			return err
		}
		failure.Told = true
	}
	return &worker.Error{Failure: failure}
}

// events makes payloads of Data frames.
type events struct {
	dialect wire.Dialect
	block   []byte
}

// payload is valid until the next call.
func (e *events) payload(event sse.Event) ([]byte, error) {
	data, err := withoutTransfer(event.Data)
	if err != nil || !e.dialect.Named() {
		return data, err
	}
	e.block = sse.Append(e.block[:0], event.Name, data)
	return e.block, nil
}

// piece is the largest part of a unary answer in one frame, bytes.
const piece = 64 << 10

var errNoJSON = errors.New("the engine's answer is no JSON")

// post passes a unary answer on. The client has seen nothing of it until the router has all.
func (a *attempt) post(ctx context.Context, call engine.Call) (wire.EndInfo, error) {
	answer, err := a.deps.Engine.Post(ctx, call)
	if err != nil {
		return wire.EndInfo{}, engineErr(ctx, err)
	}
	if !json.Valid(answer) {
		return wire.EndInfo{}, worker.Failed(wire.EngineError, errNoJSON)
	}
	var used meter
	used.read(answer)
	if answer, err = withoutTransfer(answer); err != nil {
		return wire.EndInfo{}, err
	}
	for part := range slices.Chunk(answer, piece) {
		if err := a.data(ctx, part); err != nil {
			return wire.EndInfo{}, err
		}
	}
	return used.total, nil
}

// data sends one payload. The first also proves that the engine has read the handle's blocks.
func (a *attempt) data(ctx context.Context, payload []byte) error {
	now := time.Now()
	if !a.told {
		if err := a.readInTime(now); err != nil {
			return err
		}
		a.told = true
		a.notify(wire.HandleConsumed)
		if a.job.Whole {
			r := a.report(a.job)
			r.Stage = wire.StageDecoding
			a.deps.Reporter.Set(r)
		}
	} else if a.job.Streaming {
		a.deps.Reporter.Gap(now.Sub(a.last), now)
	}
	a.last = now
	if err := a.run.Send(ctx, wire.Data, payload); err != nil {
		return worker.Ended(ctx, err)
	}
	return nil
}

// engineErr is the failure of an engine call, or why ctx ended if it did.
func engineErr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return worker.Ended(ctx, err)
	}
	return &worker.Error{Failure: engine.Failure(err), Err: err}
}
