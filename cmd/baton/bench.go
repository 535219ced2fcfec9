package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"
	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/report"
	"github.com/baton-llm/baton/internal/bench/workload"
	"github.com/baton-llm/baton/internal/config"
	"github.com/baton-llm/baton/internal/reference"
	"golang.org/x/term"
)

// benchCommand is `baton bench` and what may come to stand below it.
type benchCommand struct {
	Run       benchRun       `cmd:"" default:"withargs" help:"Load any OpenAI-compatible endpoint and report what its clients see."`
	Reference benchReference `cmd:"" help:"Run the reference benchmark and others like it on simulated deployments of this baton."`
}

// benchRun is the flags of one run, or of a comparison of saved ones.
type benchRun struct {
	URL      string            `name:"url" default:"http://127.0.0.1:8000" help:"Server to load, without /v1." group:"Target"`
	Endpoint string            `enum:"completions,chat" default:"completions" help:"completions or chat." group:"Target"`
	Model    string            `help:"Model to ask for; default: the first that the server lists." group:"Target"`
	APIKey   string            `name:"api-key" env:"OPENAI_API_KEY" help:"Bearer token." group:"Target"`
	Header   map[string]string `help:"Header of each request, as name=value." group:"Target"`
	Fresh    bool              `name:"fresh-connections" help:"Open a connection for each request." group:"Target"`

	workload.Spec `embed:"" group:"Workload"`
	Mix           string `type:"path" placeholder:"FILE" help:"YAML file with several streams; what a stream does not say is as in the other flags." group:"Workload"`

	MaxConcurrency int           `help:"Most requests in flight; 0: no limit." group:"Run"`
	Duration       time.Duration `help:"Send requests for so long; 0: until all are sent." group:"Run"`
	Warmup         int           `help:"Requests that are sent before the measured ones." group:"Run"`
	Timeout        time.Duration `default:"6h" help:"Longest time of one request." group:"Run"`
	Temperature    float64       `default:"0" group:"Run"`
	IgnoreEOS      bool          `name:"ignore-eos" default:"true" negatable:"" help:"Ask for answers of exactly the planned length." group:"Run"`
	CountIDs       bool          `name:"count-token-ids" help:"Count tokens by return_token_ids instead of the usage." group:"Run"`
	ExtraBody      string        `placeholder:"JSON" help:"Object whose members are added to each request." group:"Run"`

	Goodput     slo       `placeholder:"ttft:MS" help:"Bounds that a good request keeps, such as ttft:2000 tpot:100 e2el:30000." group:"Results"`
	Percentiles []float64 `default:"50,90,95,99" help:"Percentiles of each time." group:"Results"`
	Label       string    `help:"Name of the run in files and reports." group:"Results"`
	SaveResult  string    `type:"path" placeholder:"FILE" help:"Write JSON in the form of vllm bench serve." group:"Results"`
	SaveDetail  bool      `name:"save-detailed" help:"With the times of each request, which a report needs." group:"Results"`
	SaveText    bool      `name:"save-texts" help:"With the answers' texts." group:"Results"`
	HTML        string    `name:"html" type:"path" placeholder:"FILE" help:"Write a report." group:"Results"`
	Compare     bool      `help:"Send nothing: compare the result files that follow, the first being the base." group:"Results"`
	Files       []string  `arg:"" optional:"" type:"existingfile" help:"Result files to compare."`
}

// slo reads bounds such as ttft:2000 tpot:100: of one word each, or joined by commas or spaces.
type slo struct{ bench.SLO }

// Decode takes as many words as look like bounds.
func (s *slo) Decode(ctx *kong.DecodeContext) error {
	for first := true; first || isBound(ctx.Scan.Peek()); first = false {
		var words string
		if err := ctx.Scan.PopValueInto("bounds", &words); err != nil {
			return err
		}
		for _, word := range strings.FieldsFunc(words, func(r rune) bool { return r == ',' || r == ' ' }) {
			if err := s.set(word); err != nil {
				return err
			}
		}
	}
	return nil
}

func isBound(t kong.Token) bool {
	text, _ := t.Value.(string)
	return strings.HasPrefix(text, "ttft:") || strings.HasPrefix(text, "tpot:") || strings.HasPrefix(text, "e2el:")
}

func (s *slo) set(word string) error {
	name, value, _ := strings.Cut(word, ":")
	bound := map[string]*time.Duration{"ttft": &s.TTFT, "tpot": &s.TPOT, "e2el": &s.E2EL}[name]
	ms, err := time.ParseDuration(value + "ms")
	if bound == nil || err != nil || ms <= 0 {
		return fmt.Errorf("bound %q, want ttft:MS, tpot:MS or e2el:MS", word)
	}
	*bound = ms
	return nil
}

// benchVars are the defaults of the workload's flags.
func benchVars() kong.Vars {
	spec, vars := workload.Default(), kong.Vars{"presets": strings.Join(reference.Names(), ", ")}
	for _, leaf := range config.Leaves(&spec) {
		vars[leaf.Path] = leaf.Value
	}
	return vars
}

