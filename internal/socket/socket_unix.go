//go:build unix

package socket

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Works: Read and Write do.
const Works = true

// Read reads what has come, up to len(into), which is not 0. Errors: ErrNothing; io.EOF when the other side has closed it.
func Read(fd uintptr, into []byte) (int, error) {
	for {
		n, err := read(fd, into)
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case errors.Is(err, syscall.EAGAIN):
			return 0, ErrNothing
		case !errors.Is(err, syscall.EINTR):
			return 0, os.NewSyscallError("read", err)
		}
	}
}

// Write writes what the socket takes of p, which is not empty: maybe nothing, which is no error.
func Write(fd uintptr, p []byte) (int, error) {
	for {
		n, err := write(fd, p)
		switch {
		case err == nil:
			return n, nil
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		case !errors.Is(err, syscall.EINTR):
			return 0, os.NewSyscallError("write", err)
		}
	}
}
