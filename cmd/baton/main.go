// Command baton routes OpenAI-compatible requests to disaggregated vLLM engines.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/config"
	"github.com/baton-llm/baton/internal/supervise"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

// commands is the command tree; what the commands do is app's.
type commands struct {
	Config string `help:"YAML file with settings." type:"path" placeholder:"FILE" env:"BATON_CONFIG"`
	URL    string `name:"nats" help:"NATS servers to connect to, such as nats://localhost:4222." placeholder:"URL"`

	Up       upCommand       `cmd:"" help:"Run a whole deployment: embedded NATS, workers, frontend, and simulated engines or vLLM below it."`
	Frontend frontendCommand `cmd:"" help:"Run a frontend: the OpenAI-compatible endpoint."`
	Prefill  workerCommand   `cmd:"" help:"Run a prefill worker in front of an engine."`
	Decode   workerCommand   `cmd:"" help:"Run a decode worker in front of an engine."`
	Both     workerCommand   `cmd:"" help:"Run a worker of both kinds in front of an engine whose kv_role is kv_both."`
	Engine   engineCommand   `cmd:"" help:"Run a simulated engine that speaks vLLM's HTTP protocol."`
	Chaos    chaosCommand    `cmd:"" help:"Break the parts of a deployment of many processes under load, and check that nothing is lost."`
	Bench    benchCommand    `cmd:"" help:"Measure an OpenAI-compatible endpoint."`
	Plan     planCommand     `cmd:"" help:"Say how to divide engines between prefill and decode for a load."`
	Keys     keysCommand     `cmd:"" help:"Make API keys."`
	NATS     natsCommand     `cmd:"" name:"nats" help:"Run a NATS server, or print what a server has to know of baton."`
	Cfg      configCommand   `cmd:"" name:"config" help:"Print or check settings."`
	Version  struct{}        `cmd:"" help:"Print the version."`

	operatorCommands
}

type upCommand struct {
	serving

	Engine         string   `help:"sim, vllm or external: simulated engines, vllm serve processes that baton starts, or engines that run already." placeholder:"KIND"`
	Prefill        string   `help:"Number of prefill engines." placeholder:"N"`
	Decode         string   `help:"Number of decode engines." placeholder:"N"`
	Both           string   `help:"Number of engines that do both." placeholder:"N"`
	PrefillURLs    string   `name:"prefill-urls" help:"Prefill engines that run already, such as http://gpu-a:8100,http://gpu-b:8100." placeholder:"URLS"`
	DecodeURLs     string   `name:"decode-urls" help:"Decode engines that run already." placeholder:"URLS"`
	BothURLs       string   `name:"both-urls" help:"Engines that run already and do both." placeholder:"URLS"`
	Model          string   `help:"Model folder or id for vLLM." placeholder:"MODEL"`
	PrefillGPUs    string   `name:"prefill-gpus" help:"GPUs of the prefill engines, such as 0-3." placeholder:"LIST"`
	DecodeGPUs     string   `name:"decode-gpus" help:"GPUs of the decode engines, such as 4-7." placeholder:"LIST"`
	BothGPUs       string   `name:"both-gpus" help:"GPUs of the engines that do both." placeholder:"LIST"`
	TensorParallel string   `help:"GPUs of one engine." placeholder:"N"`
	Device         string   `help:"What vLLM runs on: cuda or cpu." placeholder:"DEVICE"`
	Args           []string `arg:"" optional:"" help:"After --: further flags of vllm serve."`
}

type frontendCommand struct {
	serving
}

// serving is what the commands with an OpenAI endpoint share.
type serving struct {
	Listen       string `help:"Address of the OpenAI endpoint." placeholder:"ADDR"`
	InsecureOpen bool   `help:"Serve everyone who reaches the address, without API keys."`
}

type workerCommand struct {
	Engine string `help:"URL of the engine, such as http://127.0.0.1:8100." placeholder:"URL"`
}

type engineCommand struct {
	Listen string `help:"Address to serve on." placeholder:"ADDR"`
	Role   string `help:"prefill, decode or both." placeholder:"ROLE"`
	Model  string `help:"Name of the served model." placeholder:"NAME"`
}

type keysCommand struct {
	New struct {
		Name   string `required:"" help:"Tenant that the key is for; keys of one name share its limits."`
		Class  string `help:"Best class that the key may ask for: interactive, standard or batch." placeholder:"CLASS"`
		Append string `help:"Keys file to add the key's entry to; only the key is printed then." type:"path" placeholder:"FILE"`
	} `cmd:"" help:"Make a key: print it, this once, and the entry for the keys file (api.keys_file)."`
	Hash struct{} `cmd:"" help:"Read a key from standard input and print its hash for the keys file."`
}

type natsCommand struct {
	Run         struct{} `cmd:"" default:"1" help:"Run a NATS server with JetStream, at nats_server.listen or 127.0.0.1:4222."`
	Permissions struct {
		Role string `arg:"" optional:"" help:"frontend, prefill, decode, both or operator; without one, an account with a user for each."`
		Name string `help:"nats.name of the processes that the user is for; default: their role." placeholder:"NAME"`
	} `cmd:"" help:"Print what the users of baton's processes may do, for the server's configuration file."`
}

type configCommand struct {
	Print struct{} `cmd:"" help:"Print every setting, its value and where it came from."`
	Check struct {
		File string `arg:"" optional:"" type:"path" help:"YAML file to check; default: the one of --config."`
	} `cmd:"" help:"Say what is wrong with the settings, by name and line."`
}

