//go:build e2e

package e2evllm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is one baton process of the suite's own.
type process struct {
	name string
	log  string // file with its standard error
	cmd  *exec.Cmd
	end  chan struct{} // closed when it has ended
	err  error         // how, once end is closed
}

// start runs baton until the test ends, at the latest. Settings of somebody's own are not handed on.
func start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{name: name, log: filepath.Join(t.TempDir(), name+".log"), end: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Stderr, p.cmd.Dir = log, filepath.Dir(p.log) // a folder that stays, whatever becomes of the checkout
	p.cmd.Env = slices.DeleteFunc(p.cmd.Environ(), func(s string) bool { return strings.HasPrefix(s, "BATON_") })
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.end)
	}()
	t.Cleanup(func() { p.stop(t) })
	return p
}

// stopTime is how long baton up with two engines may take to end.
const stopTime = 90 * time.Second

// stop ends the process, which must end well and in time. It does nothing if it has ended.
func (p *process) stop(t *testing.T) {
	t.Helper()
	if p.ended() {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGCONT)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.end:
		if p.err != nil {
			t.Errorf("%s ended with %v; its last lines:\n%s", p.name, p.err, tail(p.log))
		}
	case <-time.After(stopTime):
		t.Errorf("%s has not ended %v after SIGTERM; its last lines:\n%s", p.name, stopTime, tail(p.log))
		_ = p.cmd.Process.Kill()
		<-p.end
	}
}

func (p *process) ended() bool {
	select {
	case <-p.end:
		return true
	default:
		return false
	}
}

// freeze stops the process in its tracks until the returned function is called.
func (p *process) freeze(t *testing.T) (thaw func()) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	thaw = func() { _ = p.cmd.Process.Signal(syscall.SIGCONT) }
	t.Cleanup(thaw)
	return thaw
}

// tail is the end of a log file, without the many lines by which vLLM lists its routes.
func tail(file string) string {
	const lines = 15
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	all = slices.DeleteFunc(all, func(line string) bool { return strings.Contains(line, "] Route: ") })
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// proc is a process as /proc shows it.
type proc struct {
	pid, parent int
	command     string // arguments, each ended by a space
	memory      int    // resident, MiB
}

// processes lists all that run, but for the dead whose parents have not asked yet.
func processes() (all []proc) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		p := proc{}
		p.pid, _ = strconv.Atoi(filepath.Base(dir))
		status, err := os.ReadFile(dir + "/status")
		if err != nil {
			continue // it has ended meanwhile
		}
		zombie := false
		for line := range strings.Lines(string(status)) {
			name, value, _ := strings.Cut(line, ":")
			switch name {
			case "State":
				zombie = strings.Contains(value, "Z")
			case "PPid":
				_, _ = fmt.Sscan(value, &p.parent)
			case "VmRSS":
				_, _ = fmt.Sscan(value, &p.memory)
				p.memory /= 1024
			}
		}
		command, _ := os.ReadFile(dir + "/cmdline")
		p.command = strings.ReplaceAll(string(command), "\x00", " ")
		if !zombie {
			all = append(all, p)
		}
	}
	return all
}

// below lists a process and all its descendants.
func below(pid int) (tree []proc) {
	all := processes()
	known := map[int]bool{pid: true}
	for found := true; found; {
		found = false
		for _, p := range all {
			if known[p.parent] && !known[p.pid] {
				known[p.pid], found = true, true
			}
		}
	}
	for _, p := range all {
		if known[p.pid] {
			tree = append(tree, p)
		}
	}
	return tree
}

// memory of a process and all below it, MiB.
func memory(pid int) (sum int) {
	for _, p := range below(pid) {
		sum += p.memory
	}
	return sum
}
