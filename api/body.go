package api

import (
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

// readBody returns the whole body of a request that says it is JSON, in memory that it borrows.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request, held *loan) ([]byte, *router.Error) {
	if e := checkMedia(r.Header); e != nil {
		return nil, e
	}
	if r.ContentLength > int64(s.cfg.MaxBody) {
		hangUp(w, r) // without reading what it was going to send
		return nil, s.tooLarge()
	}
	control := controlOf(w)
	defer func() { _ = control.SetReadDeadline(time.Time{}) }() // a recorder has none
	in := &patientReader{
		body: http.MaxBytesReader(w, r.Body, int64(s.cfg.MaxBody)), control: control,
		start: time.Now(), pause: s.cfg.BodyTimeout,
	}
	const (
		trusted = 256 << 10 // memory given on the client's word; beyond it, as much again as it has sent
		unsaid  = 16 << 10  // for a body that does not say its length
	)
	most, size := s.cfg.MaxBody, unsaid
	if r.ContentLength >= 0 {
		most, size = int(r.ContentLength), trusted
	}
	most++ // the read that meets the end needs room, too
	var text []byte
	for {
		if len(text) == cap(text) {
			begun := time.Now()
			larger, e := held.grow(r.Context(), text, min(most, max(size, 2*cap(text))))
			if e != nil {
				hangUp(w, r)
				return nil, e
			}
			text = larger
			in.start = in.start.Add(time.Since(begun)) // that was not the client's time
		}
		n, err := in.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if errors.Is(err, io.EOF) {
			return text, nil
		}
		if err != nil {
			return nil, s.notRead(w, r, err)
		}
	}
}

// notRead says why a body ended too early.
func (s *Server) notRead(w http.ResponseWriter, r *http.Request, err error) *router.Error {
	var tooLarge *http.MaxBytesError
	hangUp(w, r)
	switch {
	case errors.As(err, &tooLarge):
		return s.tooLarge()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return failure(http.StatusRequestTimeout, "", "The body did not arrive in time.")
	case r.Context().Err() != nil || errors.Is(err, io.ErrUnexpectedEOF):
		return clientGone()
	default:
		return failure(http.StatusBadRequest, "", "The body could not be read.")
	}
}

// hangUp ends the connection after the answer. Over HTTP/2 that would end the other requests too,
// and is not needed: the request's own stream is reset.
func hangUp(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

// doubtfulEnd reports whether another server on the way may have taken the request's end to be
// elsewhere, and what follows for a request of its own. RFC 9112, 6.1 wants such a connection to be
// closed: where Content-Length and Transfer-Encoding contradict each other, of which net/http only
// leaves the latter, and where HTTP/1.0 has a Transfer-Encoding, of which it leaves nothing.
func doubtfulEnd(r *http.Request) bool {
	return len(r.TransferEncoding) > 0 || !r.ProtoAtLeast(1, 1)
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
