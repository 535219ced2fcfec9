package chaos

import (
	"errors"
	"fmt"
	"time"
)

// Config says what to run and for how long.
type Config struct {
	Seed      uint64        `default:"1" help:"All faults and all traffic follow from it."`
	Scenario  Scenario      `default:"random" enum:"random,rolling,decode-kill" help:"What happens: faults drawn at random; a restart of every process in turn; or the kill of the decode worker that has all streams."`
	Duration  time.Duration `default:"1m" help:"How long clients send requests; rolling restarts all of them once more until it is over, and decode-kill pays no heed."`
	Every     time.Duration `default:"2s" help:"Mean time between two faults."`
	Clients   int           `default:"20" help:"Requests that run at the same time."`
	Frontends int           `default:"2" help:"Frontends."`
	Prefill   int           `default:"3" help:"Prefill workers, each with an engine."`
	Decode    int           `default:"3" help:"Decode workers, each with an engine."`
	Storage   string        `default:"file" enum:"file,memory" help:"Where the NATS server keeps queues; in memory they are empty after its restart."`
	Faults    []Kind        `placeholder:"KIND" help:"Only these faults, such as worker.kill,nats.stop; all by default."`
	Strict    bool          `default:"true" negatable:"" help:"A stream that is cut after its first byte is a broken promise; --no-strict counts it apart."`
	Patience  time.Duration `default:"60s" help:"A request that hears nothing for so long hangs."`
	Dir       string        `type:"path" placeholder:"DIR" help:"Folder for the logs of all processes; a temporary one by default, which stays if the promise was broken."`

	Binary string `kong:"-"` // that is each process
}

// Validate reports every fault, by flag.
func (c *Config) Validate() error {
	var err error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			err = errors.Join(err, fmt.Errorf(format, args...))
		}
	}
	fault(c.Duration < time.Second, "--duration is %s, want 1s or more", c.Duration)
	fault(c.Every < 10*time.Millisecond, "--every is %s, want 10ms or more", c.Every)
	fault(c.Clients < 1, "--clients is %d, want 1 or more", c.Clients)
	fault(c.Patience < time.Second, "--patience is %s, want 1s or more", c.Patience)
	fault(min(c.Frontends, c.Prefill, c.Decode) < 1 || max(c.Frontends, c.Prefill, c.Decode) > 32,
		"--frontends is %d, --prefill %d and --decode %d, want 1 to 32 of each", c.Frontends, c.Prefill, c.Decode)
	fault(c.Scenario != Random && c.Scenario != Rolling && c.Scenario != DecodeKill, "--scenario is %q, want %s, %s or %s", c.Scenario, Random, Rolling, DecodeKill)
	fault(c.Scenario == Rolling && min(c.Frontends, c.Prefill, c.Decode) < 2,
		"--frontends is %d, --prefill %d and --decode %d, want 2 of each for %s: one works while the other is away", c.Frontends, c.Prefill, c.Decode, Rolling)
	fault(c.Scenario == DecodeKill && c.Decode < 2, "--decode is %d, want 2 or more for %s: another worker goes on", c.Decode, DecodeKill)
	for _, k := range c.Faults {
		_, known := kinds[k]
		fault(!known, "--faults has %q, want some of %s", k, kindNames())
	}
	return err
}
