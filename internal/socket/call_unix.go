//go:build unix && (!linux || race)

package socket

import "syscall"

// The race detector learns from these calls what one end of a connection knows of the other.

func read(fd uintptr, into []byte) (int, error) {
	n, err := syscall.Read(int(fd), into)
	return max(n, 0), err
}

func write(fd uintptr, p []byte) (int, error) {
	n, err := syscall.Write(int(fd), p)
	return max(n, 0), err
}
