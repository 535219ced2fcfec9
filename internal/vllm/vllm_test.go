package vllm

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// How each engine is started, as a whole: what operators would otherwise write by hand.
func TestCommandLines(t *testing.T) {
	gpus := func(change func(*Config)) Config {
		c := DefaultConfig()
		c.Model = "meta-llama/Meta-Llama-3.1-70B-Instruct"
		change(&c)
		return c
	}
	split := gpus(func(c *Config) {
		c.PrefillGPUs, c.DecodeGPUs, c.TensorParallel = []string{"0-3"}, []string{"4-7"}, 4
		c.Args = []string{"--tool-call-parser", "llama3_json", "--enable-auto-tool-choice", "--max-num-batched-tokens=2048"}
		c.DecodeArgs = []string{"--max-num-seqs", "128"}
	})
	aggregated := gpus(func(c *Config) { c.BothGPUs, c.LoadFailure = []string{"0", "1"}, "recompute" })
	cpu := gpus(func(c *Config) { c.Model, c.Device = "/models/smol", "cpu" })
	llama := Bounds{PrefillBatch: 4096, DecodeBatch: 1024, DecodeChunk: 896, Slots: 256, Lease: 30 * time.Second}
	small := Bounds{DecodeBatch: 192, Slots: 256, Lease: 1500 * time.Millisecond, APIKey: "secret"}
	for _, tt := range []struct {
		name   string
		config Config
		role   wire.Role
		gpus   []string
		bounds Bounds
	}{
		{"prefill-gpus", split, wire.RolePrefill, []string{"0", "1", "2", "3"}, llama},
		{"decode-gpus", split, wire.RoleDecode, []string{"4", "5", "6", "7"}, llama},
		{"aggregated-gpu", aggregated, wire.RoleBoth, []string{"1"}, llama},
		{"prefill-cpu", cpu, wire.RolePrefill, nil, small},
		{"decode-cpu", cpu, wire.RoleDecode, nil, small},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := Engine{Name: "x", Role: tt.role, GPUs: tt.gpus, Port: 8101, SidePort: 5601}
			set, unset := tt.config.Environment(&e, &tt.bounds)
			var b strings.Builder
			for _, entry := range unset {
				b.WriteString("default " + entry + "\n")
			}
			for _, entry := range set {
				b.WriteString("export " + entry + "\n")
			}
			for i, arg := range tt.config.Arguments(&e, &tt.bounds) {
				if i > 1 && strings.HasPrefix(arg, "-") {
					b.WriteString("\n ")
				}
				b.WriteString(" " + arg)
			}
			b.WriteString("\n")
			golden(t, tt.name, b.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "commands", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("go test -update renews it (-want +got):\n%s", diff)
	}
}

func TestEnginesByGPUs(t *testing.T) {
	c := DefaultConfig()
	c.PrefillGPUs, c.DecodeGPUs, c.TensorParallel = []string{"0-3"}, []string{"4", "5"}, 2
	engines, err := c.Engines(map[wire.Role]int{wire.RolePrefill: 7, wire.RoleBoth: 7})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	ports := map[int]bool{}
	for _, e := range engines {
		got = append(got, e.Name+" "+strings.Join(e.GPUs, ","))
		ports[e.Port], ports[e.SidePort] = true, true
		if e.Port < c.Port || e.SidePort < c.SidePort {
			t.Errorf("%s has the ports %d and %d", e.Name, e.Port, e.SidePort)
		}
	}
	if diff := cmp.Diff([]string{"prefill-0 0,1", "prefill-1 2,3", "decode-0 4,5"}, got); diff != "" {
		t.Errorf("engines (-want +got):\n%s", diff)
	}
	if len(ports) != 2*len(engines) {
		t.Errorf("%d engines share %d ports", len(engines), len(ports))
	}
}

func TestConfigNamesItsFaults(t *testing.T) {
	c := Config{
		Device: "tpu", TensorParallel: 2, LoadFailure: "hope",
		PrefillGPUs: []string{"0-2"}, DecodeGPUs: []string{"2", "3-1"}, BothGPUs: []string{"0", "9"},
		Args: []string{"--port", "1", "--kv_transfer_config={}", "-tp=2"}, DecodeArgs: []string{"--tool-call-parser", "hermes"},
	}
	err := c.Validate()
	for _, want := range []string{
		"vllm.command", "vllm.device", "vllm.load_failure", "vllm.port is", "vllm.prefill_gpus has 3 GPUs", `"3-1" is no GPU`,
		"has GPU 0, which vllm.prefill_gpus has too", "vllm.args has --port", "has --kv-transfer-config", "has -tp", "must be the same on every engine",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want %q in it", err, want)
		}
	}
	good := DefaultConfig()
	if err := good.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}

