package vllm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a PATH with nothing but the given scripts.
func machine(t *testing.T, programs map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
	return dir
}

const twoGPUs = `echo "0, GPU-aaaa-1"; echo "1, GPU-bbbb-2"`

func TestCheckSaysWhatIsMissing(t *testing.T) {
	folder := t.TempDir()
	model := func(c *Config) { c.PrefillGPUs, c.DecodeGPUs = []string{"0"}, []string{"1"} }
	for _, tt := range []struct {
		name     string
		programs map[string]string
		change   func(*Config)
		engines  int
		want     []string // none: all is well
	}{
		{"all is there", map[string]string{"vllm": "", "nvidia-smi": twoGPUs}, model, 2, nil},
		{"by uuid", map[string]string{"vllm": "", "nvidia-smi": twoGPUs}, func(c *Config) { c.BothGPUs = []string{"GPU-bbbb"} }, 1, nil},
		{"no vllm", map[string]string{"nvidia-smi": twoGPUs}, model, 2, []string{"vllm.command", "pip install vllm"}},
		{"no such GPU", map[string]string{"vllm": "", "nvidia-smi": twoGPUs}, func(c *Config) { c.BothGPUs = []string{"1-2"} }, 2, []string{"GPU 2 is not here (nvidia-smi lists 0, 1)"}},
		{"no GPU named", map[string]string{"vllm": "", "nvidia-smi": twoGPUs}, func(*Config) {}, 0, []string{"--prefill-gpus", "(nvidia-smi lists 0, 1)"}},
		{"driver broken", map[string]string{"vllm": "", "nvidia-smi": "echo 'Driver/library version mismatch'; exit 18"}, model, 2, []string{"cannot list the GPUs", "version mismatch"}},
		{"empty folder", map[string]string{"vllm": ""}, func(c *Config) { c.Device, c.Model = "cpu", folder }, 2, []string{"has no config.json"}},
		{"no folder", map[string]string{"vllm": ""}, func(c *Config) { c.Device, c.Model = "cpu", "./nowhere" }, 2, []string{"vllm.model", "no such file"}},
		{"not that many on a CPU", map[string]string{"vllm": ""}, func(c *Config) { c.Device = "cpu" }, 100_000, []string{"100000 engines", "--prefill 1 --decode 1"}},
		{"several faults at once", nil, func(c *Config) { c.Device, c.Model = "cpu", folder }, 1, []string{"vllm.command", "config.json"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := machine(t, tt.programs)
			c := DefaultConfig()
			c.Model = "org/model"
			tt.change(&c)
			command, err := c.Check(t.Context(), tt.engines)
			if tt.want == nil && (err != nil || command != filepath.Join(dir, "vllm")) {
				t.Errorf("Check = %q, %v", command, err)
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("Check = %v, want %q in it", err, want)
				}
			}
		})
	}
}

// Without nvidia-smi the driver's devices tell whether there are GPUs.
func TestCheckWithoutNvidiaSMI(t *testing.T) {
	nodes, err := filepath.Glob("/dev/nvidia[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	machine(t, map[string]string{"vllm": ""})
	c := DefaultConfig()
	c.Model, c.BothGPUs = "org/model", []string{"0"}
	_, err = c.Check(t.Context(), 1)
	if advised := err != nil && strings.Contains(err.Error(), "--device cpu"); advised == (len(nodes) > 0) {
		t.Errorf("Check with the devices %q = %v", nodes, err)
	}
}
