package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// patience bounds every wait for a real process here.
const patience = 30 * time.Second

// running is a child under test.
type running struct {
	t       *testing.T
	child   *Child
	changes chan Status
	stop    context.CancelFunc
	ended   chan error
	reg     *prometheus.Registry
}

// run supervises a shell script; change adapts what is run and how.
func run(t *testing.T, script string, change func(*Spec, *Config)) *running {
	t.Helper()
	cfg := DefaultConfig()
	cfg.RestartDelay, cfg.RestartDelayMax = 10*time.Millisecond, 20*time.Millisecond
	spec := Spec{Name: "engine-0", Command: []string{"sh", "-c", script, "sh"}, Ready: func(context.Context) error { return nil }}
	if change != nil {
		change(&spec, &cfg)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, changes: make(chan Status, 1000), stop: cancel, ended: make(chan error, 1), reg: prometheus.NewRegistry()}
	r.child = New(spec, cfg, func(s Status) { r.changes <- s }, r.reg, slog.New(slog.DiscardHandler))
	go func() { r.ended <- r.child.Run(ctx) }()
	return r
}

// await returns the next status that is in the state.
func (r *running) await(state State) Status {
	r.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case s := <-r.changes:
			if s.State == state {
				return s
			}
		case <-late.C:
			r.t.Fatalf("not %s after %s", state, patience)
		}
	}
}

// end returns what Run returned.
func (r *running) end() error {
	r.t.Helper()
	r.stop()
	return r.wait()
}

func (r *running) wait() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatalf("Run has not returned after %s", patience)
		return nil
	}
}

func TestStopIsGentle(t *testing.T) {
	said := filepath.Join(t.TempDir(), "engine.log")
	r := run(t, `trap 'echo stopping; exit 0' TERM; echo up; while :; do sleep 0.05; done`, func(s *Spec, _ *Config) { s.LogFile = said })
	r.await(Ready)
	awaitText(t, said, "up")
	if err := r.end(); err != nil {
		t.Errorf("Run = %v", err)
	}
	awaitText(t, said, "stopping")
	if got := r.await(Stopped); got.Name != "engine-0" {
		t.Errorf("last status is of %q", got.Name)
	}
}

