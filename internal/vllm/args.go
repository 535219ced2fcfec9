package vllm

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// owned are the flags that baton sets itself, or that would make its bookkeeping wrong, and where to say
// the same thing.
var owned = map[string]string{
	"--host":                   "engines listen on the loopback address alone",
	"--port":                   "set vllm.port",
	"--uds":                    "engines listen on a port",
	"--model":                  "set vllm.model",
	"--kv-transfer-config":     "baton writes it for each role",
	"--tensor-parallel-size":   "set vllm.tensor_parallel",
	"-tp":                      "set vllm.tensor_parallel",
	"--pipeline-parallel-size": "one engine has vllm.tensor_parallel GPUs; start others yourself, with a baton worker in front",
	"-pp":                      "one engine has vllm.tensor_parallel GPUs; start others yourself, with a baton worker in front",
	"--data-parallel-size":     "give more GPUs: each engine is a worker of its own",
	"-dp":                      "give more GPUs: each engine is a worker of its own",
	"--api-key":                "set engine.api_key, or everyone on this machine reads it in the list of processes",
}

// shared are the flags that must be the same on every engine: both legs of a request are checked and
// rendered by them, or KV caches are laid out by them.
var shared = []string{
	"--served-model-name", "--max-model-len", "--tokenizer", "--chat-template", "--tool-call-parser", "--enable-auto-tool-choice",
	"--reasoning-parser", "--dtype", "--kv-cache-dtype", "--block-size", "--quantization",
}

// flagOf is the name of a flag as vLLM reads it; "" is none.
func flagOf(arg string) string {
	name, _, _ := strings.Cut(arg, "=")
	if !strings.HasPrefix(name, "-") {
		return ""
	}
	return strings.ReplaceAll(name, "_", "-")
}

func checkArgs(setting string, args []string) error {
	var errs []error
	for _, arg := range args {
		if instead, ok := owned[flagOf(arg)]; ok {
			errs = append(errs, fmt.Errorf("%s has %s, which is not to be set there: %s", setting, flagOf(arg), instead))
		}
	}
	return errors.Join(errs...)
}

func checkShared(setting string, args []string) error {
	var errs []error
	for _, arg := range args {
		if slices.Contains(shared, flagOf(arg)) {
			errs = append(errs, fmt.Errorf("%s has %s, which must be the same on every engine: put it into vllm.args", setting, flagOf(arg)))
		}
	}
	return errors.Join(errs...)
}

// valueOf returns what args say for a flag, the last one; "" if they do not.
func valueOf(args []string, flag string) (value string) {
	for i, arg := range args {
		if flagOf(arg) != flag {
			continue
		}
		if _, after, ok := strings.Cut(arg, "="); ok {
			value = after
		} else if i+1 < len(args) {
			value = args[i+1]
		}
	}
	return value
}
