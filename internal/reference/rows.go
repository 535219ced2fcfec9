// Package reference runs the published reference benchmark, 2000 prompts of 8192 tokens at once with
// answers of 200, against deployments of simulated engines: the whole of baton, in virtual or scaled
// time. It owns what the rows of that comparison are.
package reference

import (
	"time"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/router/schedule"
)

// Published is a row of the benchmark as others have measured it, on eight H100s; 0: not published.
type Published struct {
	Total    time.Duration
	MeanTTFT time.Duration
	P99TPOT  time.Duration
}

// Row is one deployment of eight GPUs.
type Row struct {
	Name      string
	About     string
	Published Published
	configure func(*app.Config)
}

// Rows of the comparison; the first is the base that ratios are against.
func Rows() []Row {
	return []Row{
		{
			Name: "stock", About: "one engine on eight GPUs (TP8), batches of 8192 tokens, its own first-come-first-served queue",
			Published: Published{Total: 777 * time.Second, MeanTTFT: 325 * time.Second, P99TPOT: 1107 * time.Millisecond},
			configure: func(c *app.Config) {
				c.Sim.Profile, c.Sim.MaxBatchTokens = "llama-70b-h100-tp8", 8192
				c.Up.Prefill, c.Up.Decode, c.Up.Both = 0, 0, 1
				c.Schedule.Mode, c.Schedule.PrefillWindow = schedule.Aggregated, 1<<40
				c.Schedule.KVHigh = 1
				c.Decode.Slots, c.Decode.KVTokens = 4096, 1<<40 // the engine queues, not we
			},
		},
		{
			Name: "aggregated", About: "two engines on four GPUs each, both doing all, batches of 1280 tokens",
			configure: func(c *app.Config) {
				tp4(c)
				c.Sim.MaxBatchTokens = 1280
				c.Up.Prefill, c.Up.Decode, c.Up.Both = 0, 0, 2
				c.Schedule.Mode = schedule.Aggregated
			},
		},
		{
			Name: "split", About: "four GPUs prefill, four decode, always",
			configure: func(c *app.Config) {
				tp4(c)
				c.Schedule.Mode, c.Schedule.ShortPrompt = schedule.Split, 0
			},
		},
		{
			Name: "elastic", About: "four GPUs prefill, four decode, and decode lends what it can spare",
			configure: func(c *app.Config) {
				tp4(c)
				c.Schedule.Mode = schedule.Elastic
			},
		},
	}
}

// tp4 is a pair of engines on four GPUs each.
func tp4(c *app.Config) {
	c.Sim.Profile = "llama-70b-h100-tp4"
	c.Up.Prefill, c.Up.Decode = 1, 1
	c.Sim.TransferGBps, c.Sim.HandoverLatency = 50, 175*time.Millisecond
	c.Decode.Slots = 1024
}

// Config is the deployment of a row.
func (r *Row) Config() app.Config {
	c := app.DefaultConfig()
	c.Log.Level = 8 // errors
	c.Sim.MaxSeqs = 1024
	r.configure(&c)
	return c
}
