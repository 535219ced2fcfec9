//go:build unix

package doctor

import "golang.org/x/sys/unix"

// openFiles is the most files that a process may open, by the soft limit, which Go raises to the hard one when it starts.
func openFiles() (most uint64, known bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return 0, false
	}
	return uint64(l.Cur), true //nolint:unconvert // signed on some systems
}
