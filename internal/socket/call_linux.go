//go:build linux && !race

package socket

import (
	"syscall"
	"unsafe"
)

// Go's scheduler is not told of these calls, as of none that only looks: they end within what it takes the kernel to copy
// the bytes and to pass them on. Of one that it knows of it takes the processor away after 20 µs, which a write to a socket
// of the same machine takes, and has another thread started for it.

func read(fd uintptr, into []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(into))), uintptr(len(into)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func write(fd uintptr, p []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
