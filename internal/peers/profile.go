package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// profile takes the profiles of a router during one load into files of dir; the load's own figures are then a little
// worse. The function that it returns waits for them.
func profile(ctx context.Context, r *router, c *cell, window time.Duration, dir string) (wait func() error) {
	if dir == "" || r.admin == "" {
		return func() error { return nil }
	}
	ended := make(chan error, 1)
	go func() {
		ended <- save(ctx, r, fmt.Sprintf("profile?seconds=%d", max(1, int(window.Seconds()))), filepath.Join(dir, c.Name+".cpu.pprof"))
	}()
	return func() error {
		if err := <-ended; err != nil {
			return err
		}
		for _, kind := range []string{"allocs", "mutex", "block"} {
			if err := save(ctx, r, kind, filepath.Join(dir, c.Name+"."+kind+".pprof")); err != nil {
				return err
			}
		}
		return nil
	}
}

func save(ctx context.Context, r *router, what, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.admin+"/debug/pprof/"+what, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("profile %s: %w", r.name, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("profile %s: %s: %.200s", r.name, res.Status, text)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
