package reference

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/workload"
)

// Case is one load on one deployment.
type Case struct {
	Row

	Specs       []workload.Spec
	Concurrency int // most requests in flight at the client; 0: no limit
}

// Preset is a set of cases that are compared.
type Preset struct {
	Name  string
	About string
	SLO   bench.SLO // for goodput
	cases func(requests int) []Case
}

// Cases are the preset's, with as many requests as given; 0: its own number.
func (p *Preset) Cases(requests int) []Case { return p.cases(requests) }

// Presets are all there are; the first is the reference benchmark.
func Presets() []Preset {
	return []Preset{
		{
			Name: "burst", About: "2000 prompts of 8192 tokens at once, answers of 200: the reference benchmark",
			cases: func(n int) []Case {
				return each(burst(orElse(n, 2000)), 0, stock, aggregated, publishedSplit, split, elastic)
			},
		},
		{
			Name: "client-loop", About: "the burst from a client that keeps 1250 requests in flight, as the published TTFT suggests",
			cases: func(n int) []Case {
				return each(burst(orElse(n, 2000)), 1250, stock, aggregated, split, elastic)
			},
		},
		{
			Name: "chat", About: "the burst as class batch, and five chats a second meanwhile",
			SLO:   bench.SLO{TTFT: 2 * time.Second, TPOT: 100 * time.Millisecond},
			cases: func(n int) []Case { return each(burstAndChat(orElse(n, 2000)), 0, stock, aggregated, split, elastic) },
		},
		{
			Name: "bursty", About: "arrivals of gamma pauses with a coefficient of variation of 2, at 60, 80 and 95 % of what the deployment can do",
			SLO: bench.SLO{TTFT: 2 * time.Second, TPOT: 100 * time.Millisecond}, cases: bursty,
		},
		{
			Name: "prefixes", About: "700 prompts that share 20 documents of 6144 tokens",
			cases: func(n int) []Case {
				// With most of each prompt cached, batches of 1280 do not keep 100 ms per token; of 1024 do.
				paced := aggregated.with("aggregated 1024", func(c *app.Config) { c.Sim.MaxBatchTokens = 1024 })
				return each(sharedPrefixes(orElse(n, 700)), 0, aggregated, paced, split, elastic)
			},
		},
		{
			Name: "slow-link", About: "700 prompts over links of 1, 2.5, 5 and 50 GB/s",
			cases: slowLinks,
		},
		{
			Name: "small", About: "2000 prompts on eight engines of an 8B model on one GPU each",
			cases: func(n int) []Case { return each(burst(orElse(n, 2000)), 0, smallRows()...) },
		},
		{
			Name: "tight", About: "700 prompts with 30, 40, 50 and 100 ms per token promised",
			cases: tight,
		},
	}
}

// Names are those of the presets.
func Names() (names []string) {
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return names
}

// PresetByName finds one.
func PresetByName(name string) (*Preset, error) {
	all := Presets()
	for i := range all {
		if all[i].Name == name {
			return &all[i], nil
		}
	}
	return nil, fmt.Errorf("no preset is named %q, want one of %s", name, strings.Join(Names(), ", "))
}

// Only keeps the cases of the rows that are named.
func Only(cases []Case, names []string) []Case {
	if len(names) == 0 {
		return cases
	}
	return slices.DeleteFunc(cases, func(c Case) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return c.Name == n || strings.HasPrefix(c.Name, n+" ") })
	})
}

