package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/sse"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
)

var (
	doneBlock = sse.Append(nil, nil, sse.Done)
	// An empty line is no event to anyone. A comment would be none either, but go-openai parses
	// the text of an error frame together with all comments before it, and so loses the error.
	keepAliveLine = []byte("\n")
)

// eventWriter writes server-sent events as the engine does: one block and one flush an event, nothing
// before the first. Its methods are safe for concurrent use.
type eventWriter struct {
	w       http.ResponseWriter
	dialect wire.Dialect

	mu    sync.Mutex
	begun bool
	last  time.Time // of the last write
	buf   []byte
}

// event writes one event; payload is that of a wire.Data frame. An error means that the client is gone.
func (s *eventWriter) event(payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialect.Named() {
		return s.send(payload)
	}
	s.buf = sse.Append(s.buf[:0], nil, payload)
	return s.send(s.buf)
}

// done ends a stream that is complete. Where events have names, the last of them was the end.
func (s *eventWriter) done() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialect.Named() {
		return s.send(nil)
	}
	return s.send(doneBlock)
}

// fail ends a stream that broke off after it had begun: never as if it were complete.
func (s *eventWriter) fail(e *router.Error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialect.Named() {
		text := e.Body
		if !json.Valid(text) {
			text = encode(namedError{Type: "error", Error: details(e)})
		}
		s.buf = sse.Append(s.buf[:0], []byte("error"), text)
	} else {
		s.buf = append(sse.Append(s.buf[:0], nil, inStream(e)), doneBlock...)
	}
	return s.send(s.buf)
}

// namedError is an error event as the SDKs of both named dialects look for it.
type namedError struct {
	Type  string        `json:"type"`
	Error envelopeError `json:"error"`
}

// inStream is an error as one line that begins with {"error": as clients look for it.
func inStream(e *router.Error) []byte {
	text := body(e)
	if bytes.HasPrefix(text, []byte(`{"error":`)) && !bytes.ContainsAny(text, "\r\n") {
		return text
	}
	return encode(envelope{details(e)})
}

// beforeFirst has f add to the header, unless that is written already.
func (s *eventWriter) beforeFirst(f func(http.Header)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.begun {
		f(s.w.Header())
	}
}

func (s *eventWriter) started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// ping writes an empty line if the stream was silent since before.
func (s *eventWriter) ping(before time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.After(before) {
		return nil
	}
	return s.send(keepAliveLine)
}

// send is called with mu held.
func (s *eventWriter) send(block []byte) error {
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
		s.w.WriteHeader(http.StatusOK)
	}
	s.last = time.Now()
	if _, err := s.w.Write(block); err != nil {
		return err
	}
	return http.NewResponseController(s.w).Flush()
}

// keepAlive writes empty lines into silences of the given length until stop is called, which waits
// for the last one. A silence of 0 means never.
func (s *eventWriter) keepAlive(silence time.Duration) (stop func()) {
	if silence <= 0 {
		return func() {}
	}
	s.last = time.Now()
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(silence)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case now := <-tick.C:
				if s.ping(now.Add(-silence)) != nil {
					return // the handler meets the same error, or its context's end
				}
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(quit)
		<-ended
	})
}
