package app

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/baton-llm/baton/api"
	"github.com/baton-llm/baton/decode"
	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/supervise"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/vllm"
	"github.com/baton-llm/baton/prefill"
	"github.com/baton-llm/baton/router"
	"github.com/baton-llm/baton/router/dispatch"
	"github.com/baton-llm/baton/router/schedule"
)

// Config is every setting of every command. Each section belongs to the package it configures.
type Config struct {
	Up        Up                      `yaml:"up"`
	Worker    Worker                  `yaml:"worker"`
	API       api.Config              `yaml:"api"`
	Router    router.Config           `yaml:"router"`
	Dispatch  dispatch.Config         `yaml:"dispatch"`
	Schedule  schedule.Config         `yaml:"schedule"`
	Prefill   prefill.Config          `yaml:"prefill"`
	Decode    decode.Config           `yaml:"decode"`
	Relay     relay.Config            `yaml:"relay"`
	Fleet     fleet.Config            `yaml:"fleet"`
	NATS      bus.Config              `yaml:"nats"`
	Embedded  natsd.Config            `yaml:"nats_server"`
	Engine    engine.Config           `yaml:"engine"`
	Sim       enginesim.Config        `yaml:"sim"`
	VLLM      vllm.Config             `yaml:"vllm"`
	Supervise supervise.Config        `yaml:"supervise"`
	Log       telemetry.LogConfig     `yaml:"log"`
	Tracing   telemetry.TracingConfig `yaml:"tracing"`
}

// Up says what `baton up` starts beside the frontend and the embedded NATS server.
type Up struct {
	Engine  string `yaml:"engine" help:"what the workers front: sim (simulated engines in this process), vllm (vllm serve processes that it starts) or external (engines that others run, at the URLs below)"`
	Prefill int    `yaml:"prefill" help:"prefill workers, each with an engine of its own; with vllm on GPUs vllm.prefill_gpus says how many"`
	Decode  int    `yaml:"decode" help:"decode workers, likewise"`
	Both    int    `yaml:"both" help:"workers of both kinds, likewise: what the aggregated mode needs"`

	PrefillURLs []string `yaml:"prefill_urls" help:"with external: URLs of the prefill engines, a worker for each"`
	DecodeURLs  []string `yaml:"decode_urls" help:"with external: URLs of the decode engines, likewise"`
	BothURLs    []string `yaml:"both_urls" help:"with external: URLs of engines that do both, likewise"`

	PrefillBatch int `yaml:"prefill_batch" help:"most tokens in one iteration of a prefill engine (vLLM: max_num_batched_tokens); 0: the engine's default"`
	DecodeBatch  int `yaml:"decode_batch" help:"most tokens in one iteration of a decode engine; 0: the engine's default"`
	DecodeChunk  int `yaml:"decode_chunk" help:"most tokens of one prompt in one iteration of a decode engine, so that handles are read beside a local prefill (vLLM: long_prefill_token_threshold); 0: the engine's default"`

	DecodeSlow float64 `yaml:"decode_slow" help:"how many times slower than its profile a simulated decode engine is; 0: as the profile says"`

	UI        string        `yaml:"ui" help:"host:port of the page for operators, /ui, if api.admin_listen is empty; if the port is in use, the next free one; empty: none"`
	Drain     time.Duration `yaml:"drain_timeout" help:"how long requests may go on after Ctrl-C; it stands in for the drain timeouts of api, prefill and decode"`
	ReadyFile string        `yaml:"ready_file" help:"file that gets a line of JSON with the address, the model and the engines once requests can be served, and is removed at the end; empty: none"`
}

// What up.engine can be; empty is sim.
const (
	engineSim      = "sim"
	engineVLLM     = "vllm"
	engineExternal = "external"
)

