package vllm

import (
	"regexp"
	"strings"
)

// Phases are what an engine does from its start until it is ready, in this order.
var Phases = []string{"starting", downloading, loading, warmingUp}

const (
	downloading = "downloading"
	loading     = "loading weights"
	warmingUp   = "warming up"
)

// marks are what log lines of vLLM 0.32 have in them when a phase begins or goes on.
var marks = []struct{ text, phase string }{
	{"Starting to load model", loading},
	{"checkpoint shards:", loading},
	{"Prefetching checkpoint files:", loading},
	{"Loading weights took", warmingUp},
	{"Model loading took", warmingUp},
	{"Available KV cache memory", warmingUp},
	{"Capturing CUDA graph", warmingUp},
	{"init engine (profile", warmingUp},
}

var (
	percent = regexp.MustCompile(`\b(\d{1,3}%)`)
	// A hub's progress bars: of one file and of all.
	download = regexp.MustCompile(`(\.safetensors|\.bin|\.gguf): +\d+%\||^Fetching \d+ files:|Downloading .*%\|`)
	// The first words of a Python exception, or of a command line that vLLM cannot read.
	cause = regexp.MustCompile(`\b\w*(Error|Exception): \S|^vllm.*: error: `)
)

// Phase reads from a log line what an engine that starts is doing, one of Phases, and how far it is.
func Phase(line string) (phase, detail string, ok bool) {
	if download.MatchString(line) {
		return downloading, percent.FindString(line), true
	}
	for _, m := range marks {
		if strings.Contains(line, m.text) {
			return m.phase, percent.FindString(line), true
		}
	}
	return "", "", false
}

// IsCause tells whether a log line says why an engine will end. The first such line is the cause; later
// ones speak of its consequences.
func IsCause(line string) bool {
	return cause.MatchString(line) && !strings.Contains(line, "WARNING") && !strings.Contains(line, "See root cause above")
}

// hints are what to do about failures, by what an engine says of them.
var hints = []struct {
	said *regexp.Regexp
	do   string
}{
	{regexp.MustCompile(`ModuleNotFoundError|ImportError|cannot open shared object`), "vLLM itself does not run: see what `vllm --version` says, and install it anew"},
	{regexp.MustCompile(`unrecognized arguments|invalid choice|^vllm.*: error: `), "this vLLM does not know a flag: look at vllm.args and at `vllm --version` (baton is tested with 0.32)"},
	{regexp.MustCompile(`[Oo]ut of memory|OutOfMemoryError|Free memory on device|No available memory for the cache`), "the GPU's memory does not suffice: see nvidia-smi for who else has it; more GPUs per engine (vllm.tensor_parallel), a smaller --max-model-len, or another --gpu-memory-utilization"},
	{regexp.MustCompile(`larger than the (available|maximum number of tokens)|greater than the derived max_model_len`), "a prompt of full length does not fit into the KV cache: give a smaller --max-model-len, or more memory"},
	{regexp.MustCompile(`[Aa]ddress already in use`), "something took an engine's port meanwhile: start again, or set vllm.port and vllm.side_port to where nothing else listens"},
	{regexp.MustCompile(`GatedRepo|RepositoryNotFound|not a valid model identifier|401 Client Error|LocalEntryNotFound|offline mode`), "the model is not to be had by that name: check vllm.model, HF_TOKEN for one that needs consent, and the network; or give a folder"},
	{regexp.MustCompile(`(?i)nixl is not (available|installed)|No module named 'nixl`), "the KV connector is missing: pip install nixl in vLLM's environment"},
}

// Hint says what to do about an engine that ended, by what it said: its cause alone or, if that is not known,
// all its last words. "" if neither is.
func Hint(cause, words string) string {
	for _, said := range []string{cause, words} {
		for _, h := range hints {
			if h.said.MatchString(said) {
				return h.do
			}
		}
	}
	return ""
}
