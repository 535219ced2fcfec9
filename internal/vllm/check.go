package vllm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// smiTime bounds nvidia-smi, which takes seconds where the driver is not kept loaded.
const smiTime = 30 * time.Second

// cpuEngine is the memory of an engine on the CPU beside its weights, in bytes: Python, torch, and a KV
// cache of 1 GiB.
const cpuEngine = 3 << 30

// Check says what is missing on this machine for n engines, and what to do; else it returns the path of the
// vllm program.
func (c *Config) Check(ctx context.Context, n int) (command string, err error) {
	command, err = exec.LookPath(c.Command)
	if err != nil {
		err = fmt.Errorf("vllm.command: %w: install vLLM (pip install vllm nixl) and activate its environment, or say where the program is, such as /opt/vllm/bin/vllm", err)
	}
	err = errors.Join(err, c.checkModel())
	if c.Device == deviceCPU {
		err = errors.Join(err, c.checkMemory(n))
	} else {
		err = errors.Join(err, c.checkMachine(ctx))
	}
	if err != nil {
		return "", err
	}
	return filepath.Abs(command)
}

// checkModel looks at what is a path; an id is the hub's to know.
func (c *Config) checkModel() error {
	info, err := os.Stat(c.Model)
	switch {
	case err == nil && !info.IsDir():
		return nil // one file, such as a .gguf
	case err == nil:
		for _, name := range []string{"config.json", "params.json"} { // the second is Mistral's
			if _, err := os.Stat(filepath.Join(c.Model, name)); err == nil {
				return nil
			}
		}
		return fmt.Errorf("vllm.model: the folder %s has no config.json: name a folder in Hugging Face's format, with its config.json, tokenizer and .safetensors files", c.Model)
	case strings.HasPrefix(c.Model, "/"), strings.HasPrefix(c.Model, "."), strings.HasPrefix(c.Model, "~"), strings.Count(c.Model, "/") > 1:
		return fmt.Errorf("vllm.model: %w: name a folder that is there, or a model's id such as meta-llama/Llama-3.1-8B-Instruct", err)
	default:
		return nil
	}
}

// checkMachine holds the lists to the GPUs that are there.
func (c *Config) checkMachine(ctx context.Context) error {
	present, err := gpus(ctx)
	if err != nil {
		return err
	}
	asked, err := expandGPUs(slices.Concat(c.PrefillGPUs, c.DecodeGPUs, c.BothGPUs))
	if err != nil {
		return err
	}
	if len(asked) == 0 {
		return fmt.Errorf("no engine has a GPU: say which are for prefill and which for decode, such as --prefill-gpus 0-3 --decode-gpus 4-7 --tensor-parallel 4%s; without GPUs: --device cpu", here(present))
	}
	if present == nil {
		return nil // there are some, and nothing can list them
	}
	var errs []error
	for _, gpu := range asked {
		known := slices.ContainsFunc(present, func(p device) bool { return p.index == gpu || strings.HasPrefix(p.uuid, gpu) })
		if !known && !strings.HasPrefix(gpu, "MIG-") {
			errs = append(errs, fmt.Errorf("GPU %s is not here%s: change vllm.prefill_gpus, decode_gpus or both_gpus", gpu, here(present)))
		}
	}
	return errors.Join(errs...)
}

// device is one line of nvidia-smi.
type device struct{ index, uuid string }

func here(present []device) string {
	if present == nil {
		return ""
	}
	var indexes []string
	for _, p := range present {
		indexes = append(indexes, p.index)
	}
	return fmt.Sprintf(" (nvidia-smi lists %s)", strings.Join(indexes, ", "))
}

// gpus lists what nvidia-smi sees; nil if there are GPUs and no nvidia-smi, as in some containers.
func gpus(ctx context.Context) ([]device, error) {
	smi, err := exec.LookPath("nvidia-smi")
	if err != nil {
		if nodes, _ := filepath.Glob("/dev/nvidia[0-9]*"); len(nodes) > 0 {
			return nil, nil
		}
		return nil, errors.New("no NVIDIA GPU is here: there is neither nvidia-smi nor a /dev/nvidia0; install the driver, give the container its GPUs, or try without: --device cpu")
	}
	ctx, cancel := context.WithTimeout(ctx, smiTime)
	defer cancel()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, smi, "--query-gpu=index,uuid", "--format=csv,noheader")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s cannot list the GPUs: %w: %s", smi, err, bytes.TrimSpace(append(out, stderr.Bytes()...)))
	}
	present := []device{}
	for line := range strings.Lines(string(out)) {
		index, uuid, _ := strings.Cut(strings.TrimSpace(line), ",")
		present = append(present, device{index: strings.TrimSpace(index), uuid: strings.TrimSpace(uuid)})
	}
	return present, nil
}

// checkMemory refuses to start what would make the machine swap.
func (c *Config) checkMemory(n int) error {
	available := memAvailable()
	need := int64(n) * (cpuEngine + c.weights())
	if available == 0 || need <= available {
		return nil
	}
	const gib = 1 << 30
	return fmt.Errorf("%d engines on the CPU need about %d GiB of memory, and %d GiB are available: start fewer, such as --prefill 1 --decode 1", n, (need+gib-1)/gib, available/gib)
}

// weights is the size of a model folder's weights; 0 if that is not known.
func (c *Config) weights() (size int64) {
	files, _ := filepath.Glob(filepath.Join(c.Model, "*.safetensors"))
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			size += info.Size()
		}
	}
	return size
}

// memAvailable is 0 where the kernel does not say.
func memAvailable() (size int64) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &size); err == nil {
			return size << 10
		}
	}
	return 0
}
