package app

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/natsd/natsdtest"
)

// onSmallDisk runs f with a folder that is a file system of its own, in a process that may mount one: where this one
// may not, the test runs again as another in namespaces of its own.
func onSmallDisk(t *testing.T, f func(t *testing.T, disk string)) {
	t.Helper()
	disk := t.TempDir()
	err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m")
	switch {
	case err == nil:
		t.Cleanup(func() {
			if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
				t.Error(err)
			}
		})
		f(t, disk)
		return
	case os.Geteuid() == 0: // as it is also in namespaces of its own
		t.Skipf("no file system can be mounted here: %v", err)
	}
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	said, err := again.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM) || strings.Contains(string(said), "--- SKIP"):
		t.Skipf("no file system can be mounted here: %v\n%s", err, said)
	case err != nil:
		t.Errorf("in namespaces of its own: %v\n%s", err, said)
	}
}

// fill writes to the disk until there is no space left, and returns the file.
func fill(t *testing.T, disk string) string {
	t.Helper()
	file, err := os.Create(filepath.Join(disk, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return file.Name()
}

// The disk of the NATS server is full. Clients are told within router.publish_timeout that the queue takes nothing and
// that they may come again, and none hangs. NATS gives a stream up that it could not write: once there is space, it has
// to be started again, and baton goes on by itself.
func TestFullDiskOfTheServerIsA503UntilItRestarts(t *testing.T) {
	onSmallDisk(t, func(t *testing.T, disk string) {
		const patience = 2 * time.Second
		server := natsdtest.Start(t, fmt.Sprintf("jetstream { store_dir: %q, max_file_store: 32GB, max_memory_store: 8GB }", filepath.Join(disk, "jetstream")))
		o := onNATS(t, server.URL(), func(c *Config) { c.Router.PublishTimeout = patience })
		if err := o.proven(t, 0, "before "+words(700), 5); err != nil {
			t.Fatal(err)
		}
		ballast := fill(t, disk)
		full := 0
		for i := range 8 { // what was allocated before may take some
			resp, err := post(t.Context(), http.DefaultClient, o.bases[0]+"/v1/chat/completions", chatBody(o.proc.cfg.Sim.Model, fmt.Sprint(i, words(700)), 5))
			if err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			switch {
			case err != nil:
				t.Error(err)
			case resp.StatusCode == http.StatusOK && full == 0:
			case resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || !strings.Contains(string(text), "The work queue did not take the request."):
				t.Errorf("on a full disk the answer is %d %v %s", resp.StatusCode, resp.Header, text)
			default:
				full++
			}
		}
		if full == 0 {
			t.Error("nothing was refused although the disk is full")
		}
		server.Stop()
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		server.Restart(t)
		for i := range 10 {
			if err := o.proven(t, i, fmt.Sprint("after ", i, words(700)), 5); err != nil {
				t.Error(err)
			}
		}
		o.nothingHeld(t)
	})
}
