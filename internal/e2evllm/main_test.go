//go:build e2e

package e2evllm

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	setupTime = time.Hour // of the environment, where it has to be built
	buildTime = 10 * time.Minute
)

// Where things are, set by TestMain.
var (
	environment string // the folder that internal/vllmcpu/setup made
	program     string // baton
	vllmCommand string // runs the environment's vllm, offline
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(prepared(m))
}

// prepared makes what the suite needs, and runs it.
func prepared(m *testing.M) int {
	dir, err := os.MkdirTemp("", "baton-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	begun := time.Now()
	program = filepath.Join(dir, "baton")
	if _, err = output(buildTime, "go", "build", "-o", program, "../../cmd/baton"); err == nil {
		environment, err = output(setupTime, "../vllmcpu/setup")
	}
	if err == nil {
		vllmCommand, err = filepath.Abs("../vllmcpu/vllm")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Printf("baton built, environment there: %.0fs\n", time.Since(begun).Seconds())
	return m.Run()
}

// output is what a program says on its standard output; its standard error is shown.
func output(bound time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out.String()), nil
}
