// Package vllm knows how stock `vllm serve` processes are started as prefill, decode and aggregated engines:
// their flags and environment, what must be there before, and what their log lines mean. It runs nothing
// but checks; internal/supervise runs the engines.
package vllm

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/config"
)

// What engines run on.
const (
	deviceCUDA = "cuda"
	deviceCPU  = "cpu"
)

// Config says which engines `baton up` starts, and how.
type Config struct {
	Command        string   `yaml:"command" help:"the vllm program: a name on the PATH, or a path"`
	Model          string   `yaml:"model" help:"model folder or id; every engine gets the same text, or they would refuse each other's KV caches"`
	Device         string   `yaml:"device" help:"cuda or cpu; on cpu up.prefill, up.decode and up.both are the numbers of engines"`
	PrefillGPUs    []string `yaml:"prefill_gpus" help:"GPUs of the prefill engines, such as 0-3 or 0,2, by nvidia-smi's index, or UUIDs"`
	DecodeGPUs     []string `yaml:"decode_gpus" help:"GPUs of the decode engines"`
	BothGPUs       []string `yaml:"both_gpus" help:"GPUs of the engines that do both: the aggregated mode"`
	TensorParallel int      `yaml:"tensor_parallel" help:"GPUs of one engine; the lists of GPUs are cut by it"`
	Args           []string `yaml:"args" help:"further flags of vllm serve for every engine; on the command line they follow --"`
	PrefillArgs    []string `yaml:"prefill_args" help:"further flags of the prefill engines"`
	DecodeArgs     []string `yaml:"decode_args" help:"further flags of the decode engines"`
	LoadFailure    string   `yaml:"load_failure" help:"what a decode engine does with a request whose KV cache it cannot read (kv_load_failure_policy): fail, and baton prefills it anew, or recompute, in the midst of its decodes"`
	Port           int      `yaml:"port" help:"first port for engines; each gets the next one that is free, on the loopback address"`
	SidePort       int      `yaml:"side_port" help:"first port for the side channels by which engines learn of each other's KV caches"`
	LogDir         string   `yaml:"log_dir" help:"folder for one log file per engine; empty: their lines are in baton's own log, at level debug"`

	Drain time.Duration `yaml:"drain_timeout" help:"how long requests may go on after Ctrl-C; it stands in for up.drain_timeout"`
}

// DefaultConfig returns the defaults; there is none for the model.
func DefaultConfig() Config {
	return Config{
		Command: "vllm", Device: deviceCUDA, TensorParallel: 1, LoadFailure: "fail", Port: 8100, SidePort: 5600, Drain: 30 * time.Second,
	}
}

// Validate reports every fault that shows without a look at the machine.
func (c *Config) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(c.Command == "", "vllm.command is empty, want the name or path of the vllm program")
	fault(c.Device != deviceCUDA && c.Device != deviceCPU, "vllm.device is %q, want cuda or cpu", c.Device)
	fault(c.LoadFailure != "fail" && c.LoadFailure != "recompute", "vllm.load_failure is %q, want fail or recompute", c.LoadFailure)
	errs = append(
		errs,
		config.AtLeast("vllm.tensor_parallel", c.TensorParallel, 1),
		config.AtLeast("vllm.port", c.Port, 1),
		config.AtLeast("vllm.side_port", c.SidePort, 1),
		config.AtLeast("vllm.drain_timeout", c.Drain, 0),
		c.checkGPUs(),
		checkArgs("vllm.args", c.Args),
		checkArgs("vllm.prefill_args", c.PrefillArgs),
		checkArgs("vllm.decode_args", c.DecodeArgs),
		checkShared("vllm.prefill_args", c.PrefillArgs),
		checkShared("vllm.decode_args", c.DecodeArgs),
	)
	return errors.Join(errs...)
}

// checkGPUs reports lists that cannot be read or cut, and GPUs that would serve twice.
func (c *Config) checkGPUs() error {
	var errs []error
	owner := map[string]string{}
	lists := []struct {
		name string
		gpus []string
	}{{"prefill_gpus", c.PrefillGPUs}, {"decode_gpus", c.DecodeGPUs}, {"both_gpus", c.BothGPUs}}
	for _, list := range lists {
		gpus, err := expandGPUs(list.gpus)
		if err != nil {
			errs = append(errs, fmt.Errorf("vllm.%s: %w", list.name, err))
			continue
		}
		if c.TensorParallel > 0 && len(gpus)%c.TensorParallel != 0 {
			errs = append(errs, fmt.Errorf("vllm.%s has %d GPUs, want a multiple of vllm.tensor_parallel (%d)", list.name, len(gpus), c.TensorParallel))
		}
		for _, gpu := range gpus {
			if other, twice := owner[gpu]; twice {
				errs = append(errs, fmt.Errorf("vllm.%s has GPU %s, which vllm.%s has too", list.name, gpu, other))
			}
			owner[gpu] = list.name
		}
	}
	if (len(c.PrefillGPUs) == 0) != (len(c.DecodeGPUs) == 0) && len(c.BothGPUs) == 0 {
		errs = append(errs, errors.New("vllm.prefill_gpus and vllm.decode_gpus: want both, or vllm.both_gpus"))
	}
	if c.Device == deviceCPU && len(slices.Concat(c.PrefillGPUs, c.DecodeGPUs, c.BothGPUs)) > 0 {
		errs = append(errs, errors.New("vllm.device is cpu, and there are lists of GPUs: want one or the other"))
	}
	return errors.Join(errs...)
}
