package supervise

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// KeepCommand is the argument that makes a binary a keeper; its main calls Keep then, before all else.
const KeepCommand = "keep-engine"

const (
	signalBase = 128             // a keeper's exit status says so which signal ended the program
	notFound   = 127             // and so that there was no program
	termTime   = 5 * time.Second // for what is left of a program, from SIGTERM to SIGKILL
	tidyTime   = 2 * time.Second // more for what ignores SIGTERM in order to tidy up after the others
	sweepTime  = time.Minute     // after which a keeper no longer waits for what SIGKILL does not end
	sweepEvery = 50 * time.Millisecond
)

// Keep runs a program below it until nothing of the program is left, and returns the exit status that tells
// how it ended. args are "--", the program and its arguments. Three things end the program:
//
//   - SIGTERM, SIGINT and SIGHUP are passed on to it;
//   - the end of standard input, which comes when whoever started the keeper lets go of the pipe, or dies
//     in whatever way, has all processes below the keeper ended;
//   - the keeper's own death has the kernel kill the program (PR_SET_PDEATHSIG).
//
// A program may leave processes behind, such as the engine core of a vLLM whose API server was killed. The
// kernel gives them to the keeper (PR_SET_CHILD_SUBREAPER), also those that made themselves a session of
// their own, and the keeper ends them.
func Keep(args []string) int {
	runtime.LockOSThread() // PR_SET_PDEATHSIG means the thread that started the program, not the process
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return complain("become the parent of orphans", err)
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	orphaned := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(orphaned)
	}()
	pid, err := launch(args)
	if err != nil {
		return complain("start the engine", err)
	}
	ended, none := make(chan syscall.WaitStatus, 1), make(chan struct{})
	go reap(pid, ended, none)

	var status syscall.WaitStatus
	for running := true; running; {
		select {
		case <-signals:
			_ = syscall.Kill(pid, syscall.SIGTERM)
		case status = <-ended:
			running = false
		case <-orphaned:
			running = false
		}
	}
	sweep(none)
	select {
	case status = <-ended:
	default:
	}
	if status.Signaled() {
		return signalBase + int(status.Signal())
	}
	return status.ExitStatus()
}

func complain(what string, err error) int {
	fmt.Fprintf(os.Stderr, "keeper: %s: %v\n", what, err)
	return notFound
}

// launch starts the program with no input, and our output for its own.
func launch(args []string) (pid int, err error) {
	if len(args) < 2 || args[0] != "--" {
		return 0, fmt.Errorf("arguments %q, want -- and a command", args)
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return 0, err
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	return syscall.ForkExec(path, args[1:], &syscall.ProcAttr{
		Env: syscall.Environ(), Files: []uintptr{null.Fd(), 1, 2},
		Sys: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	})
}

// reap waits for every process that is or becomes our child: the program's end goes to ended, and none is
// closed when no process is left.
func reap(program int, ended chan<- syscall.WaitStatus, none chan<- struct{}) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR: //nolint:errorlint // a syscall.Errno as it is
		case err != nil:
			close(none)
			return
		case pid == program:
			ended <- status
		}
	}
}

// sweep ends all processes below this one, first with good words. Its last ones may tidy up after the
// others: the trackers of Python's shared memory ignore SIGTERM, and remove what the dead have left.
func sweep(none <-chan struct{}) {
	begun := time.Now()
	signalAll(syscall.SIGTERM, func(int) bool { return true })
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-none:
			return
		case <-tick.C:
		}
		switch took := time.Since(begun); {
		case took > sweepTime:
			return
		case took > termTime+tidyTime:
			signalAll(syscall.SIGKILL, func(int) bool { return true })
		case took > termTime:
			signalAll(syscall.SIGKILL, func(pid int) bool { return !ignoresTerm(pid) })
		}
	}
}

func signalAll(s syscall.Signal, which func(pid int) bool) {
	for _, pid := range descendants(os.Getpid()) {
		if which(pid) {
			_ = syscall.Kill(pid, s)
		}
	}
}
