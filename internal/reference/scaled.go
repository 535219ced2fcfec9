package reference

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/workload"
	"github.com/baton-llm/baton/internal/config"
)

const (
	startTime = 30 * time.Second
	stopTime  = 20 * time.Second
)

// Scaled runs a case in real time, with baton in a process of its own, engines that are scale times
// faster, and a load that comes so much faster. Times in the result are as they would be unscaled.
// On a busy machine baton's own work, which is not scaled, shows.
func (c *Case) Scaled(ctx context.Context, scale float64, logs io.Writer) (_ Outcome, err error) {
	dir, err := os.MkdirTemp("", "baton-reference-")
	if err != nil {
		return Outcome{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	addr, err := freeAddr(ctx)
	if err != nil {
		return Outcome{}, err
	}
	cfg := c.Config()
	cfg.API.Listen = addr
	Scale(&cfg, scale)
	file := filepath.Join(dir, "baton.yaml")
	if err := write(file, &cfg); err != nil {
		return Outcome{}, err
	}
	stop, err := start(ctx, file, addr, logs)
	if err != nil {
		return Outcome{}, fmt.Errorf("run %s: %w", c.Name, err)
	}
	defer func() { err = errors.Join(err, stop()) }()

	specs := make([]workload.Spec, len(c.Specs))
	for i, s := range c.Specs {
		s.Rate *= scale
		specs[i] = s
	}
	plan, err := workload.Plan(specs, bench.Completions, 0)
	if err != nil {
		return Outcome{}, fmt.Errorf("plan %s: %w", c.Name, err)
	}
	begun := time.Now()
	target := bench.Target{URL: "http://" + addr, Endpoint: bench.Completions, Model: cfg.Sim.Model}
	result, err := bench.Run(ctx, target, plan, bench.Options{IgnoreEOS: true, MaxConcurrency: c.Concurrency})
	if err != nil {
		return Outcome{}, fmt.Errorf("run %s: %w", c.Name, err)
	}
	result.Stretch(scale)
	return Outcome{Case: *c, Result: result, Took: time.Since(begun)}, ctx.Err()
}

// Scale makes the engines of a deployment so many times faster, and what it promises with them.
func Scale(cfg *app.Config, by float64) {
	shrink := func(d *time.Duration) { *d = time.Duration(float64(*d) / by) }
	cfg.Sim.TimeScale = by
	shrink(&cfg.Schedule.SLO.TPOT)
	shrink(&cfg.Schedule.SLO.TTFT)
}

func freeAddr(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

func write(file string, cfg any) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(config.Print(f, cfg, nil), f.Close())
}

// start runs `baton up` with the settings of file and waits until it serves on addr.
func start(ctx context.Context, file, addr string, logs io.Writer) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	up := exec.CommandContext(ctx, self, "--config", file, "up")
	up.Stderr = logs
	up.Cancel = func() error { return up.Process.Signal(syscall.SIGTERM) }
	up.WaitDelay = stopTime
	if err := up.Start(); err != nil {
		return nil, fmt.Errorf("start %s up: %w", self, err)
	}
	stop = func() error {
		_ = up.Process.Signal(syscall.SIGTERM)
		return up.Wait()
	}
	wait, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for !ready(wait, addr) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-wait.Done():
			return nil, errors.Join(fmt.Errorf("baton up is not ready within %v", startTime), stop())
		}
	}
	return stop, nil
}

func ready(ctx context.Context, addr string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
