//go:build unix

package app

import (
	"syscall"
	"time"
)

// processorTime is what this process has taken of all processors.
func processorTime() (taken time.Duration, ok bool) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
