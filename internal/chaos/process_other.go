//go:build !linux

package chaos

import (
	"errors"
	"io"
	"syscall"
)

const (
	sigKill = syscall.Signal(iota)
	sigTerm
	sigStop
	sigCont
)

type process struct {
	ended chan struct{}
	err   error
}

type starter struct{}

func newStarter() *starter { return &starter{} }

func (*starter) close() {}

func (*starter) start(string, []string, io.Writer) (*process, error) {
	return nil, errors.New("baton chaos runs on Linux alone")
}

func (*process) signal(syscall.Signal) {}
