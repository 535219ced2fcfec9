package decode

import (
	"bytes"
	"fmt"

	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/internal/worker"
)

var transferMember = []byte(`_transfer_params"`)

// withoutTransfer takes kv_transfer_params and ec_transfer_params out of an answer, and out of the
// response that an event holds: they name hosts, ports and blocks of the engines. Every other byte
// stays. A payload in which they cannot be found for certain is an error.
func withoutTransfer(payload []byte) ([]byte, error) {
	if !bytes.Contains(payload, transferMember) {
		return payload, nil
	}
	object, err := rawjson.Parse(payload)
	if err != nil {
		return nil, worker.Failed(wire.EngineError, fmt.Errorf("the engine's answer may hold transfer parameters and is not readable: %w", err))
	}
	edits := []rawjson.Edit{rawjson.Delete("kv_transfer_params"), rawjson.Delete("ec_transfer_params")}
	member, _ := object.Get("response")
	if response, err := member.Object(); err == nil {
		edits = append(edits, rawjson.Set("response", response.Edit(edits...)))
	}
	return object.Edit(edits...), nil
}
