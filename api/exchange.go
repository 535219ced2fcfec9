package api

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/baton-llm/baton/internal/lend"
	"github.com/baton-llm/baton/router"
)

// exchange is one request over HTTP/1 whose connection net/http has handed over, and the writer of its answer. What waits
// in net/http keeps a deep stack, three buffers and a goroutine that reads; an exchange keeps two small stacks, so that
// thousands of requests may wait. When it is over, the connection is given back as soon as more is sent over it.
type exchange struct {
	all    *exchanges
	conn   *conn
	header http.Header
	cancel context.CancelCauseFunc // ends the request
	idle   time.Duration           // how long the connection may wait for another request

	// Of the answer, for the one goroutine that writes at a time:
	buf     *[]byte // lent; what is not sent yet; nil: nothing
	begun   bool
	chunked bool
	whole   bool  // it is complete
	last    bool  // the connection ends with the answer
	left    int64 // bytes of a body with a length that are still to be written
	err     error // the first of a write

	// Guarded by exchanges.mu:
	over  bool    // the answer is
	gone  bool    // the client has ended its side
	ahead bool    // the client has sent more; it is in conn.ahead
	next  [1]byte // the first of it
}

// detach takes a request and its connection out of net/http, whose handler must return then. The request that it returns
// is the same with another context, which ends when the client leaves. It returns nil where net/http has to go on: with
// HTTP/2, with TLS and with HTTP/1.0.
func (s *Server) detach(w http.ResponseWriter, r *http.Request) (*exchange, *http.Request) {
	out, ours := w.(*writer)
	c, _ := r.Context().Value(connKey{}).(*conn)
	if !ours || c == nil || r.ProtoMajor != 1 || r.ProtoMinor == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(r.Context()))
	e := &exchange{all: &s.exchanges, conn: c, header: out.Header(), cancel: cancel, idle: s.cfg.IdleTimeout, last: r.Close}
	s.exchanges.add(e) // before net/http forgets it, or a drain might take it for done
	_, buf, err := out.control.Hijack()
	if err != nil {
		cancel(nil)
		s.exchanges.remove(e)
		s.exchanges.left()
		return nil, nil
	}
	if n := buf.Reader.Buffered(); n > 0 {
		more, _ := buf.Peek(n)
		c.ahead, e.ahead = bytes.Clone(more), true
	} else {
		s.exchanges.enter()
		go e.watch()
	}
	out.ResponseWriter, out.control, out.flush, out.until = e, http.NewResponseController(e), e.FlushError, time.Time{}
	rec := recordOf(ctx)
	rec.route, rec.detached = rec.routeIn(ctx), true // chi uses its context for others when the handler returns
	r = r.WithContext(ctx)
	r.Body = http.NoBody // or it would keep net/http's buffer
	return e, r
}

// answer carries the request out, and ends what the middlewares began. It waits with few and small frames on its stack:
// with less than a quarter of 8 KiB, the runtime's own needs included, half of them are given back.
func (s *Server) answer(e *exchange, w *writer, r *http.Request, req *router.Request) {
	defer e.all.left()
	defer func() { e.end(recover() == nil) }() // what recovered passes on is an answer that broke off
	defer s.conclude(w, r)
	defer s.recovered(w, r)
	s.carry(w, r, req)
	w.bound()
	_ = w.note(e.complete())
}

// watch reads on until the client sends more or ends its side.
func (e *exchange) watch() {
	defer e.all.left()
	n, _ := e.conn.Read(e.next[:])
	e.all.mu.Lock()
	over := e.over
	if n > 0 {
		e.ahead, e.conn.ahead = true, e.next[:]
	} else {
		e.gone = true
	}
	e.all.mu.Unlock()
	switch {
	case over:
		e.part(n > 0)
	case n == 0:
		e.cancel(nil)
	}
}

