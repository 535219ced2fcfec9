package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	// clockEvery is the time between two looks at the server's clock.
	clockEvery = 30 * time.Second
	// leastSkew is what clocks may differ by without a correction: less than any time limit that crosses
	// processes, and more than a look at the server's clock is wrong by.
	leastSkew = 250 * time.Millisecond
	// reportedSkew is what is worth a word in the log.
	reportedSkew = 2 * time.Second
)

// clock translates between this process's wall clock and the server's. On the wire, instants of jobs are by the
// server's clock: deadlines and leases would else be minutes off between machines whose clocks are. It goes on by the
// monotonic clock between two looks, so that a jump of the wall clock changes nothing. Safe for concurrent use.
type clock struct {
	mu           sync.Mutex
	now          func() time.Time
	here, server time.Time // the same instant by both clocks; zero: no look yet, and both count as one
}

// learn takes what the server's clock showed between asked and answered, and returns how far it is ahead of this
// process's; 0: not far enough for a correction.
func (c *clock) learn(server, asked, answered time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	trip := answered.Sub(asked)
	here := asked.Add(trip / 2)
	skew := server.Round(0).Sub(here.Round(0)) // by wall clocks
	if skew.Abs() < leastSkew+trip/2 {
		skew = 0
	}
	c.here, c.server = here, here.Round(0).Add(skew)
	return skew
}

// outward is t, an instant by this process's clock, by the server's.
func (c *clock) outward(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() || c.here.IsZero() {
		return t
	}
	return c.server.Add(t.Sub(c.here))
}

// inward is t, an instant by the server's clock, by this process's.
func (c *clock) inward(t time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.IsZero() || c.here.IsZero() {
		return t
	}
	return c.here.Add(t.Sub(c.server))
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

// look asks for the server's clock.
func (b *Bus) look(ctx context.Context) error {
	skew, err := b.Skew(ctx)
	if err != nil {
		return err
	}
	b.metrics.skew.Set(skew.Seconds())
	if told := b.skewed.Swap(skew.Abs() >= reportedSkew); !told && skew.Abs() >= reportedSkew {
		b.log.WarnContext(ctx, "the clock of this machine is not the NATS server's; deadlines and leases are corrected for it", slog.Duration("server_ahead", skew))
	}
	return nil
}

// Skew asks the server for its clock and returns how far that is ahead of this process's; 0: not so far that it
// matters. What it finds is what jobs are corrected by from then on.
func (b *Bus) Skew(ctx context.Context) (time.Duration, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	asked := b.clock.read()
	stream, err := b.js.Stream(ctx, wire.PrefillStream)
	if err != nil {
		return 0, fmt.Errorf("ask for the server's clock: %w", err)
	}
	return b.clock.learn(stream.CachedInfo().TimeStamp, asked, b.clock.read()), nil
}

// keepTime looks at the server's clock until ctx ends.
func (b *Bus) keepTime(ctx context.Context) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := b.look(ctx); err != nil {
				b.log.DebugContext(ctx, "server's clock not seen", slog.Any("error", err))
			}
		case <-ctx.Done():
			return
		}
	}
}

// timed has the instants of a job translated on its way out and in. at returns the job with each of them changed, and
// leaves the one that it is given as it is.
func timed[J any](c *clock, at func(J, func(time.Time) time.Time) J, encode func(*J) (wire.Message, error), decode func(wire.Message) (J, error)) (out func(*J) (wire.Message, error), in func(wire.Message) (J, error)) {
	out = func(j *J) (wire.Message, error) {
		own := at(*j, c.outward)
		return encode(&own)
	}
	in = func(m wire.Message) (J, error) {
		j, err := decode(m)
		if err != nil {
			return j, err
		}
		return at(j, c.inward), nil
	}
	return out, in
}
