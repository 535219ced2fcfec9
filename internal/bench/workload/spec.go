// Package workload makes plans for package bench: what is sent, how long it is, and when. A plan is
// a function of its Spec alone, so the same seed gives the same requests at the same times. Texts
// are made when they are sent.
package workload

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/config"
	"github.com/goccy/go-yaml"
)

// The workloads.
const (
	Random       = "random"
	SharedPrefix = "shared-prefix"
	MultiTurn    = "multi-turn"
	Trace        = "trace"
)

// The arrivals.
const (
	Burst    = "burst"    // all at once
	Closed   = "closed"   // the next one when one has ended
	Constant = "constant" // with equal pauses
	Poisson  = "poisson"
	Gamma    = "gamma"
	Recorded = "trace" // at the times of the trace
)

// Spec is one stream of requests. The command line fills one; the streams of a mix file are one
// each, and take what they do not say from the command line.
type Spec struct {
	Name  string `yaml:"name" default:"${name}" help:"Name of the stream in results."`
	Class string `yaml:"class" default:"${class}" help:"Value of the X-Baton-Class header (interactive, standard, batch); empty: no header."`

	Workload   string  `yaml:"workload" default:"${workload}" help:"random, shared-prefix, multi-turn or trace."`
	InputLen   int     `yaml:"input_len" default:"${input_len}" help:"Tokens of the prompt; of the part behind the prefix (shared-prefix); of each user message (multi-turn)."`
	OutputLen  int     `yaml:"output_len" default:"${output_len}" help:"Tokens of the answer."`
	RangeRatio float64 `yaml:"range_ratio" default:"${range_ratio}" help:"Lengths are uniform from (1 - ratio) to (1 + ratio) times those."`
	Prefixes   int     `yaml:"prefixes" default:"${prefixes}" help:"Different prefixes (shared-prefix) or system prompts (multi-turn)."`
	PrefixLen  int     `yaml:"prefix_len" default:"${prefix_len}" help:"Tokens of each of them."`

	Turns int           `yaml:"turns" default:"${turns}" help:"Requests in one conversation (multi-turn)."`
	Think time.Duration `yaml:"think" default:"${think}" help:"Pause between an answer and the next turn (multi-turn)."`

	Trace      string  `yaml:"trace" default:"${trace}" placeholder:"FILE" help:"Trace to replay: Mooncake JSONL, or Azure LLM inference CSV or JSONL."`
	TraceBlock int     `yaml:"trace_block" default:"${trace_block}" help:"Tokens that one of the trace's hash_ids stands for."`
	TraceSpeed float64 `yaml:"trace_speed" default:"${trace_speed}" help:"Seconds of the trace in one second."`

	NumPrompts  int     `yaml:"num_prompts" default:"${num_prompts}" help:"Requests; 0: 1000, the whole trace, or as many as the duration needs."`
	Arrival     string  `yaml:"arrival" default:"${arrival}" help:"burst, closed, poisson, gamma, constant or trace; empty: trace for a trace, poisson with a rate, closed with a concurrency, else burst."`
	Rate        float64 `yaml:"rate" default:"${rate}" help:"Arrivals per second (poisson, gamma, constant); conversations count, not turns."`
	Burstiness  float64 `yaml:"burstiness" default:"${burstiness}" help:"Shape of the gamma distribution of the pauses: below 1 is burstier than poisson, above 1 is more even."`
	Concurrency int     `yaml:"concurrency" default:"${concurrency}" help:"Conversations in progress in a closed loop."`

	Prompt         string  `yaml:"prompt" default:"${prompt}" help:"text, or tokens: token ids, exact on every server (completions only)."`
	CharsPerToken  float64 `yaml:"chars_per_token" default:"${chars_per_token}" help:"Characters of text for one token. The text is three-letter words: with 4, most tokenizers count as planned, and the simulated engine exactly."`
	TemplateTokens int     `yaml:"template_tokens" default:"${template_tokens}" help:"Tokens that the chat template adds to one message; the text is shorter by so many. The simulated engine's is 6."`
	Seed           uint64  `yaml:"seed" default:"${seed}" help:"Everything random follows from it."`
}

