package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// The flags of up are settings, and what follows -- is vLLM's: each shows by the fault that it makes.
func TestUpFlags(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	nowhere := filepath.Join(t.TempDir(), "nowhere")
	for name, tt := range map[string]struct {
		args []string
		want []string
	}{
		"argument without --": {[]string{"up", "--engine", "vllm", "model"}, []string{`unexpected argument "model"`, "--"}},
		"no model":            {[]string{"up", "--engine=vllm"}, []string{"vllm.model is empty"}},
		"engine":              {[]string{"up", "--engine=sglang"}, []string{`up.engine is "sglang"`}},
		"counts":              {[]string{"up", "--prefill=0", "--decode", "0", "--both=-1"}, []string{"up.prefill is 0, up.decode 0 and up.both -1"}},
		"lists of GPUs": {
			[]string{"up", "--prefill-gpus=0-2", "--decode-gpus", "2,3", "--both-gpus=9", "--tensor-parallel=2"},
			[]string{"vllm.prefill_gpus has 3 GPUs", "GPU 2, which vllm.prefill_gpus has too", "vllm.both_gpus has 1 GPUs"},
		},
		"external engines, half":      {[]string{"up", "--prefill-urls=http://a:1"}, []string{"up.prefill_urls and up.decode_urls"}},
		"external engines and others": {[]string{"up", "--engine=sim", "--both-urls=http://a:1"}, []string{`up.engine is "sim", want external`}},
		"external engine, no URL":     {[]string{"up", "--both-urls=a:1"}, []string{`up.both_urls has "a:1"`}},
		"flags of vLLM":               {[]string{"up", "--device=cpu", "--", "--seed", "1", "--port=7"}, []string{"vllm.args has --port"}},
		"what is missing here":        {[]string{"up", "--listen=127.0.0.1:0", "--engine=vllm", "--device=cpu", "--model", nowhere}, []string{"vllm.command", "pip install", nowhere}},
	} {
		err := run(t.Context(), tt.args)
		for _, want := range tt.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", name, err, want)
			}
		}
	}
}