const description = `An OpenAI-compatible router for disaggregated LLM inference: prefill and decode on different GPUs.

Start with "baton up": a complete deployment with simulated engines in one process.
Every setting that "baton config print" shows is also a flag (--prefill.lease=30s), an environment
variable (BATON_PREFILL_LEASE) and a YAML key; flags win over variables, variables over the file.`

func main() {
	if len(os.Args) > 1 && os.Args[1] == supervise.KeepCommand { // baton started this for an engine below it
		os.Exit(supervise.Keep(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if _, set := os.LookupEnv("GOGC"); !set {
		go app.PaceHeap(ctx) // ends with the process
	}
	if _, set := os.LookupEnv("GOMAXPROCS"); !set {
		go app.PaceCores(ctx) // likewise
	}
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "baton: %v\n", err)
		stop()
		os.Exit(1)
	}
}

// newParser returns what reads a command line into cmd.
func newParser(cmd *commands) (*kong.Kong, error) {
	return kong.New(cmd, kong.Name("baton"), kong.Description(description), benchVars(), kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
}

// run is main without the process: args in, error out.
func run(ctx context.Context, args []string) error {
	cfg := app.DefaultConfig()
	rest, flags, err := config.Extract(args, config.Leaves(&cfg))
	if err != nil {
		return err
	}
	var cmd commands
	parser, err := newParser(&cmd)
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(rest)
	if err != nil {
		return err
	}
	if len(cmd.Up.Args) > 0 && !slices.Contains(args, "--") {
		return fmt.Errorf("unexpected argument %q; flags for vLLM follow --", cmd.Up.Args[0])
	}
	cmd.shorthands(flags)
	file := cmd.Config
	if f := cmd.Cfg.Check.File; f != "" {
		file = f
	}
	sources, err := config.Load(&cfg, file, os.LookupEnv, flags)
	cfg.VLLM.Args = append(cfg.VLLM.Args, cmd.Up.Args...)
	if err == nil {
		err = cfg.Tracing.Standard(os.LookupEnv, sources)
	}
	if err == nil {
		err = errors.Join(config.CheckEnv(&cfg, os.Environ(), append([]string{"BATON_CONFIG"}, adminVars...)...), cfg.Validate())
	}
	if err != nil {
		return err
	}
	switch name, _, _ := strings.Cut(parsed.Command(), " <"); name {
	case "up":
		return app.RunUp(ctx, &cfg, os.Stdout, os.Stderr)
	case "frontend":
		return app.RunFrontend(ctx, &cfg, os.Stderr)
	case "prefill":
		return app.RunWorker(ctx, &cfg, wire.RolePrefill, os.Stderr)
	case "decode":
		return app.RunWorker(ctx, &cfg, wire.RoleDecode, os.Stderr)
	case "both":
		return app.RunWorker(ctx, &cfg, wire.RoleBoth, os.Stderr)
	case "engine":
		return app.RunEngine(ctx, &cfg, os.Stderr)
	case "nats run":
		return app.RunNATS(ctx, &cfg, os.Stderr)
	case "chaos":
		return cmd.Chaos.run(ctx, os.Stdout, os.Stderr)
	case "bench", "bench run":
		return cmd.Bench.Run.run(ctx, os.Stdout)
	case "bench reference":
		return cmd.Bench.Reference.run(ctx, os.Stdout)
	case "plan":
		return cmd.Plan.run(ctx, os.Stdout)
	case "keys new":
		return app.NewKey(os.Stdout, cmd.Keys.New.Name, cmd.Keys.New.Class, cmd.Keys.New.Append)
	case "keys hash":
		return app.HashKey(os.Stdin, os.Stdout)
	case "nats permissions":
		return bus.PrintPermissions(os.Stdout, wire.Role(cmd.NATS.Permissions.Role), cmd.NATS.Permissions.Name)
	case "config print":
		return config.Print(os.Stdout, &cfg, sources)
	case "config check":
		fmt.Println("ok")
		return nil
	case "version":
		fmt.Println("baton", telemetry.Version())
		return nil
	default: // those of operators
		return parsed.Run(&session{ctx: ctx, cfg: &cfg, out: os.Stdout, logs: os.Stderr})
	}
}

// shorthands turns the short flags into the settings they stand for; a dotted flag wins.
func (c *commands) shorthands(flags map[string]string) {
	set := func(path string, values ...string) {
		for _, v := range values {
			if _, ok := flags[path]; v != "" && !ok {
				flags[path] = v
			}
		}
	}
	set("nats.url", c.URL)
	set("api.listen", c.Up.Listen, c.Frontend.Listen)
	if c.Up.InsecureOpen || c.Frontend.InsecureOpen {
		set("api.insecure_open", "true")
	}
	set("worker.engine", c.Prefill.Engine, c.Decode.Engine, c.Both.Engine)
	set("worker.sim_listen", c.Engine.Listen)
	set("sim.role", c.Engine.Role)
	set("sim.model", c.Engine.Model)
	set("up.engine", c.Up.Engine)
	set("up.prefill_urls", c.Up.PrefillURLs)
	set("up.decode_urls", c.Up.DecodeURLs)
	set("up.both_urls", c.Up.BothURLs)
	if c.Up.PrefillURLs+c.Up.DecodeURLs+c.Up.BothURLs != "" {
		set("up.engine", "external")
	}
	set("up.prefill", c.Up.Prefill)
	set("up.decode", c.Up.Decode)
	set("up.both", c.Up.Both)
	set("vllm.model", c.Up.Model)
	set("vllm.prefill_gpus", c.Up.PrefillGPUs)
	set("vllm.decode_gpus", c.Up.DecodeGPUs)
	set("vllm.both_gpus", c.Up.BothGPUs)
	set("vllm.tensor_parallel", c.Up.TensorParallel)
	set("vllm.device", c.Up.Device)
}
