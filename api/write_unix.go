//go:build unix

package api

import (
	"errors"
	"syscall"
)

const writesAtOnce = true

// writeAtOnce writes what a socket, which does not block, takes of p: maybe nothing, which is no error.
func writeAtOnce(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch {
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		default:
			return max(n, 0), err
		}
	}
}