// Default is one burst of the reference benchmark's requests.
func Default() Spec {
	return Spec{
		Name: "all", Workload: Random, InputLen: 8192, OutputLen: 200, Prefixes: 8, Turns: 5, TraceBlock: 512, TraceSpeed: 1,
		Burstiness: 1, Prompt: "text", CharsPerToken: 4, TemplateTokens: 6,
	}
}

// defaultPrompts is the number of requests where nothing says how many.
const defaultPrompts = 1000

// Validate reports every fault by its YAML name.
func (s *Spec) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	oneOf := func(name, value string, of ...string) {
		fault(!slices.Contains(of, value), "%s is %q, want one of %s", name, value, strings.Join(of, ", "))
	}
	oneOf("workload", s.Workload, Random, SharedPrefix, MultiTurn, Trace)
	oneOf("arrival", s.arrival(), Burst, Closed, Constant, Poisson, Gamma, Recorded)
	oneOf("prompt", s.Prompt, "text", "tokens")
	errs = append(errs,
		config.AtLeast("input_len", s.InputLen, 1), config.AtLeast("output_len", s.OutputLen, 1),
		config.AtLeast("prefixes", s.Prefixes, 1), config.AtLeast("prefix_len", s.PrefixLen, 0),
		config.AtLeast("turns", s.Turns, 1), config.AtLeast("think", s.Think, 0), config.AtLeast("trace_block", s.TraceBlock, 1),
		config.AtLeast("num_prompts", s.NumPrompts, 0), config.AtLeast("template_tokens", s.TemplateTokens, 0),
		config.AtLeast("chars_per_token", s.CharsPerToken, 1),
	)
	fault(!(s.RangeRatio >= 0 && s.RangeRatio < 1), "range_ratio is %v, want 0 or more and less than 1", s.RangeRatio)
	fault(!(s.TraceSpeed > 0), "trace_speed is %v, want more than 0", s.TraceSpeed)
	fault(s.Workload == SharedPrefix && s.PrefixLen < 1, "prefix_len is %d, want 1 or more for shared-prefix", s.PrefixLen)
	fault((s.Workload == Trace) != (s.Trace != ""), "workload is %s and trace is %q, want a file with trace alone", s.Workload, s.Trace)
	switch s.arrival() {
	case Closed:
		fault(s.Concurrency < 1, "concurrency is %d, want 1 or more for a closed loop", s.Concurrency)
	case Constant, Poisson, Gamma:
		fault(!(s.Rate > 0), "rate is %v, want more than 0 for %s arrivals", s.Rate, s.arrival())
		fault(s.arrival() == Gamma && !(s.Burstiness > 0), "burstiness is %v, want more than 0", s.Burstiness)
	case Recorded:
		fault(s.Workload != Trace, "arrival is trace, want a trace as the workload")
	}
	return errors.Join(errs...)
}

// arrival is the kind of arrivals that holds.
func (s *Spec) arrival() string {
	switch {
	case s.Arrival != "":
		return s.Arrival
	case s.Workload == Trace:
		return Recorded
	case s.Rate > 0:
		return Poisson
	case s.Concurrency > 0:
		return Closed
	default:
		return Burst
	}
}

// ReadMix reads the streams of a mix file; what a stream does not say is as in base.
func ReadMix(file string, base Spec) ([]Spec, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the mix: %w", err)
	}
	type plain Spec
	var mix struct {
		Streams []Spec `yaml:"streams"`
	}
	err = yaml.UnmarshalWithOptions(text, &mix, yaml.Strict(), yaml.CustomUnmarshaler(func(s *Spec, b []byte) error {
		*s = base
		s.Name = ""
		return yaml.UnmarshalWithOptions(b, (*plain)(s), yaml.Strict())
	}))
	if err != nil {
		return nil, fmt.Errorf("read the mix %s: %w", file, err)
	}
	if len(mix.Streams) == 0 {
		return nil, fmt.Errorf("read the mix %s: it has no streams", file)
	}
	for i := range mix.Streams {
		s := &mix.Streams[i]
		if s.Name == "" {
			s.Name = fmt.Sprintf("stream-%d", i+1)
		}
	}
	return mix.Streams, nil
}