// Worker is what worker processes of all kinds have in common.
type Worker struct {
	Engine    string        `yaml:"engine" help:"URL of the engine that a worker fronts"`
	Connector string        `yaml:"connector" help:"how the engines hand KV caches over: nixl"`
	SimListen string        `yaml:"sim_listen" help:"address that the engine command serves on"`
	Metrics   string        `yaml:"metrics" help:"address that a worker serves /metrics and /healthz on; empty: none"`
	Announce  time.Duration `yaml:"announce" help:"time between two announcements of one process; it counts as dead a second after it missed three"`
}

// DefaultConfig returns the settings that hold where nobody says otherwise.
func DefaultConfig() Config {
	return Config{
		Up: Up{
			Engine: engineSim, Prefill: 4, Decode: 4, PrefillBatch: 1536, DecodeBatch: 1344, DecodeChunk: 1024,
			UI: "127.0.0.1:9090", Drain: 500 * time.Millisecond,
		},
		Worker:    Worker{Connector: "nixl", SimListen: "127.0.0.1:8100", Announce: time.Second},
		API:       api.DefaultConfig(),
		Router:    router.DefaultConfig(),
		Dispatch:  dispatch.DefaultConfig(),
		Schedule:  schedule.DefaultConfig(),
		Prefill:   prefill.DefaultConfig(),
		Decode:    decode.DefaultConfig(),
		Relay:     relay.DefaultConfig(),
		Fleet:     fleet.DefaultConfig(),
		NATS:      bus.DefaultConfig(),
		Embedded:  natsd.DefaultConfig(),
		Engine:    engine.DefaultConfig(),
		Sim:       enginesim.DefaultConfig(),
		VLLM:      vllm.DefaultConfig(),
		Supervise: supervise.DefaultConfig(),
		Log:       telemetry.DefaultLogConfig(),
		Tracing:   telemetry.DefaultTracingConfig(),
	}
}

// Validate reports every fault of every section, by YAML name.
func (c *Config) Validate() error {
	err := errors.Join(c.Up.validate(), c.VLLM.Validate())
	if c.Up.Engine == engineVLLM && c.VLLM.Model == "" {
		err = errors.Join(err, errors.New("vllm.model is empty: say which model vLLM shall serve, such as --model meta-llama/Llama-3.1-8B-Instruct"))
	}
	if c.Worker.Announce < 100*time.Millisecond {
		err = errors.Join(err, fmt.Errorf("worker.announce is %s, want 100ms or more", c.Worker.Announce))
	}
	return errors.Join(
		err, c.API.Validate(), c.Router.Validate(), c.Dispatch.Validate(), c.Schedule.Validate(), c.Prefill.Validate(), c.Decode.Validate(), c.Relay.Validate(), c.Fleet.Validate(),
		c.NATS.Validate(), c.Embedded.Validate(), c.Engine.Validate(), c.Sim.Validate(), c.Supervise.Validate(), c.Log.Validate(), c.Tracing.Validate(),
	)
}

func (u *Up) validate() error {
	var err error
	if !slices.Contains([]string{"", engineSim, engineVLLM, engineExternal}, u.Engine) {
		err = fmt.Errorf("up.engine is %q, want sim, vllm or external", u.Engine)
	}
	err = errors.Join(err, u.validateURLs())
	if min(u.Prefill, u.Decode, u.Both) < 0 || u.Both == 0 && min(u.Prefill, u.Decode) == 0 {
		err = errors.Join(err, fmt.Errorf("up.prefill is %d, up.decode %d and up.both %d, want 1 or more of prefill and decode, or of both", u.Prefill, u.Decode, u.Both))
	}
	if _, _, e := net.SplitHostPort(u.UI); u.UI != "" && e != nil {
		err = errors.Join(err, fmt.Errorf("up.ui is %q, want host:port", u.UI))
	}
	if min(u.PrefillBatch, u.DecodeBatch, u.DecodeChunk) < 0 {
		err = errors.Join(err, errors.New("up.prefill_batch, up.decode_batch and up.decode_chunk: want 0 or more"))
	}
	return err
}
