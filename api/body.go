package api

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/baton-llm/baton/router"
)

// slowestBody is the rate in bytes a second below which a long upload is cut off.
const slowestBody = 16 << 10

// readBody returns the whole body of a request that says it is JSON.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) ([]byte, *router.Error) {
	if e := checkMedia(r.Header); e != nil {
		return nil, e
	}
	if r.ContentLength > int64(s.cfg.MaxBody) {
		w.Header().Set("Connection", "close") // without reading what it was going to send
		return nil, s.tooLarge()
	}
	control := http.NewResponseController(w)
	defer func() { _ = control.SetReadDeadline(time.Time{}) }() // a recorder has none
	in := &patientReader{
		body: http.MaxBytesReader(w, r.Body, int64(s.cfg.MaxBody)), control: control,
		start: time.Now(), pause: s.cfg.BodyTimeout,
	}
	var text bytes.Buffer
	if r.ContentLength > 0 {
		const trusted = 256 << 10 // memory given on the client's word
		text.Grow(int(min(r.ContentLength, trusted)) + bytes.MinRead)
	}
	_, err := text.ReadFrom(in)
	var tooLarge *http.MaxBytesError
	switch {
	case err == nil:
		return text.Bytes(), nil
	case errors.As(err, &tooLarge):
		w.Header().Set("Connection", "close")
		return nil, s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, failure(http.StatusRequestTimeout, "", "The body did not arrive in time.")
	case r.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, clientGone()
	default:
		w.Header().Set("Connection", "close")
		return nil, failure(http.StatusBadRequest, "", "The body could not be read.")
	}
}

func (s *Server) tooLarge() *router.Error {
	return failure(http.StatusRequestEntityTooLarge, "", "The body is larger than %d bytes.", s.cfg.MaxBody)
}

// checkMedia accepts JSON and, like vLLM's own clients need, a body that does not say what it is.
func checkMedia(h http.Header) *router.Error {
	if coding := h.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return failure(http.StatusUnsupportedMediaType, "", "Unsupported Media Type: send the body without a Content-Encoding")
	}
	sent := h.Get("Content-Type")
	if sent == "" {
		return nil
	}
	if media, _, err := mime.ParseMediaType(sent); err != nil || media != "application/json" {
		return failure(http.StatusUnsupportedMediaType, "", "Unsupported Media Type: Only 'application/json' is allowed")
	}
	return nil
}

// patientReader gives the client time as long as it makes progress: a pause is bounded, and so is
// the whole, by the slowest rate.
type patientReader struct {
	body    io.Reader
	control *http.ResponseController
	start   time.Time
	pause   time.Duration
	read    int64
}

func (p *patientReader) Read(b []byte) (int, error) {
	now := time.Now()
	whole := p.start.Add(p.pause + time.Duration(p.read)*time.Second/slowestBody)
	pause := now.Add(p.pause)
	if pause.After(whole) {
		pause = whole
	}
	_ = p.control.SetReadDeadline(pause) // a recorder has none
	n, err := p.body.Read(b)
	p.read += int64(n)
	return n, err
}