func orElse(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func each(specs []workload.Spec, concurrency int, rows ...Row) []Case {
	cases := make([]Case, len(rows))
	for i, r := range rows {
		cases[i] = Case{Row: r, Specs: specs, Concurrency: concurrency}
	}
	return cases
}

func burst(n int) []workload.Spec {
	spec := workload.Default()
	spec.NumPrompts = n
	return []workload.Spec{spec}
}

// burstSeconds is about how long a burst of n takes the best deployment.
func burstSeconds(n int) float64 { return 0.33 * float64(n) }

func burstAndChat(n int) []workload.Spec {
	const perSecond = 5
	documents, chat := burst(n)[0], workload.Default()
	documents.Name, documents.Class = "documents", "batch"
	chat.Name, chat.Class = "chat", "interactive"
	chat.InputLen, chat.OutputLen, chat.RangeRatio = 256, 128, 0.5
	chat.Arrival, chat.Rate, chat.NumPrompts = workload.Poisson, perSecond, int(perSecond*burstSeconds(n))
	chat.Seed = 1
	return []workload.Spec{documents, chat}
}

// bursty offers parts of the 3.03 requests a second that eight GPUs do in the burst.
func bursty(n int) (cases []Case) {
	const capacity = 2000.0 / 660
	for _, part := range []int{60, 80, 95} {
		spec := workload.Default()
		spec.NumPrompts, spec.Arrival, spec.Burstiness = orElse(n, 1000), workload.Gamma, 0.25 // CV 2 = 1/sqrt(shape)
		spec.Rate = capacity * float64(part) / 100
		for _, row := range []Row{stock, aggregated, split, elastic} {
			row = row.with(fmt.Sprintf("%s %d %%", row.Name, part), func(c *app.Config) { c.Schedule.SLO.TTFT = 2 * time.Second })
			cases = append(cases, Case{Row: row, Specs: []workload.Spec{spec}})
		}
	}
	return cases
}

func sharedPrefixes(n int) []workload.Spec {
	spec := workload.Default()
	spec.NumPrompts, spec.Workload = n, workload.SharedPrefix
	spec.Prefixes, spec.PrefixLen, spec.InputLen = 20, 6144, 2048
	return []workload.Spec{spec}
}

func slowLinks(n int) (cases []Case) {
	specs := burst(orElse(n, 700))
	cases = each(specs, 0, aggregated)
	for _, rate := range []float64{1, 2.5, 5, 50} {
		for _, row := range []Row{split, elastic} {
			row = row.with(fmt.Sprintf("%s %g GB/s", row.Name, rate), func(c *app.Config) { c.Sim.TransferGBps = rate })
			cases = append(cases, Case{Row: row, Specs: specs})
		}
	}
	return cases
}

func smallRows() []Row {
	small := func(prefill, decode int) func(*app.Config) {
		return func(c *app.Config) { c.Sim.Profile, c.Up.Prefill, c.Up.Decode = tp1, prefill, decode }
	}
	return []Row{
		aggregated.with("aggregated", func(c *app.Config) { both(c, tp1, 8, 1280) }),
		split.with("split 4+4", small(4, 4)), elastic.with("elastic 4+4", small(4, 4)),
		split.with("split 6+2", small(6, 2)), elastic.with("elastic 6+2", small(6, 2)),
	}
}

// chunks are the batches that keep an engine's iteration within a promised time per token: of an
// engine that does all, of a decode engine with the most that one prompt gets of it, so that
// handles are read beside it, and of a prefill engine, which keeps answers only where that time is long.
var chunks = []struct{ ms, aggregated, decode, prompt, prefill int }{
	{30, 352, 256, 192, splitBatch},
	{40, 480, 448, 352, splitBatch},
	{50, 560, 640, 480, splitBatch},
	{100, 1280, 1344, 1024, 1536},
}

func tight(n int) (cases []Case) {
	specs := burst(orElse(n, 700))
	for _, k := range chunks {
		slo := func(c *app.Config) { c.Schedule.SLO.TPOT = time.Duration(k.ms) * time.Millisecond }
		cases = append(
			cases,
			Case{Specs: specs, Row: aggregated.with(fmt.Sprintf("aggregated %d ms", k.ms), func(c *app.Config) {
				c.Sim.MaxBatchTokens = k.aggregated
				slo(c)
			})},
			Case{Specs: specs, Row: elastic.with(fmt.Sprintf("elastic %d ms", k.ms), func(c *app.Config) {
				c.Up.PrefillBatch, c.Up.DecodeBatch, c.Up.DecodeChunk = k.prefill, k.decode, k.prompt
				slo(c)
			})},
		)
	}
	return cases
}
