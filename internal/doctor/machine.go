package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	aboutMachine = "this machine"
	// otherFiles is what a frontend has open beside its clients' connections: NATS, logs, listeners.
	otherFiles = 256
	// overhead is what a process needs beside what it is told to hold, in bytes.
	overhead = 512 << 20
)

// machine adds whether a frontend fits here.
func machine(r *Report, s *Subject) {
	if most, ok := openFiles(); ok {
		if want := uint64(s.Connections + otherFiles); s.Connections > 0 && most < want {
			r.warn(aboutMachine, fmt.Sprintf("a process may open %d files, and a frontend takes %d connections (api.max_connections)", most, s.Connections),
				fmt.Sprintf("LimitNOFILE=%d in the systemd unit, ulimit -n %d, or --ulimit nofile=%d for a container", want, want, want))
		} else {
			r.ok(aboutMachine, fmt.Sprintf("a process may open %d files", most))
		}
	}
	limit, where := memoryLimit("/sys/fs/cgroup", "/proc/self/cgroup")
	if limit == 0 {
		return
	}
	if want := s.Memory + overhead; limit < want {
		r.warn(aboutMachine, fmt.Sprintf("memory is bounded to %s (%s), and a frontend by these settings may hold %s", bytes(limit), where, bytes(want)),
			"raise the bound, or lower router.all.bytes, api.max_body_memory and dispatch.look_ahead_bytes")
		return
	}
	r.ok(aboutMachine, fmt.Sprintf("memory: %s (%s), of which a frontend by these settings may hold %s", bytes(limit), where, bytes(s.Memory+overhead)))
}

// memoryLimit returns the tightest bound of the control groups that this process is in, or the machine's memory; 0
// where the system does not say. root is where control groups are mounted, self the file that names this process's.
func memoryLimit(root, self string) (limit int64, where string) {
	text, _ := os.ReadFile(self)
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		kinds, path, ok := strings.Cut(rest, ":")
		file, base := "memory.max", root
		if kinds != "" { // version 1
			file, base = "memory.limit_in_bytes", filepath.Join(root, "memory")
		}
		if !ok || kinds != "" && kinds != "memory" {
			continue
		}
		for dir := path; ; dir = filepath.Dir(dir) { // a group is bound by those above it
			if n := readLimit(filepath.Join(base, dir, file)); n > 0 && (limit == 0 || n < limit) {
				limit, where = n, "control group "+dir
			}
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	if total := memTotal(); total > 0 && (limit == 0 || total < limit) {
		limit, where = total, "all that the machine has"
	}
	return limit, where
}

// readLimit is 0 if there is none, which version 2 calls max.
func readLimit(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return n
}

func memTotal() (size int64) {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &size); err == nil {
			return size << 10
		}
	}
	return 0
}
