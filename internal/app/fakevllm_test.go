package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/supervise"
)

// fakeVLLM makes the test binary a vllm program: a simulated engine that takes vLLM's flags.
const fakeVLLM = "fake-vllm"

// beside runs what the test binary is in other processes of a test; false: nothing of the kind.
func beside(args []string) (status int, ok bool) {
	if len(args) < 2 {
		return 0, false
	}
	switch args[1] {
	case supervise.KeepCommand:
		return supervise.Keep(args[2:]), true
	case fakeVLLM:
		return fake(args[2:]), true
	}
	return 0, false
}

// fake serves until SIGTERM, and prints what vLLM prints on its way.
func fake(args []string) int {
	flags := map[string]string{}
	for i := 2; i+1 < len(args); i++ {
		flags[args[i]] = args[i+1]
	}
	var transfer struct {
		Role  string `json:"kv_role"`
		Extra struct {
			Lease int `json:"kv_lease_duration"`
		} `json:"kv_connector_extra_config"`
	}
	cfg := enginesim.DefaultConfig()
	err := json.Unmarshal([]byte(flags["--kv-transfer-config"]), &transfer)
	cfg.Model, cfg.TimeScale, cfg.Lease = flags["--served-model-name"], 50, time.Duration(transfer.Extra.Lease)*time.Second
	cfg.Role = map[string]string{"kv_producer": "prefill", "kv_consumer": "decode", "kv_both": "both"}[transfer.Role]
	fmt.Println("pid", os.Getpid())
	fmt.Println("Starting to load model", args[1])
	ln, listenErr := net.Listen("tcp", "127.0.0.1:"+flags["--port"])
	engine, engineErr := enginesim.New(cfg, enginesim.Options{})
	if err := errors.Join(err, listenErr, engineErr); err != nil {
		fmt.Println("ValueError:", err)
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := engine.Run(ctx, ln); ctx.Err() == nil {
		fmt.Println("RuntimeError:", err)
		return 1
	}
	return 0
}
