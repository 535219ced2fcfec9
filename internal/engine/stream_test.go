package engine_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/google/go-cmp/cmp"
)

func TestStreamsEndAsTheirPathSays(t *testing.T) {
	const (
		completed = "event: response.completed\ndata: {\"type\":\"response.completed\"}\n\n"
		stop      = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
		done      = "data: [DONE]\n\n"
	)
	for name, tc := range map[string]struct {
		path, sent string
		events     int
		want       error
	}{
		"plain":                       {"/v1/chat/completions", "data: 1\n\n" + done, 1, io.EOF},
		"plain without its end":       {"/v1/chat/completions", "data: 1\n\n" + completed, 2, engine.ErrCut},
		"response":                    {"/v1/responses", completed, 1, io.EOF},
		"response that is cut short":  {"/v1/responses", "event: response.incomplete\ndata: {}\n\n", 1, io.EOF},
		"response that failed":        {"/v1/responses", "event: response.failed\ndata: {}\n\n", 1, io.EOF},
		"response without names":      {"/v1/responses", "data: {\"type\":\"response.completed\"}\n\n", 1, io.EOF},
		"response without its end":    {"/v1/responses", "event: response.created\ndata: {}\n\n", 1, engine.ErrCut},
		"response that talks of it":   {"/v1/responses", "event: x\ndata: {\"type\":\"response.completed\"}\n\n", 1, engine.ErrCut},
		"message":                     {"/v1/messages", stop, 1, io.EOF},
		"message with DONE":           {"/v1/messages", stop + done, 2, io.EOF},
		"message with DONE only":      {"/v1/messages", "event: ping\ndata: {}\n\n" + done, 2, engine.ErrCut},
		"message cut after its end":   {"/v1/messages", stop + "data: [DO", 1, io.EOF},
		"message with a foreign last": {"/v1/messages", completed, 1, engine.ErrCut},
	} {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) { events(w, tc.sent) }, nil)
			s, err := c.Stream(bounded(t), engine.Call{Path: tc.path})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			events, err := read(s)
			if len(events) != tc.events || !errors.Is(err, tc.want) {
				t.Errorf("%d events %q, then %v; want %d and %v", len(events), events, err, tc.events, tc.want)
			}
		})
	}
}

func TestEngineThatHoldsAFinishedStreamOpen(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		events(w, "event: message_stop\ndata: {}\n\n")
		<-r.Context().Done()
	}, nil)
	s, err := c.Stream(bounded(t), engine.Call{Path: "/v1/messages"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	if events, err := read(s); len(events) != 1 || !errors.Is(err, io.EOF) {
		t.Errorf("events %q, then %v; want the end without waiting for the connection's", events, err)
	}
}

func TestErrorEvent(t *testing.T) {
	const retry, rejected = wire.EngineError, wire.EngineRejected
	for _, tc := range []struct {
		dialect    wire.Dialect
		name, data string
		reason     wire.Reason // "": no error
		status     int
	}{
		{wire.Plain, "", `{"error":{"message":"x","code":500}}`, retry, 500},
		{wire.Plain, "", `  {"error": {"code":"503"}}`, retry, 503},
		{wire.Plain, "", `{"error":{"code":400}}`, rejected, 400},
		{wire.Plain, "", `{"error":{"code":429}}`, retry, 429},
		{wire.Plain, "", `{"error":{"code":200}}`, retry, 0},
		{wire.Plain, "", `{"error":{"code":"server_error"}}`, retry, 0},
		{wire.Plain, "", `{"error":{"code":null}}`, retry, 0},
		{wire.Plain, "", `{"error":"x"}`, retry, 0},
		{wire.Plain, "error", `oops`, retry, 0},
		{wire.Plain, "", `{"id":"x","error":null}`, "", 0},
		{wire.Plain, "", `{"errors":1}`, "", 0},
		{wire.Plain, "", `{"type":"error"}`, "", 0},
		{wire.Plain, "", ``, "", 0},
		{wire.Messages, "error", `{"type":"error","error":{"type":"overloaded_error","message":"x"}}`, retry, 0},
		{wire.Messages, "", `{"type":"error","error":{"code":422}}`, rejected, 422},
		{wire.Responses, "", `{"error":{"message":"x","code":500}}`, retry, 500},
		{wire.Responses, "response.failed", `{"type":"response.failed"}`, "", 0},
		{wire.Responses, "response.output_text.delta", `{"type":"error"}`, "", 0},
	} {
		f, ok := engine.ErrorEvent(tc.dialect, sse.Event{Name: []byte(tc.name), Data: []byte(tc.data)})
		if ok != (tc.reason != "") {
			t.Errorf("%s %q is an error: %v", tc.name, tc.data, ok)
			continue
		}
		if !ok {
			continue
		}
		f.Message = ""
		if d := cmp.Diff(wire.Failure{Reason: tc.reason, Status: tc.status, Body: []byte(tc.data)}, f); d != "" {
			t.Errorf("%s %q:\n%s", tc.name, tc.data, d)
		}
	}
}

func TestEngineKeyIsSentWithEveryCall(t *testing.T) {
	for key, want := range map[string]string{"": "", "k-1": "Bearer k-1"} {
		seen := make(chan string, 3)
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			seen <- r.Header.Get("Authorization")
			_, _ = io.WriteString(w, `{"data":[]}`)
		}, func(cfg *engine.Config) { cfg.APIKey = key })
		_, _ = c.Post(bounded(t), call)
		_, _ = c.Stream(bounded(t), call)
		if _, err := c.Models(bounded(t)); err != nil {
			t.Error(err)
		}
		for range 3 {
			if got := <-seen; got != want {
				t.Errorf("with key %q Authorization is %q, want %q", key, got, want)
			}
		}
	}
}