// end ends the answer, which is as long as it should be if it is whole.
func (e *exchange) end(whole bool) {
	reuse := whole && e.complete() == nil && !e.last
	e.release()
	e.cancel(nil)
	e.all.mu.Lock()
	e.over = true
	reuse = reuse && !e.gone && e.all.stopped == nil && !e.all.closing
	waits := reuse && !e.ahead
	if waits {
		_ = e.conn.SetReadDeadline(time.Now().Add(e.idle)) // watch meets it
	}
	e.all.mu.Unlock()
	if !waits {
		e.part(reuse)
	}
}

// part lets go of the connection, which net/http reads on from if there is more.
func (e *exchange) part(more bool) {
	e.all.remove(e)
	if !more || !e.all.serve(e.conn) {
		_ = e.conn.Close()
	}
}

// Header is that of the answer, until it is written.
func (e *exchange) Header() http.Header {
	if e.header == nil {
		return http.Header{}
	}
	return e.header
}

// SetWriteDeadline is for http.ResponseController.
func (e *exchange) SetWriteDeadline(t time.Time) error { return e.conn.SetWriteDeadline(t) }

// appender is a buffer as a writer.
type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

func (e *exchange) buffer() *[]byte {
	if e.buf == nil {
		e.buf = lend.Get()
	}
	return e.buf
}

func (e *exchange) release() {
	if e.buf == nil {
		return
	}
	lend.Put(e.buf)
	e.buf = nil
}

// WriteHeader begins the answer. Without a Content-Length it is sent in chunks.
func (e *exchange) WriteHeader(status int) {
	if e.begun {
		return
	}
	e.begun = true
	buf := e.buffer()
	b := strconv.AppendInt(append(*buf, "HTTP/1.1 "...), int64(status), 10)
	b = append(append(append(b, ' '), http.StatusText(status)...), "\r\nDate: "...)
	b = append(time.Now().UTC().AppendFormat(b, http.TimeFormat), "\r\n"...)
	length, err := strconv.ParseInt(e.header.Get("Content-Length"), 10, 64)
	if e.left = length; err != nil {
		e.left, e.chunked = 0, true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	switch said := e.header.Get("Connection") == "close"; {
	case said:
		e.last = true
	case e.last || e.all.ending():
		e.last = true
		b = append(b, "Connection: close\r\n"...)
	}
	*buf = b
	_ = e.header.Write((*appender)(buf)) // it always has room
	*buf = append(*buf, "\r\n"...)
	e.header = nil
}

// Write keeps p until it is flushed or there is much of it.
func (e *exchange) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	e.WriteHeader(http.StatusOK)
	buf := e.buffer()
	switch {
	case len(p) == 0:
		return 0, nil
	case e.chunked:
		b := append(strconv.AppendInt(*buf, int64(len(p)), 16), "\r\n"...)
		*buf = append(append(b, p...), "\r\n"...)
	case int64(len(p)) > e.left:
		return 0, http.ErrContentLength
	default:
		e.left -= int64(len(p))
		*buf = append(*buf, p...)
	}
	if len(*buf) < most {
		return len(p), nil
	}
	return len(p), e.FlushError()
}

// FlushError sends what is kept. A client that cannot be written to has left.
func (e *exchange) FlushError() error {
	if e.err == nil && e.buf != nil {
		_, e.err = e.conn.Write(*e.buf)
		if e.err != nil {
			e.cancel(nil)
		}
	}
	e.release()
	return e.err
}

// complete sends what is left of the answer, and that it is over. A second call does nothing.
func (e *exchange) complete() error {
	if e.whole {
		return e.err
	}
	e.whole = true
	if !e.begun {
		e.header.Set("Content-Length", "0")
		e.WriteHeader(http.StatusOK)
	}
	if e.chunked {
		buf := e.buffer()
		*buf = append(*buf, "0\r\n\r\n"...)
	}
	e.conn.end()
	err := e.FlushError()
	if err == nil {
		err = e.conn.release()
	}
	if err == nil && e.left > 0 {
		err = errors.New("the answer is shorter than its header says")
	}
	e.err = err
	return err
}
