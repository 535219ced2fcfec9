package api

import (
	"bytes"
	"net/http"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/router"
)

var (
	sseData = []byte("data: ")
	sseDone = []byte("data: [DONE]\n\n")
	ssePing = []byte(": keep-alive\n\n") // a block of its own: some clients drop data that follows a comment
)

// sse writes server-sent events in vLLM's form: one `data:` block and one flush an event, nothing
// before the first. Its methods are safe for concurrent use.
type sse struct {
	w     http.ResponseWriter
	named bool // events have names, and no [DONE] ends them; see namedPaths

	mu    sync.Mutex
	begun bool
	last  time.Time // of the last write
	buf   []byte
}

// event writes the data of one event. An error means that the client is gone.
func (s *sse) event(data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = s.buf[:0]
	if s.named {
		s.buf = appendName(s.buf, data)
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		s.buf = append(append(append(s.buf, sseData...), line...), '\n')
	}
	s.buf = append(s.buf, '\n')
	return s.send(s.buf)
}

// appendName repeats the member type of an event as its name, which is how the engine names it.
func appendName(to, data []byte) []byte {
	object, err := rawjson.Parse(data)
	if err != nil {
		return to
	}
	v, _ := object.Get("type")
	name, err := v.String()
	if err != nil || name == "" || bytes.ContainsAny([]byte(name), "\r\n") {
		return to
	}
	return append(append(append(to, "event: "...), name...), '\n')
}

// done ends a stream that is complete.
func (s *sse) done() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named {
		return s.send(nil)
	}
	return s.send(sseDone)
}

// fail ends a stream that broke off after it had begun: never as if it were complete.
func (s *sse) fail(e *router.Error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf = s.buf[:0]
	if s.named {
		s.buf = append(s.buf, "event: error\n"...)
	}
	s.buf = append(s.buf, sseData...)
	s.buf = append(append(s.buf, inStream(e)...), "\n\n"...)
	if !s.named {
		s.buf = append(s.buf, sseDone...)
	}
	return s.send(s.buf)
}

// inStream is an error as one line that begins with {"error": as clients look for it.
func inStream(e *router.Error) []byte {
	text := body(e)
	if bytes.HasPrefix(text, []byte(`{"error":`)) && !bytes.ContainsAny(text, "\r\n") {
		return text
	}
	own := *e
	own.Body = nil
	if own.Message == "" {
		own.Message = http.StatusText(e.Status)
	}
	return body(&own)
}

func (s *sse) started() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun
}

// ping writes a comment if the stream was silent since before.
func (s *sse) ping(before time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last.After(before) {
		return nil
	}
	return s.send(ssePing)
}

// send is called with mu held.
func (s *sse) send(block []byte) error {
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

// keepAlive writes comments into silences of the given length until stop is called, which waits
// for the last one. A silence of 0 means never.
func (s *sse) keepAlive(silence time.Duration) (stop func()) {
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