func TestServedName(t *testing.T) {
	for want, args := range map[string][]string{
		"org/model": nil, "a": {"--served-model-name", "a", "b"}, "c": {"--served_model_name=c"},
	} {
		c := Config{Model: "org/model", Args: args}
		if got := c.ServedName(); got != want {
			t.Errorf("%q is served as %q, want %q", args, got, want)
		}
	}
}

// The lines of an engine that was started on a CPU, in its real order.
func TestPhasesOfARecordedStart(t *testing.T) {
	text, err := os.ReadFile("testdata/start-cpu-0.32.log")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(text)) {
		if IsCause(line) {
			t.Errorf("a line of a good start is a cause of failure: %s", line)
		}
		phase, detail, ok := Phase(strings.TrimSpace(line))
		if now := strings.TrimSpace(phase + " " + detail); ok && (len(got) == 0 || got[len(got)-1] != now) {
			got = append(got, now)
		}
	}
	want := []string{"loading weights", "loading weights 0%", "loading weights 100%", "warming up"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
}

// Lines that the recorded start has not, in the forms of vLLM's and its hub client's sources.
func TestPhasesOfLines(t *testing.T) {
	for line, want := range map[string]string{
		"Fetching 30 files:  10%|█         | 3/30 [00:10<01:30,  3.3s/it]":                                        "downloading 10%",
		"model-00002-of-00030.safetensors:  42%|████▏     | 2.10G/4.98G [01:00<01:23, 34MB/s]":                    "downloading 42%",
		"(Worker_TP0 pid=7) INFO 11-24 12:48:20 [gpu_worker.py:760] Available KV cache memory: 30.1 GiB":          "warming up",
		"Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  45%|████▌     | 31/67 [00:05<00:06,  5.2it/s]": "warming up 45%",
		"(APIServer pid=1) INFO:     127.0.0.1:41124 - \"GET /v1/models HTTP/1.1\" 200 OK":                        "",
		"some prompt about Downloading things":                                                                    "",
	} {
		phase, detail, _ := Phase(line)
		if got := strings.TrimSpace(phase + " " + detail); got != want {
			t.Errorf("%s: phase %q, want %q", line, got, want)
		}
	}
}

func TestCausesAndHints(t *testing.T) {
	for line, want := range map[string]string{
		"ModuleNotFoundError: No module named 'torch'":                                                                                                                    "vllm --version",
		"vllm serve: error: unrecognized arguments: --no-such-flag":                                                                                                       "vllm.args",
		"(EngineCore pid=9) ERROR 11-24 [core.py:1001] ValueError: Free memory on device cuda:0 (3.2/79.1 GiB) on startup":                                                "nvidia-smi",
		"(Worker_TP1 pid=9) ERROR torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB":                                                                 "nvidia-smi",
		"OSError: [Errno 98] Address already in use":                                                                                                                      "vllm.port",
		"OSError: meta-lama/x is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/'":                                              "HF_TOKEN",
		"ValueError: To serve at least one request with the models's max seq len (131072), 40 GiB KV cache is needed, which is larger than the available KV cache memory": "--max-model-len",
	} {
		if !IsCause(line) {
			t.Errorf("no cause: %s", line)
		}
		if got := Hint(line, "INFO nixl is not available"); !strings.Contains(got, want) {
			t.Errorf("%s: hint %q, want %s in it", line, got, want)
		}
	}
	if got := Hint("KeyError: 7", "prefill-0: exit status 1\n INFO NIXL is not available"); !strings.Contains(got, "pip install nixl") {
		t.Errorf("a cause that nobody knows, and last words: hint %q", got)
	}
	for _, line := range []string{
		"RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
		"WARNING 11-24 12:48:19 [x.py:1] ImportError: flashinfer is not there",
	} {
		if IsCause(line) {
			t.Errorf("a cause: %s", line)
		}
	}
}
