package supervise

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	killTime = 30 * time.Second // for the keeper to end all, once it is told to without mercy
	lastRead = 2 * time.Second  // for what a program has written and nobody has read when it ends
)

// process is a program that runs below a keeper: a process of this same binary that ends the program, and
// all that came of it, when this process ends (see Keep).
type process struct {
	cmd      *exec.Cmd
	lifeline *os.File      // the keeper reads its other end: closed, also by our death, it means "kill"
	ended    chan struct{} // closed when nothing of the program is left
	err      error         // how the program ended; read it after ended
}

// start runs command; what it and its children write goes to out, line by line.
func start(command, env []string, out *lines) (*process, error) {
	keeper, lifeline, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a keeper's pipe: %w", err)
	}
	defer keeper.Close()
	// Not the path of this binary: a newer one may stand there by now.
	cmd := exec.Command("/proc/self/exe", append([]string{KeepCommand, "--"}, command...)...)
	cmd.Args[0] = "baton"
	cmd.Env = env
	cmd.Stdin = keeper
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = lastRead
	// A group of its own: Ctrl-C is for us, who then stop the program in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = lifeline.Close()
		return nil, fmt.Errorf("start a keeper: %w", err)
	}
	p := &process{cmd: cmd, lifeline: lifeline, ended: make(chan struct{})}
	go p.wait(out)
	return p, nil
}

// wait is the goroutine that ends with the keeper.
func (p *process) wait(out *lines) {
	err := p.cmd.Wait()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the program had ended well
	}
	if state, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && state.Signaled() {
		// Somebody killed the keeper. The kernel kills the program then, and here go its children.
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > signalBase {
		err = fmt.Errorf("signal: %s", syscall.Signal(exit.ExitCode()-signalBase))
	}
	out.flush()
	p.err = err
	_ = p.lifeline.Close()
	close(p.ended)
}

// stop asks the program to end, kills it if it has not after patience, and returns when nothing of it is
// left.
func (p *process) stop(patience time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if p.endsWithin(patience) {
		return nil
	}
	_ = p.lifeline.Close()
	if p.endsWithin(killTime) {
		return nil
	}
	return fmt.Errorf("processes of %s are left: the kernel does not end them", p.cmd.Args[3])
}

func (p *process) endsWithin(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-p.ended:
		return true
	case <-t.C:
		return false
	}
}

// environment is this process's, without baton's own settings, among which are keys.
func environment(set, unset []string) []string {
	var env []string
	for _, entry := range (&exec.Cmd{}).Environ() {
		if !strings.HasPrefix(entry, "BATON_") {
			env = append(env, entry)
		}
	}
	return append(append(unset[:len(unset):len(unset)], env...), set...)
}

var _ io.Writer = (*lines)(nil)
