package kvtransfer

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/baton-llm/baton/internal/rawjson"
)

// NIXL is vLLM's NixlConnector: prefill runs first and answers with kv_transfer_params, which the
// decode engine uses once to pull the blocks.
type NIXL struct{}

const paramsMember = "kv_transfer_params"

var (
	one          = []byte("1")
	remoteDecode = []byte(`{"do_remote_decode":true,"do_remote_prefill":false}`)
)

// Name is "nixl".
func (NIXL) Name() string { return "nixl" }

// PreparePrefill asks for one token, unstreamed, because a streamed answer carries no handle, and
// of one sequence, because further ones would hold blocks until the lease ends. Its body was taken by rawjson.Parse before.
func (NIXL) PreparePrefill(body []byte) ([]byte, error) {
	o, err := rawjson.Reparse(body)
	if err != nil {
		return nil, fmt.Errorf("prepare prefill: %w", err)
	}
	edits := []rawjson.Edit{
		rawjson.Set("max_tokens", one),
		rawjson.Set("stream", []byte("false")),
		rawjson.Delete("stream_options"),
		rawjson.Set(paramsMember, remoteDecode),
	}
	for _, name := range []string{"max_completion_tokens", "n"} {
		if _, ok := o.Get(name); ok {
			edits = append(edits, rawjson.Set(name, one))
		}
	}
	if v, ok := o.Get("min_tokens"); ok && wholeAboveOne(v) {
		edits = append(edits, rawjson.Set("min_tokens", one))
	}
	return o.Edit(edits...), nil
}

// wholeAboveOne takes 5.0 and 1e3 for integers, as the engine does. What the engine would refuse
// stays, so that it can.
func wholeAboveOne(v rawjson.Value) bool {
	if v.Kind() != rawjson.KindNumber {
		return false
	}
	f, err := strconv.ParseFloat(string(v), 64)
	return err == nil && f > 1 && f == math.Trunc(f)
}

// HandleFrom takes the answer's kv_transfer_params as they are.
func (c NIXL) HandleFrom(answer []byte) (Handle, error) {
	o, err := rawjson.Parse(answer)
	if err != nil {
		return Handle{}, fmt.Errorf("read prefill answer: %w", err)
	}
	raw, _ := o.Get(paramsMember)
	params, err := raw.Object()
	if err != nil {
		return Handle{}, fmt.Errorf("read %s: %w", paramsMember, ErrNoHandle)
	}
	ready, _ := params.Get("do_remote_prefill")
	if ok, err := ready.Bool(); err != nil || !ok {
		return Handle{}, fmt.Errorf("read %s without do_remote_prefill: %w", paramsMember, ErrNoHandle)
	}
	h := Handle{Connector: c.Name(), Params: bytes.Clone(raw)}
	raw, _ = o.Get("usage")
	if usage, err := raw.Object(); err == nil {
		h.PromptTokens = count(usage, "prompt_tokens")
		raw, _ = usage.Get("prompt_tokens_details")
		if details, err := raw.Object(); err == nil {
			h.CachedTokens = count(details, "cached_tokens")
		}
	}
	return h, nil
}

// count is 0 where the engine did not say.
func count(o *rawjson.Object, name string) int {
	v, _ := o.Get(name)
	n, err := v.Int64()
	if err != nil || n < 0 || n > math.MaxInt32 {
		return 0
	}
	return int(n)
}

// PrepareDecode adds the handle's params to the client's body and changes nothing else.
func (c NIXL) PrepareDecode(body []byte, h *Handle) ([]byte, error) {
	if h.Connector != c.Name() {
		return nil, fmt.Errorf("prepare decode with a handle of connector %q, want %q", h.Connector, c.Name())
	}
	if len(h.Params) == 0 {
		return nil, errors.New("prepare decode with a handle without params")
	}
	o, err := rawjson.Reparse(body)
	if err != nil {
		return nil, fmt.Errorf("prepare decode: %w", err)
	}
	return o.Edit(rawjson.Set(paramsMember, h.Params)), nil
}
