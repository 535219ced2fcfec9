package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// silence is how many announcements a draining worker may miss until it counts as gone without a word.
const silence = 5

// Drain has a worker take no more work and finish what it has, and then end, or, if keep is set, stay without work. It
// returns when that is done, or when ctx ends: the worker then goes on by itself. What happens is said on out.
func (d *Desk) Drain(ctx context.Context, worker string, keep bool, out io.Writer) error {
	said := make(chan wire.Announcement, 64) // more than come while one is looked at; those that do not fit are repeated
	stop, err := d.bus.Subscribe(wire.AnnounceSubject, func(data []byte) {
		var a wire.Announcement
		if json.Unmarshal(data, &a) != nil || a.ID != worker {
			return
		}
		select {
		case said <- a:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer stop()
	ask, end := wire.DrainLeave, "has ended"
	if keep {
		ask, end = wire.DrainHold, "has no work and stays; baton undrain "+worker+" gives it some again"
	}
	if _, err := d.ask(ctx, wire.DrainSubject(worker), worker, string(ask)); err != nil {
		return fmt.Errorf("drain %s: %w", worker, err)
	}
	fmt.Fprintf(out, "%s takes no more work\n", worker)
	if err := d.warnOfMissing(ctx, out); err != nil {
		return err
	}
	if err := d.drained(ctx, worker, keep, said, out); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s %s\n", worker, end)
	return nil
}

// drained waits for the last of a worker's work.
func (d *Desk) drained(ctx context.Context, worker string, keep bool, said <-chan wire.Announcement, out io.Writer) error {
	left := "what it has is not known"
	quiet := time.NewTimer(silence * time.Second)
	defer quiet.Stop()
	for {
		select {
		case a := <-said:
			quiet.Reset(silence * max(a.Interval, time.Second))
			l := a.Load
			if !keep && a.Gone || keep && a.Held && l.Running+l.Waiting+l.Handles == 0 {
				return nil
			}
			if now := fmt.Sprintf("%d requests and %d KV caches that wait for their readers", l.Running+l.Waiting, l.Handles); a.Leaving && now != left {
				left = now
				fmt.Fprintf(out, "%s still has %s\n", worker, left)
			}
		case <-quiet.C:
			if !keep {
				return nil // its last word was lost
			}
			return fmt.Errorf("%s does not announce itself any more", worker)
		case <-ctx.Done():
			return fmt.Errorf("%s drains still, and goes on: %s: %w", worker, left, context.Cause(ctx))
		}
	}
}

// Undrain has a worker that was drained and kept take work again.
func (d *Desk) Undrain(ctx context.Context, worker string, out io.Writer) error {
	was, err := d.ask(ctx, wire.DrainSubject(worker), worker, string(wire.DrainResume))
	if err != nil {
		return fmt.Errorf("undrain %s: %w", worker, err)
	}
	if was != "true" {
		fmt.Fprintf(out, "%s took work already\n", worker)
		return nil
	}
	fmt.Fprintf(out, "%s takes work again\n", worker)
	return nil
}
