package decode

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/lend"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
)

// stream passes the events of a streamed answer on: those that are there at the same time in one frame.
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
		var failure wire.Failure
		failed := false
		if err == nil {
			failure, failed = engine.ErrorEvent(out.dialect, event)
		}
		if err != nil || failed { // what came before it is the client's
			if err := a.flush(ctx, &out, err != nil); err != nil {
				return wire.EndInfo{}, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return used.sum(), nil
		case err != nil:
			return wire.EndInfo{}, engineErr(ctx, err)
		case failed:
			return wire.EndInfo{}, a.broken(ctx, &out, event, failure)
		}
		if onlyUsage := used.read(event.Data); !onlyUsage || !a.counting { // else we asked for it, the client did not
			if err := a.gather(ctx, &out, event); err != nil {
				return wire.EndInfo{}, err
			}
		}
		if !s.More() {
			if err := a.flush(ctx, &out, false); err != nil {
				return wire.EndInfo{}, err
			}
		}
	}
}

// broken returns what the router is to hear of an error event. Where events have names, a client
// that has seen some gets this one, too, as the engine sent it; else the frontend writes it.
func (a *attempt) broken(ctx context.Context, out *events, event sse.Event, failure wire.Failure) error {
	if a.told && out.dialect.Named() {
		if err := out.add(event); err != nil {
			return err
		}
		if err := a.flush(ctx, out, true); err != nil {
			return err
		}
		failure.Told = true
	}
	return &worker.Error{Failure: failure}
}

// events makes the payload of a Data frame.
type events struct {
	dialect wire.Dialect
	lent    *[]byte // nil: there is nothing to send
	count   int
}

func (e *events) add(event sse.Event) error {
	data, err := withoutTransfer(event.Data)
	if err != nil {
		return err
	}
	name := event.Name
	if !e.dialect.Named() {
		name = nil
	}
	if e.lent == nil {
		e.lent = lend.Get() // an open stream that waits keeps none
	}
	*e.lent = sse.Append(*e.lent, name, data)
	e.count++
	return nil
}

// gather adds an event, and sends those before it where the frame would be too large for all.
func (a *attempt) gather(ctx context.Context, out *events, event sse.Event) error {
	before := 0
	if out.lent != nil {
		before = len(*out.lent)
	}
	if err := out.add(event); err != nil {
		if sent := a.flush(ctx, out, true); sent != nil {
			return sent
		}
		return err
	}
	all := *out.lent
	if before == 0 || len(all) <= a.run.Portion() {
		return nil
	}
	if err := a.data(ctx, all[:before], out.count-1, true); err != nil {
		return err
	}
	*out.lent, out.count = append(all[:0], all[before:]...), 1
	return nil
}

// flush sends the events that were gathered, if there are any. With more, another frame follows at once.
func (a *attempt) flush(ctx context.Context, out *events, more bool) error {
	if out.lent == nil {
		return nil
	}
	err := a.data(ctx, *out.lent, out.count, more)
	lend.Put(out.lent)
	out.lent, out.count = nil, 0
	return err
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
		if err := a.data(ctx, part, 1, true); err != nil {
			return wire.EndInfo{}, err
		}
	}
	return used.total, nil
}

// data sends one payload, of so many events if it is of a stream. The first also proves that the engine has read the
// handle's blocks. With more, another frame follows at once.
func (a *attempt) data(ctx context.Context, payload []byte, count int, more bool) error {
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
		a.last = now
		count-- // there is no gap before the first
	}
	if a.job.Streaming && count > 0 {
		a.deps.Reporter.Gap(now.Sub(a.last), count, now)
	}
	a.last = now
	send := a.run.Send
	if more {
		send = a.run.SendAhead
	}
	if err := send(ctx, wire.Data, payload); err != nil {
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
