package chaos

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
)

// process is one running process of a part.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // how it ended; read it after ended
}

// starter starts processes that the kernel kills when this process ends, in whatever way: PR_SET_PDEATHSIG means the
// thread that started them, so there is one for all.
type starter struct{ work chan func() }

func newStarter() *starter {
	s := &starter{work: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: the thread must end with this goroutine alone
		for f := range s.work {
			f()
		}
	}()
	return s
}

// close ends the thread. Processes that still run are killed by that.
func (s *starter) close() { close(s.work) }

// start runs a command without anything of our environment: settings in it are not the deployment's.
func (s *starter) start(binary string, args []string, out io.Writer) (*process, error) {
	cmd := exec.Command(binary, args...) //nolint:gosec // Our own binary.
	cmd.Env = []string{}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	s.work <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() { // ends with the process
		p.err = cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// The signals of faults.
const (
	sigKill = syscall.SIGKILL
	sigTerm = syscall.SIGTERM
	sigStop = syscall.SIGSTOP
	sigCont = syscall.SIGCONT
)

// signal does nothing to a process that has ended.
func (p *process) signal(sig syscall.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return // it has ended
	}
}
