package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/lend"
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

// eventWriter writes server-sent events as the engine does, with nothing before the first. What is
// there at the same time is sent at the same time. Its methods are safe for concurrent use.
type eventWriter struct {
	w       http.ResponseWriter
	dialect wire.Dialect
	flush   func() error
	spare   *[]byte // lent
	conn    *conn   // nil: writes wait

	mu    sync.Mutex
	begun bool
	last  time.Time // of the last write
	buf   []byte    // blocks that are not written yet
}

// most bounds the blocks that are written at once.
const most = 32 << 10

// events takes blocks of events; payload is that of a wire.Data frame. With more, another call follows at once, which may
// send both. An error means that the client is gone.
func (s *eventWriter) events(payload []byte, more bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !more && len(s.buf) == 0 {
		return s.send(payload)
	}
	s.buf = append(s.buf, payload...)
	if more && len(s.buf) < most {
		return nil
	}
	return s.sendAll()
}

// direct writes blocks of events without waiting, for a goroutine that has other things to do. It takes none where there is
// something to wait for already. What it took and could not send goes out with whatever is written next.
func (s *eventWriter) direct(blocks []byte) (took, sent bool) {
	if !s.mu.TryLock() {
		return false, false
	}
	defer s.mu.Unlock()
	if !s.begun || len(s.buf) > 0 || s.conn.kept != nil {
		return false, false
	}
	s.conn.eager = true
	err := s.send(blocks)
	s.conn.eager = false
	return true, err == nil && s.conn.kept == nil
}

// done ends a stream that is complete. Where events have names, the last of them was the end. Nothing is written after it
// but the end of the answer, by the HTTP server, with which it may go out.
func (s *eventWriter) done() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.dialect.Named() {
		s.buf = append(s.buf, doneBlock...)
	}
	if s.conn != nil {
		s.conn.holdLast()
	}
	return s.sendAll()
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
		s.buf = sse.Append(s.buf, []byte("error"), text)
	} else {
		s.buf = append(sse.Append(s.buf, nil, inStream(e)), doneBlock...)
	}
	return s.sendAll()
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
	s.buf = append(s.buf, keepAliveLine...)
	return s.sendAll()
}

// sendAll writes what waits in one go. It is called with mu held.
func (s *eventWriter) sendAll() error {
	err := s.send(s.buf)
	s.buf = s.buf[:0]
	return err
}

// send is called with mu held.
func (s *eventWriter) send(blocks []byte) error {
	if !s.begun {
		s.begun = true
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Accel-Buffering", "no")
		s.w.WriteHeader(http.StatusOK)
	}
	s.last = time.Now()
	if s.conn != nil {
		s.conn.hold()
	}
	if _, err := s.w.Write(blocks); err != nil {
		return err
	}
	return s.flush()
}

// newEventWriter returns the writer of one answer. Its end is release.
func newEventWriter(w http.ResponseWriter, dialect wire.Dialect, c *conn) *eventWriter {
	s := &eventWriter{w: w, dialect: dialect, conn: c, spare: lend.Get()}
	s.buf = *s.spare
	s.flush = flushOf(w)
	return s
}

// release gives the buffer back. Nothing is written after it.
func (s *eventWriter) release() {
	*s.spare = s.buf
	s.buf = nil
	lend.Put(s.spare)
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
