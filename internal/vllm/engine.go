package vllm

import (
	"encoding/json"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Engine is one engine that is to be started.
type Engine struct {
	Name     string // such as prefill-0
	Role     wire.Role
	GPUs     []string // none: the CPU
	Port     int      // of its HTTP server
	SidePort int      // of its KV connector's side channel
}

// Bounds are the settings of others that engines must fit.
type Bounds struct {
	PrefillBatch int           // most tokens in one iteration of a prefill engine; 0: vLLM's default
	DecodeBatch  int           // the same of a decode engine, and of one that does both
	DecodeChunk  int           // most tokens of one prompt in one iteration of those; 0: no such bound
	Slots        int           // most requests that a worker sends to its engine at once
	Lease        time.Duration // how long workers count on KV blocks that nobody has read
	APIKey       string        // that workers bring; empty: none
}

const host = "127.0.0.1"

// leastLease is the shortest lease at which vLLM's heartbeats, sent every sixth of it in whole seconds,
// come at all.
const leastLease = 6 * time.Second

// URL is where the engine serves.
func (e *Engine) URL() string {
	return "http://" + net.JoinHostPort(host, strconv.Itoa(e.Port))
}

// Engines plans the engines, each with ports that are free as of now. counts says how many of each role
// there are on the CPU; on GPUs the lists do.
func (c *Config) Engines(counts map[wire.Role]int) ([]Engine, error) {
	var engines []Engine
	for _, role := range []struct {
		name wire.Role
		gpus []string
	}{{wire.RolePrefill, c.PrefillGPUs}, {wire.RoleDecode, c.DecodeGPUs}, {wire.RoleBoth, c.BothGPUs}} {
		gpus, err := expandGPUs(role.gpus)
		if err != nil {
			return nil, err
		}
		n := len(gpus) / c.TensorParallel
		if c.Device == deviceCPU {
			n = counts[role.name]
		}
		for i := range n {
			e := Engine{Name: fmt.Sprintf("%s-%d", role.name, i), Role: role.name}
			if c.Device == deviceCUDA {
				e.GPUs = gpus[i*c.TensorParallel : (i+1)*c.TensorParallel]
			}
			engines = append(engines, e)
		}
	}
	ports, err := freePorts(c.Port, len(engines), "vllm.port")
	if err != nil {
		return nil, err
	}
	sides, err := freePorts(c.SidePort, len(engines), "vllm.side_port")
	if err != nil {
		return nil, err
	}
	for i := range engines {
		engines[i].Port, engines[i].SidePort = ports[i], sides[i]
	}
	return engines, nil
}

// Arguments are those of the vllm program for an engine. Those of the operator come last and so win.
func (c *Config) Arguments(e *Engine, b *Bounds) []string {
	args := []string{
		"serve", c.Model, "--host", host, "--port", strconv.Itoa(e.Port), "--kv-transfer-config", c.transferConfig(e.Role, b.Lease),
		"--enable-prompt-tokens-details", // cached tokens in the usage: schedulers learn from it
		"--disable-uvicorn-access-log",   // baton asks once a second whether the engine lives
	}
	number := func(flag string, n int) {
		if n > 0 {
			args = append(args, flag, strconv.Itoa(n))
		}
	}
	if c.Device == deviceCPU {
		args = append(args, "--dtype", "bfloat16", "--enforce-eager")
	}
	if c.TensorParallel > 1 {
		number("--tensor-parallel-size", c.TensorParallel)
	}
	switch e.Role {
	case wire.RolePrefill:
		number("--max-num-batched-tokens", b.PrefillBatch)
		args = append(append(args, c.Args...), c.PrefillArgs...)
	case wire.RoleDecode, wire.RoleBoth:
		number("--max-num-batched-tokens", b.DecodeBatch)
		number("--long-prefill-token-threshold", b.DecodeChunk)
		slots := b.Slots
		if b.DecodeBatch > 0 {
			slots = min(slots, b.DecodeBatch) // vLLM refuses more sequences than tokens in an iteration
		}
		number("--max-num-seqs", slots)
		args = append(args, c.Args...)
		if e.Role == wire.RoleDecode {
			args = append(args, c.DecodeArgs...)
		}
	case wire.RoleFrontend:
	}
	return args
}

// transferConfig is vLLM's --kv-transfer-config.
func (c *Config) transferConfig(role wire.Role, lease time.Duration) string {
	type extra struct {
		Lease int `json:"kv_lease_duration"` // seconds
	}
	config := struct {
		Connector string `json:"kv_connector"`
		Role      string `json:"kv_role"`
		Device    string `json:"kv_buffer_device,omitempty"`
		Failure   string `json:"kv_load_failure_policy"`
		Extra     extra  `json:"kv_connector_extra_config"`
	}{
		Connector: "NixlConnector", Role: role.KVRole(), Failure: c.LoadFailure,
		// Never shorter than what workers count on: a handle used after its end gives another request's text.
		Extra: extra{Lease: int(math.Ceil(max(lease, leastLease).Seconds()))},
	}
	if c.Device == deviceCPU {
		config.Device = "cpu"
	}
	text, err := json.Marshal(config)
	if err != nil {
		panic(err) // strings and a number
	}
	return string(text)
}

// Environment of an engine: set replaces what is there, unset yields to it.
func (c *Config) Environment(e *Engine, b *Bounds) (set, unset []string) {
	set = []string{"VLLM_NIXL_SIDE_CHANNEL_HOST=" + host, "VLLM_NIXL_SIDE_CHANNEL_PORT=" + strconv.Itoa(e.SidePort)}
	if b.APIKey != "" {
		set = append(set, "VLLM_API_KEY="+b.APIKey)
	}
	if c.Device == deviceCUDA {
		// By default CUDA counts the fastest GPU first, and nvidia-smi by the bus.
		return append(set, "CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES="+strings.Join(e.GPUs, ",")), nil
	}
	return set, []string{
		// Loopback only: vLLM's own processes, gloo, and UCX below NIXL (which otherwise wants a device to choose from).
		"VLLM_HOST_IP=" + host, "GLOO_SOCKET_IFNAME=lo", "UCX_TLS=tcp,self", "UCX_NET_DEVICES=lo",
		// One thread, bound to no core: the engines share the machine.
		"OMP_NUM_THREADS=1", "VLLM_CPU_OMP_THREADS_BIND=nobind", "VLLM_CPU_KVCACHE_SPACE=1",
	}
}

// ServedName is what clients call the model.
func (c *Config) ServedName() string {
	if name := valueOf(c.Args, "--served-model-name"); name != "" {
		return name
	}
	return c.Model
}

// freePorts finds n ports from first on that nobody listens on. They are free as of now and not kept: the
// programs that they are for open them.
func freePorts(first, n int, setting string) (ports []int, err error) {
	const tries = 1000
	for port := first; len(ports) < n; port++ {
		if port-first == tries || port > math.MaxUint16 {
			return nil, fmt.Errorf("%d of the ports from %d to %d are free on %s, want %d: set %s to where more are", len(ports), first, port-1, host, n, setting)
		}
		ln, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := ln.Close(); err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return slices.Clip(ports), nil
}