// run sends the load, or compares.
func (b *benchRun) run(ctx context.Context, out *os.File) error {
	if b.Compare {
		return b.compare(out)
	}
	if len(b.Files) > 0 {
		return fmt.Errorf("%s: want no files without --compare", b.Files[0])
	}
	specs := []workload.Spec{b.Spec}
	if b.Mix != "" {
		var err error
		if specs, err = workload.ReadMix(b.Mix, b.Spec); err != nil {
			return err
		}
	}
	target := bench.Target{URL: b.URL, Endpoint: bench.Completions, Model: b.Model, APIKey: b.APIKey, Headers: b.Header, FreshConnections: b.Fresh}
	if b.Endpoint == "chat" {
		target.Endpoint = bench.Chat
	}
	opts := bench.Options{
		MaxConcurrency: b.MaxConcurrency, Duration: b.Duration, Timeout: b.Timeout, Temperature: b.Temperature, IgnoreEOS: b.IgnoreEOS,
		TokenIDs: b.CountIDs, KeepText: b.SaveText, IDPrefix: fmt.Sprintf("bench-%x-", time.Now().UnixMilli()),
	}
	if b.ExtraBody != "" {
		if err := json.Unmarshal([]byte(b.ExtraBody), &opts.ExtraBody); err != nil {
			return fmt.Errorf("--extra-body: want a JSON object: %w", err)
		}
	}
	plan, err := workload.Plan(specs, target.Endpoint, b.Duration)
	if err != nil {
		return err
	}
	if target.Model == "" {
		if target.Model, err = bench.FirstModel(ctx, target); err != nil {
			return err
		}
	}
	if err := b.warm(ctx, target, specs, opts); err != nil {
		return err
	}
	terminal := term.IsTerminal(int(out.Fd()))
	opts.Progress = report.Progress(out, terminal)
	if !terminal {
		opts.Interval = 5 * time.Second
	}
	result, err := bench.Run(ctx, target, plan, opts)
	if err != nil {
		return err
	}
	return b.finish(out, result)
}

// warm sends the requests that are not measured.
func (b *benchRun) warm(ctx context.Context, target bench.Target, specs []workload.Spec, opts bench.Options) error {
	if b.Warmup == 0 {
		return nil
	}
	plan, err := workload.Warmup(specs, target.Endpoint, b.Warmup)
	if err != nil {
		return err
	}
	opts.Duration = 0
	result, err := bench.Run(ctx, target, plan, opts)
	if err != nil {
		return err
	}
	for _, rec := range result.Records {
		if rec.Err != nil {
			return fmt.Errorf("warm up: request %s: %w", rec.ID, rec.Err)
		}
	}
	return nil
}

// finish shows and saves a result. A run without one good answer is an error.
func (b *benchRun) finish(out io.Writer, result *bench.Result) error {
	summary := result.Summary(b.Goodput.SLO, b.Percentiles...)
	errs := []error{report.Text(out, result, &summary)}
	if b.SaveResult != "" {
		errs = append(errs, writeFile(b.SaveResult, func(w io.Writer) error {
			return result.WriteJSON(w, summary, b.Label, b.SaveDetail || b.SaveText)
		}))
	}
	if b.HTML != "" {
		errs = append(errs, writeFile(b.HTML, func(w io.Writer) error {
			return report.HTML(w, "Benchmark", []report.Named{{Name: cmp.Or(b.Label, result.Model), Result: result}}, b.Goodput.SLO)
		}))
	}
	if summary.Completed == 0 {
		errs = append(errs, fmt.Errorf("no request of %d was answered well", summary.Failed))
	}
	return errors.Join(errs...)
}

// compare puts saved results side by side.
func (b *benchRun) compare(out io.Writer) error {
	if len(b.Files) < 2 {
		return errors.New("--compare: want two result files or more")
	}
	var columns []report.Column
	var results []report.Named
	for _, file := range b.Files {
		saved, err := load(file)
		if err != nil {
			return err
		}
		name := cmp.Or(saved.Label, strings.TrimSuffix(filepath.Base(file), ".json"))
		columns = append(columns, report.Column{Name: name, Figures: saved.Figures})
		if saved.Result == nil && b.HTML != "" {
			return fmt.Errorf("%s has no times by request; save it with --save-detailed for a report", file)
		}
		results = append(results, report.Named{Name: name, Result: saved.Result})
	}
	if err := report.Compare(out, columns); err != nil || b.HTML == "" {
		return err
	}
	return writeFile(b.HTML, func(w io.Writer) error { return report.HTML(w, "Comparison", results, b.Goodput.SLO) })
}

func load(file string) (*bench.Saved, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("open a result: %w", err)
	}
	defer f.Close() //nolint:errcheck // Read only.
	saved, err := bench.Load(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return saved, nil
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if err := errors.Join(write(f), f.Close()); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	return nil
}
