package decode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/baton-llm/baton/internal/engine"
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
	var usage []byte
	for {
		event, err := s.Next()
		if errors.Is(err, io.EOF) {
			return endInfo(usage), nil
		}
		if err != nil {
			return wire.EndInfo{}, engineErr(ctx, err)
		}
		if engine.IsErrorEvent(event) {
			return wire.EndInfo{}, &worker.Error{Failure: wire.Failure{
				Reason: wire.EngineError, Message: "engine sent an error event", Body: slices.Clone(event),
			}}
		}
		if bytes.Contains(event, usageMember) {
			usage = append(usage[:0], event...)
		}
		if err := a.data(ctx, event); err != nil {
			return wire.EndInfo{}, err
		}
	}
}

// piece is the largest part of a unary answer in one frame, bytes.
const piece = 64 << 10

// post passes a unary answer on.
func (a *attempt) post(ctx context.Context, call engine.Call) (wire.EndInfo, error) {
	answer, err := a.deps.Engine.Post(ctx, call)
	if err != nil {
		return wire.EndInfo{}, engineErr(ctx, err)
	}
	for part := range slices.Chunk(answer, piece) {
		if err := a.data(ctx, part); err != nil {
			return wire.EndInfo{}, err
		}
	}
	return endInfo(answer), nil
}

// data sends one payload. The first also proves that the engine has read the handle's blocks.
func (a *attempt) data(ctx context.Context, payload []byte) error {
	if !a.told {
		a.told = true
		a.notify(wire.HandleConsumed)
	}
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
	return &worker.Error{Failure: engine.Failure(err)}
}

var usageMember = []byte(`"usage"`)

// endInfo reads the usage of a payload; the zero value if it has none.
func endInfo(payload []byte) (info wire.EndInfo) {
	if !bytes.Contains(payload, usageMember) {
		return info
	}
	var p struct {
		Usage struct {
			PromptTokens     int `json:"prompt_tokens"`
			CompletionTokens int `json:"completion_tokens"`
			Details          struct {
				CachedTokens int `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(payload, &p); err != nil {
		return info
	}
	return wire.EndInfo{
		PromptTokens: p.Usage.PromptTokens, CompletionTokens: p.Usage.CompletionTokens, CachedTokens: p.Usage.Details.CachedTokens,
	}
}
