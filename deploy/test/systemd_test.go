package deploytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	core "k8s.io/api/core/v1"
)

const systemdDir = "../systemd"

// unit returns the directives of a unit's file: the last of each name, and all that it has.
func unit(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	directives := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			directives[name] = value
		}
	}
	return directives
}

// A unit's command is one of baton's, its time to stop is enough for all drains at their defaults, and the variables
// of the examples are settings.
func TestUnits(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(systemdDir, "*.service"))
	if err != nil || len(files) != 3 {
		t.Fatalf("units %v, %v", files, err)
	}
	for _, file := range files {
		u := unit(t, file)
		command := strings.Fields(strings.ReplaceAll(u["ExecStart"], "%i", "8100"))
		example := "worker.env.example"
		if command[1] == "frontend" {
			example = "frontend.env.example"
		}
		c := core.Container{Args: command[1:]}
		for name := range unit(t, filepath.Join(systemdDir, example)) {
			value := map[string]string{"BATON_API_LISTEN": ":8000", "BATON_API_ADMIN_LISTEN": "127.0.0.1:9090"}[name]
			if value == "" {
				value = "a-secret-that-is-long"
			}
			c.Env = append(c.Env, core.EnvVar{Name: name, Value: value})
		}
		cfg := settings(t, "../single-node/baton.yaml", filepath.Base(file), &c)
		stop, err := time.ParseDuration(strings.Replace(u["TimeoutStopSec"], "min", "m", 1))
		if drain := max(cfg.API.DrainDelay+cfg.API.DrainTimeout, cfg.Decode.DrainTimeout) + cfg.NATS.CloseTimeout; err != nil || stop < drain {
			t.Errorf("%s has %v to stop and may need %v (%v)", file, stop, drain, err)
		}
	}
}

// systemd takes the units, and says that they are well shut in.
func TestSystemdTakesTheUnits(t *testing.T) {
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here")
	}
	dir := t.TempDir()
	for _, name := range []string{"baton-frontend.service", "baton-prefill@8100.service", "baton-decode@8200.service"} {
		base, instance, _ := strings.Cut(name, "@")
		if instance != "" {
			base += "@.service"
		}
		text, err := os.ReadFile(filepath.Join(systemdDir, base))
		if err != nil {
			t.Fatal(err)
		}
		self := strings.ReplaceAll(string(text), "/usr/local/bin/baton", os.Args[0]) // verify wants a program that is there
		if err := os.WriteFile(filepath.Join(dir, base), []byte(self), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"verify", "--man=no", filepath.Join(dir, name)}, {"security", "--offline=true", "--threshold=15", filepath.Join(dir, name)}} {
			cmd := exec.CommandContext(t.Context(), analyze, args...)
			out, err := cmd.CombinedOutput()
			if err != nil || args[0] == "verify" && len(out) > 0 {
				t.Errorf("systemd-analyze %v: %v\n%s", args, err, out)
			}
		}
	}
}
