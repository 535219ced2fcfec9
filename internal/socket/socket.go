// Package socket reads and writes sockets, which never block, at once: past the waiting of package net, to which the rest
// is left.
package socket

import (
	"errors"
	"net"
	"syscall"
)

// ErrNothing: a socket has nothing to read now.
var ErrNothing = errors.New("nothing has come yet")

// most is what is written in one go, bytes: with more, the kernel would take long enough for others to want the processor.
const most = 64 << 10

// Writer writes to a connection. Its writes are one after the other.
type Writer struct {
	conn net.Conn
	raw  syscall.RawConn // nil: it has none, or Works is false
	call func(fd uintptr) bool

	// Of the call under way:
	out  []byte
	sent int
	err  error
}

// Of makes w write to conn, which is nobody else's to write to. It is called once.
func (w *Writer) Of(conn net.Conn) {
	w.conn = conn
	file, ok := conn.(syscall.Conn)
	if !ok || !Works {
		return
	}
	var err error
	if w.raw, err = file.SyscallConn(); err != nil {
		w.raw = nil // it is closed already, as its reader will find
	}
	w.call = func(fd uintptr) bool {
		w.sent, w.err = Write(fd, w.out)
		return true // it is not called again
	}
}

// CanTry tells whether Try may be called.
func (w *Writer) CanTry() bool { return w.raw != nil }

// Try writes what the socket takes of p now, maybe nothing.
func (w *Writer) Try(p []byte) (int, error) {
	w.out, w.sent, w.err = p[:min(len(p), most)], 0, nil
	err := errors.Join(w.raw.Write(w.call), w.err)
	w.out = nil
	return w.sent, err
}

// Write waits until p is written.
func (w *Writer) Write(p []byte) (n int, err error) {
	if w.raw != nil && len(p) > 0 && len(p) <= most {
		if n, err = w.Try(p); err != nil || n == len(p) {
			return n, err
		}
	}
	more, err := w.conn.Write(p[n:])
	return n + more, err
}
