package engine

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/baton-llm/baton/internal/socket"
)

// inboxBytes has room for a hundred tokens of a stream, so that those which came since it was last looked at are read,
// passed on and written in one go each.
const inboxBytes = 16 << 10

var inboxes = sync.Pool{New: func() any { return new([inboxBytes]byte) }}

// inbox is what was received of a connection and has not been used. It has memory only while there is something: an open
// stream that waits for its next token keeps none, where the socket can be watched. One goroutine uses it.
type inbox struct {
	buf      *[inboxBytes]byte // nil: it has none
	from, to int               // what of buf is unread
	fd       syscall.RawConn   // nil: the socket is not watched
	receive  func(fd uintptr) bool
	err      error // of receive
}

// watch has the socket read when it has something, past the connection.
func (in *inbox) watch(fd syscall.RawConn) {
	if fd == nil || !socket.Works {
		return
	}
	in.fd = fd
	in.receive = func(fd uintptr) bool {
		in.lease()
		in.to, in.err = socket.Read(fd, in.buf[:])
		if errors.Is(in.err, socket.ErrNothing) {
			in.drop()
			return false
		}
		return true
	}
}

func (in *inbox) lease() {
	if in.buf == nil {
		in.buf = inboxes.Get().(*[inboxBytes]byte)
	}
}

// drop gives the memory back.
func (in *inbox) drop() {
	if in.buf != nil {
		inboxes.Put(in.buf)
	}
	in.buf, in.from, in.to = nil, 0, 0
}

// unread is how many bytes rest has.
func (in *inbox) unread() int { return in.to - in.from }

// rest is what is unread. It may be changed, and is valid until the next fill or drop.
func (in *inbox) rest() []byte {
	if in.buf == nil {
		return nil
	}
	return in.buf[in.from:in.to]
}

// skip marks the first n bytes of rest as read, or, if it is less than 0, the last that were read as unread.
func (in *inbox) skip(n int) { in.from += n }

// fill waits for something to read. It is called when nothing is unread. The errors are the connection's, which is io.EOF
// at its end.
func (in *inbox) fill(conn net.Conn) error {
	in.from, in.to, in.err = 0, 0, nil
	var err error
	if in.fd != nil {
		err = in.fd.Read(in.receive)
		if err == nil {
			err = in.err
		}
	} else {
		in.lease()
		in.to, err = conn.Read(in.buf[:])
	}
	switch {
	case in.to > 0:
		return nil // an error comes again
	case err == nil:
		err = io.ErrNoProgress
	}
	in.drop()
	return err
}
