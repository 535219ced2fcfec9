package supervise

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// family is a program like vLLM: a server with a core below it, a tracker that ignores SIGTERM and lives as
// long as the others, a helper in a session of its own, and an orphan. It prints their process ids.
const family = `
sh -c 'trap "" TERM; echo $$; while [ -d /proc/$1 ]; do sleep 0.1; done' tracker $$ &
sh -c 'sh -c "echo \$\$; exec sleep 1000" & echo $$; wait' core &
setsid sh -c 'echo $$; exec sleep 1000' helper &
sh -c 'sh -c "echo \$\$; exec sleep 1000" &' gone
echo $$
wait
`

const familySize = 6

func TestNothingOutlivesAKilledParent(t *testing.T) {
	t.Parallel()
	parent, members := startFamily(t)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	awaitDeath(t, members)
}

// Who kills the keeper alone kills the program, by the kernel, and its process group, by us. What has left
// the group has left us then: vLLM's processes do not.
func TestAKilledKeeperTakesTheProgramAlong(t *testing.T) {
	t.Parallel()
	parent, members := startFamily(t)
	keeper := childrenOf(parent.Process.Pid)
	if len(keeper) != 1 {
		t.Fatalf("the parent has the children %v, want one keeper", keeper)
	}
	group := slices.DeleteFunc(slices.Clone(members), func(pid int) bool {
		of, err := syscall.Getpgid(pid)
		return err != nil || of != keeper[0]
	})
	if len(group) != familySize-1 {
		t.Fatalf("%v of %v are in the keeper's group, want all but one", group, members)
	}
	kill(t, keeper...)
	awaitDeath(t, group)
	kill(t, members...)
}

// startFamily runs a family below a process that supervises it.
func startFamily(t *testing.T) (parent *exec.Cmd, members []int) {
	t.Helper()
	parent = exec.Command("/proc/self/exe", parentCommand, family)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = parent.Process.Kill()
		_ = parent.Wait()
	})
	lines := bufio.NewScanner(out)
	for len(members) < familySize && lines.Scan() {
		members = append(members, pids(lines.Text())...)
	}
	if len(members) != familySize {
		t.Fatalf("the family has the members %v, want %d", members, familySize)
	}
	return parent, members
}

func awaitDeath(t *testing.T, members []int) {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		var left []int
		for _, pid := range members {
			if alive(pid) {
				left = append(left, pid)
			}
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("processes %v of %v live after %s", left, members, patience)
		}
	}
}

func childrenOf(pid int) (children []int) {
	for _, p := range descendants(pid) {
		if parent, ok := parentOf(p); ok && parent == pid {
			children = append(children, p)
		}
	}
	return children
}

// pids reads one process id per line; other lines are not there.
func pids(text string) (found []int) {
	for line := range strings.Lines(text) {
		if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil {
			found = append(found, pid)
		}
	}
	return found
}

// awaitText returns a file's text once it has the parts, in this order.
func awaitText(t *testing.T, path string, parts ...string) string {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		text, _ := os.ReadFile(path)
		rest, found := string(text), true
		for _, part := range parts {
			var ok bool
			_, rest, ok = strings.Cut(rest, part)
			found = found && ok
		}
		if found {
			return string(text)
		}
		select {
		case <-tick.C:
		case <-late.C:
			t.Fatalf("%s holds %q after %s, want %q", path, text, patience, parts)
		}
	}
}
