package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is one program that runs in a group of its own, with its log in a file.
type process struct {
	name  string
	cmd   *exec.Cmd
	log   string
	ended chan struct{} // closed when it is over
}

const stopTime = 10 * time.Second

// launch starts a program. Its environment is the caller's, and more.
func launch(dir, name string, env []string, command ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), ended: make(chan struct{})}
	file, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = file, file, dir
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Env = append(p.cmd.Environ(), env...)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

// stop ends the program and all of its group.
func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(stopTime):
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// lastWords is the end of its log.
func (p *process) lastWords() string {
	const most = 2000
	file, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer file.Close()
	if _, err := file.Seek(-most, io.SeekEnd); err != nil {
		_, _ = file.Seek(0, io.SeekStart)
	}
	text, _ := io.ReadAll(file)
	return strings.TrimSpace(string(text))
}

// freeAddr is an address of this machine on which nobody listens now.
func freeAddr() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// until calls try every 50 ms until it succeeds, p has ended or a bound is over.
func (p *process) until(ctx context.Context, bound time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, bound)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended: %s", p.name, p.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready after %s: %w\n%s", p.name, bound, err, p.lastWords())
		case <-tick.C:
		}
	}
}

// usage is what a process and all below it have used so far.
type usage struct {
	cpu  time.Duration
	peak int64 // bytes; the sum of each one's most since forgetPeak
}

// measure reads what the tree of processes below and with pid has used.
func measure(pid int) (u usage, err error) {
	for _, p := range tree(pid) {
		cpu, _, e := stat(p)
		if e != nil {
			if p == pid {
				err = e
			}
			continue // ended meanwhile
		}
		u.cpu += cpu
		u.peak += peak(p)
	}
	return u, err
}

// forgetPeak has the kernel measure the most memory of a tree anew.
func forgetPeak(pid int) {
	for _, p := range tree(pid) {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p), []byte("5"), 0)
	}
}

// tree lists pid and all processes below it.
func tree(pid int) []int {
	below := map[int][]int{}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return []int{pid}
	}
	for _, e := range entries {
		p, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if _, parent, err := stat(p); err == nil {
			below[parent] = append(below[parent], p)
		}
	}
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, below[all[i]]...)
	}
	return all
}

// tick is the unit of times in /proc: USER_HZ is 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat reads the processor time of a process, its ended children's included, and its parent; see proc_pid_stat(5).
func stat(pid int) (cpu time.Duration, parent int, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, err
	}
	_, rest, ok := strings.Cut(string(text), ") ") // a name may hold anything else
	fields := strings.Fields(rest)
	const parentField, utime, cstime = 1, 11, 14
	if !ok || len(fields) <= cstime {
		return 0, 0, errors.New("/proc/PID/stat is unreadable")
	}
	if parent, err = strconv.Atoi(fields[parentField]); err != nil {
		return 0, 0, err
	}
	for _, f := range fields[utime : cstime+1] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, 0, err
		}
		cpu += time.Duration(n) * tick
	}
	return cpu, parent, nil
}

// peak is VmHWM, in bytes; 0: it ended meanwhile.
func peak(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), "VmHWM:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(fields[0], 10, 64)
	return kib << 10
}
