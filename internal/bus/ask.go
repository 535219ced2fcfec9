package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go/jetstream"
)

// Remove deletes a job by its receipt's Seq and tells whether it was still there; where the connection was lost
// meanwhile, false may mean that it was. Who holds a delivery of it is not told.
func (q *Queue[J]) Remove(ctx context.Context, seq uint64) (bool, error) {
	err := q.bus.request(ctx, func(ctx context.Context) error { return q.current().DeleteMsg(ctx, seq) })
	if err == nil {
		return true, nil
	}
	if errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) && isGone(err.Error()) || lost(err) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return false, fmt.Errorf("remove %s job %d: %w", q.name, seq, err)
}

// isGone reads from a server's error that there was no message to delete; the client keeps only its text.
func isGone(text string) bool {
	return strings.Contains(text, "not found") || // 10043, "sequence N not found"
		strings.Contains(text, "no message found") || strings.Contains(text, "stream store EOF") // 10057, of streams in files
}

// Lost returns which jobs, by message id and Receipt.Seq, are not in the queue: settled, dropped, or gone with the
// memory of a server. The server is asked once for all that lie outside of what it has, and once for each other.
func (q *Queue[J]) Lost(ctx context.Context, jobs map[string]uint64) (lost []string, err error) {
	ctx, cancel := q.bus.bound(ctx)
	defer cancel()
	stream := q.current()
	info, err := stream.Info(ctx)
	gone := errors.Is(err, jetstream.ErrStreamNotFound)
	if err != nil && !gone {
		return nil, fmt.Errorf("ask for range of %s queue: %w", q.name, err)
	}
	for id, seq := range jobs {
		there := !gone && seq >= info.State.FirstSeq && seq <= info.State.LastSeq
		if there {
			// Its number alone says nothing: a server that has forgotten all counts from 1 again.
			msg, err := stream.GetMsg(ctx, seq)
			if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil, fmt.Errorf("look for %s job %d: %w", q.name, seq, err)
			}
			there = err == nil && msg.Header.Get(wire.MsgIDHeader) == id
		}
		if !there {
			lost = append(lost, id)
		}
	}
	return lost, nil
}

// Stats asks the server for the queue's depth.
func (q *Queue[J]) Stats(ctx context.Context) (Depth, error) {
	ctx, cancel := q.bus.bound(ctx)
	defer cancel()
	info, err := q.current().Info(ctx)
	if err != nil {
		return Depth{}, fmt.Errorf("ask for depth of %s queue: %w", q.name, err)
	}
	return depthOf(info), nil
}

func depthOf(info *jetstream.StreamInfo) Depth {
	d := Depth{Messages: info.State.Msgs, Bytes: info.State.Bytes}
	if d.Messages > 0 {
		d.Oldest = max(0, time.Since(info.State.FirstTime))
	}
	return d
}

// Detail is Stats with the jobs of each subject. The server looks at all subjects for it.
func (q *Queue[J]) Detail(ctx context.Context) (d Depth, subjects map[string]uint64, err error) {
	ctx, cancel := q.bus.bound(ctx)
	defer cancel()
	info, err := q.current().Info(ctx, jetstream.WithSubjectFilter(q.subjects))
	if err != nil {
		return Depth{}, nil, fmt.Errorf("ask for depth of %s queue by subject: %w", q.name, err)
	}
	return depthOf(info), info.State.Subjects, nil
}

// Limits returns the bounds of the queue: most jobs and most bytes.
func (q *Queue[J]) Limits() (msgs, bytes int64) { return q.cfg.MaxMsgs, q.maxBytes }
