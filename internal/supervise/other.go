//go:build !linux

package supervise

import (
	"errors"
	"time"
)

// KeepCommand is the argument that makes a binary a keeper, on Linux.
const KeepCommand = "keep-engine"

var errOnlyLinux = errors.New("engines are supervised on Linux alone: start them yourself, with one baton worker in front of each")

// Keep is for Linux.
func Keep([]string) int { return 1 }

type process struct {
	ended chan struct{}
	err   error
}

func start(_, _ []string, _ *lines) (*process, error) { return nil, errOnlyLinux }

func (p *process) stop(time.Duration) error { return nil }

func environment(_, _ []string) []string { return nil }
