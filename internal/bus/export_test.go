package bus

import (
	"context"
	"time"
)

// RunOn gives the process of the bus a clock of its own, as on another machine, and has it look at the server's.
func (b *Bus) RunOn(ctx context.Context, now func() time.Time) error {
	b.clock.mu.Lock()
	b.clock.now = now
	b.clock.mu.Unlock()
	return b.look(ctx)
}
