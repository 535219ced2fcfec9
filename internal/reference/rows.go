// Package reference runs the published reference benchmark, 2000 prompts of 8192 tokens at once with
// answers of 200, and others like it, against deployments of simulated engines: the whole of baton, in
// virtual time or in real time that is scaled. It owns what the rows and the presets are.
package reference

import (
	"time"

	"github.com/baton-llm/baton/internal/app"
	"github.com/baton-llm/baton/router/schedule"
)

// Published is what others have measured of a row, on eight H100s; 0: nothing published.
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

// unbounded leaves a limit to the engine.
const unbounded = 1 << 40

// The rows. Whoever compares with the first compares with what one starts without any router.
var (
	stock = Row{
		Name: "stock", About: "one engine on eight GPUs (TP8), batches of 8192 tokens, its own queue",
		Published: Published{Total: 777 * time.Second, MeanTTFT: 325 * time.Second, P99TPOT: 1107 * time.Millisecond},
		configure: func(c *app.Config) {
			both(c, "llama-70b-h100-tp8", 1, 8192)
			c.Schedule.PrefillWindow, c.Schedule.KVHigh = unbounded, 1
			c.Decode.Slots, c.Decode.KVTokens = 1<<20, unbounded // the engine queues, not we
		},
	}
	aggregated = Row{
		Name: "aggregated", About: "two engines on four GPUs each (TP4) that both do all, batches of 1280 tokens",
		configure: func(c *app.Config) { both(c, tp4, 2, 1280) },
	}
	publishedSplit = Row{
		Name: "serial split", About: "four GPUs prefill, four decode; one hand-over at a time and a slow decode engine: as published",
		Published: Published{Total: 2449 * time.Second, MeanTTFT: 1036 * time.Second, P99TPOT: 100 * time.Millisecond},
		configure: func(c *app.Config) {
			pair(c, schedule.Split)
			// Fitted, not predicted: no prompt begins before the last one's KV cache was read, over
			// a link and a decode engine as slow as the published figures are.
			c.Prefill.MaxHandles = 1
			c.Sim.HandoverLatency = 360 * time.Millisecond
			c.Up.DecodeSlow = 4.35
		},
	}
	split = Row{
		Name: "split", About: "four GPUs prefill, four decode, always",
		configure: func(c *app.Config) { pair(c, schedule.Split) },
	}
	elastic = Row{
		Name: "elastic", About: "four GPUs prefill, four decode, and decode lends what it can spare",
		configure: func(c *app.Config) { pair(c, schedule.Elastic) },
	}
)

// splitBatch is the batch of a prefill engine that keeps no answers: nothing waits for its iterations.
const splitBatch = 4096

const (
	tp4 = "llama-70b-h100-tp4"
	tp1 = "llama-8b-h100-tp1"
)

// both is n engines that do all.
func both(c *app.Config, profile string, n, batch int) {
	c.Sim.Profile, c.Sim.MaxBatchTokens = profile, batch
	c.Up.Prefill, c.Up.Decode, c.Up.Both = 0, 0, n
	c.Schedule.Mode = schedule.Aggregated
}

// pair is one prefill and one decode engine.
func pair(c *app.Config, mode schedule.Mode) {
	c.Sim.Profile = tp4
	c.Up.Prefill, c.Up.Decode = 1, 1
	c.Schedule.Mode = mode
	if mode == schedule.Split {
		c.Schedule.ShortPrompt = 0
		c.Up.PrefillBatch = splitBatch
	}
}

// with is the row with another name and more settings.
func (r Row) with(name string, more func(*app.Config)) Row {
	configure := r.configure
	if name != r.Name {
		r.Name, r.Published = name, Published{} // of another deployment
	}
	r.configure = func(c *app.Config) {
		configure(c)
		more(c)
	}
	return r
}

// Config is the deployment of a row: fast links, no bound but the engines'.
func (r *Row) Config() app.Config {
	c := app.DefaultConfig()
	c.Log.Level = 8 // errors only
	c.Sim.MaxSeqs, c.Decode.Slots = 1024, 1024
	c.Sim.TransferGBps, c.Sim.HandoverLatency = 50, 175*time.Millisecond
	r.configure(&c)
	return c
}

// Promise sets the time per output token that the row's scheduler aims at.
func (r *Row) Promise(tpot time.Duration) {
	*r = r.with(r.Name, func(c *app.Config) { c.Schedule.SLO.TPOT = tpot })
}