func TestStopKillsWhatDoesNotEnd(t *testing.T) {
	t.Parallel()
	said := filepath.Join(t.TempDir(), "engine.log")
	r := run(t, `trap '' TERM; echo $$; while :; do sleep 1; done`, func(s *Spec, c *Config) {
		s.LogFile, c.StopTimeout = said, 50*time.Millisecond
	})
	r.await(Ready)
	pid := pids(awaitText(t, said, "\n"))[0]
	if err := r.end(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if alive(pid) {
		t.Errorf("process %d lives", pid)
	}
}

func TestRestartWithBackoff(t *testing.T) {
	r := run(t, `while :; do sleep 0.05; done`, nil)
	for range 3 {
		r.await(Ready)
		kill(t, descendants(os.Getpid())...) // the keeper too: the worst case
		down := r.await(Down)
		if down.Pause < 5*time.Millisecond || down.Pause > 20*time.Millisecond || !strings.Contains(brief(down.Err), "killed") {
			t.Errorf("down for %v: %v", down.Pause, down.Err)
		}
	}
	r.await(Ready)
	if n := testutil.ToFloat64(r.child.metrics.starts); n != 4 {
		t.Errorf("%v starts are counted, want 4", n)
	}
	if err := r.end(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if n := testutil.ToFloat64(r.child.metrics.ready); n != 0 {
		t.Errorf("ready is %v at the end", n)
	}
}

// A process of the program that outlives it must not be in the way of the next start.
func TestRestartWaitsForWhatIsLeft(t *testing.T) {
	t.Parallel()
	said := filepath.Join(t.TempDir(), "engine.log")
	r := run(t, `setsid sleep 1000 & echo $!; echo $$; wait`, func(s *Spec, _ *Config) { s.LogFile = said })
	r.await(Ready)
	first := pids(awaitText(t, said, "\n", "\n"))
	kill(t, first[1])
	r.await(Down)
	if alive(first[0]) {
		t.Errorf("process %d outlives the program that started it", first[0])
	}
	r.await(Ready)
	if err := r.end(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestFailureAtTheFirstStart(t *testing.T) {
	r := run(t, `i=0; while [ $i -lt 30 ]; do echo "line $i"; i=$((i+1)); done; echo "ValueError: no such model"; echo "RuntimeError: see above"; exit 3`, func(s *Spec, _ *Config) {
		s.Ready = func(context.Context) error { return errors.New("not yet") }
		s.IsCause = func(line string) bool { return strings.Contains(line, "Error") }
	})
	err := r.wait()
	if !errors.Is(err, ErrFailed) {
		t.Fatalf("Run = %v, want ErrFailed", err)
	}
	for _, want := range []string{"engine-0", "exit status 3", "cause: ValueError: no such model\n", "\n    line 29\n", "\n    RuntimeError: see above"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "line 5\n") {
		t.Errorf("error has all the lines: %v", err)
	}
}

func TestProgramThatIsNotThere(t *testing.T) {
	r := run(t, "", func(s *Spec, _ *Config) {
		s.Command = []string{"/nowhere/vllm"}
		s.Ready = func(context.Context) error { return errors.New("no") }
	})
	if err := r.wait(); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "/nowhere/vllm: no such file") {
		t.Errorf("Run = %v", err)
	}
}

func TestStartThatTakesTooLong(t *testing.T) {
	r := run(t, `while :; do sleep 0.05; done`, func(s *Spec, c *Config) {
		s.Ready = func(context.Context) error { return errors.New("not yet") }
		c.StartTimeout = 100 * time.Millisecond
	})
	if err := r.wait(); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "supervise.start_timeout") {
		t.Errorf("Run = %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("BATON_NATS_PASSWORD", "secret")
	t.Setenv("OMP_NUM_THREADS", "8")
	said := filepath.Join(t.TempDir(), "engine.log")
	r := run(t, `echo "$PORT $OMP_NUM_THREADS $UCX_TLS ${BATON_NATS_PASSWORD-none}."; while :; do sleep 0.05; done`, func(s *Spec, _ *Config) {
		s.LogFile, s.Env, s.Default = said, []string{"PORT=5600"}, []string{"OMP_NUM_THREADS=1", "UCX_TLS=tcp"}
	})
	r.await(Ready)
	if got := awaitText(t, said, "\n"); got != "5600 8 tcp none.\n" {
		t.Errorf("the program sees %q", got)
	}
	if err := r.end(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

// Of several processes the one that is ahead tells the phase.
func TestPhases(t *testing.T) {
	release := make(chan struct{})
	r := run(t, `echo load 50%; echo warm; echo load 100%; echo done; while :; do sleep 0.05; done`, func(s *Spec, _ *Config) {
		s.Phases = []string{"load", "warm"}
		s.Phase = func(line string) (string, string, bool) {
			if line == "done" {
				close(release)
			}
			phase, detail, _ := strings.Cut(line, " ")
			return phase, detail, line != "done"
		}
		s.Ready = func(context.Context) error {
			select {
			case <-release:
				return nil
			default:
				return errors.New("not yet")
			}
		}
	})
	var got []string
	for s := r.await(Starting); s.State == Starting; s = <-r.changes {
		got = append(got, strings.TrimSpace(s.Phase+" "+s.Detail))
	}
	if diff := cmp.Diff([]string{"", "load 50%", "warm"}, got); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if err := r.end(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

func kill(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("kill %d: %v", pid, err)
		}
	}
}

// alive tells whether a process is there and no zombie that waits for a parent elsewhere.
func alive(pid int) bool {
	state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(state), ") ")
	return !strings.HasPrefix(rest, "Z")
}
