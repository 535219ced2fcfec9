//go:build unix

package engine

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// nothingToRead tells of a socket, which never blocks, that it is open and empty.
func nothingToRead(fd uintptr, into []byte) bool {
	_, err := syscall.Read(int(fd), into)
	return errors.Is(err, syscall.EAGAIN)
}

// canReceive: receive works.
const canReceive = true

// receive reads what a socket, which never blocks, has. errNothing: not yet anything; io.EOF: the other side has closed it.
func receive(fd uintptr, into []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), into)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case errors.Is(err, syscall.EAGAIN):
			return 0, errNothing
		case !errors.Is(err, syscall.EINTR):
			return 0, os.NewSyscallError("read", err)
		}
	}
}
