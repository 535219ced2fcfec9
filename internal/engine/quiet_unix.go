//go:build unix

package engine

import (
	"errors"
	"syscall"
)

// nothingToRead tells of a socket, which never blocks, that it is open and empty.
func nothingToRead(fd uintptr, into []byte) bool {
	_, err := syscall.Read(int(fd), into)
	return errors.Is(err, syscall.EAGAIN)
}
