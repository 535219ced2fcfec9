package engine

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"

	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
)

// typeOf is the type of an event of a named stream: its name or, where the engine gave none, what
// its data says.
func typeOf(d wire.Dialect, e sse.Event) string {
	if !d.Named() || len(e.Name) > 0 {
		return string(e.Name)
	}
	var data struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return ""
	}
	return data.Type
}

var errorPrefix = []byte(`{"error"`)

// ErrorEvent tells whether an event says that the answer failed, and how: by the status that its
// code names, with the engine's own words.
func ErrorEvent(d wire.Dialect, e sse.Event) (wire.Failure, bool) {
	if !bytes.HasPrefix(bytes.TrimLeft(e.Data, " "), errorPrefix) && typeOf(d, e) != "error" {
		return wire.Failure{}, false
	}
	f := wire.Failure{Reason: wire.EngineError, Message: "The engine ended its answer with an error.", Body: slices.Clone(e.Data)}
	var data struct {
		Error struct {
			Code json.Number `json:"code"` // also takes a number in quotes
		} `json:"error"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return f, true // a word for a code, or no object: the body says what there is to say
	}
	if status, err := strconv.Atoi(data.Error.Code.String()); err == nil && 400 <= status && status <= 599 {
		f.Status, f.Reason = status, reasonOf(status)
	}
	return f, true
}

// reasonOf tells whose fault a status is. What the engine may take a moment later is no rejection.
func reasonOf(status int) wire.Reason {
	if 400 <= status && status < 500 && status != http.StatusRequestTimeout && status != http.StatusTooManyRequests {
		return wire.EngineRejected
	}
	return wire.EngineError
}
