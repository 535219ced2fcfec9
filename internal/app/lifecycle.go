package app

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
)

// layer is a set of goroutines that end together. Layers stop in the reverse of the order they
// were started in: what others need outlives them.
type layer struct {
	cancel context.CancelFunc
	group  *errgroup.Group
	ctx    context.Context //nolint:containedctx // the layer is the owner of this context's lifetime
}

// newLayer starts an empty layer that does not end with parent but keeps its values.
func newLayer(parent context.Context) *layer {
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	group, ctx := errgroup.WithContext(ctx)
	return &layer{cancel: cancel, group: group, ctx: ctx}
}

// run adds a goroutine; if it ends before stop, the whole layer is broken and its context
// ends.
func (l *layer) run(f func(context.Context) error) {
	l.group.Go(func() error {
		err := f(l.ctx)
		if l.ctx.Err() == nil && err == nil {
			err = errors.New("a service ended before it was told to")
		}
		return err
	})
}

// bind returns a context that ends with ctx or as soon as the layer is broken.
func (l *layer) bind(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.ctx, func() { cancel(context.Cause(l.ctx)) })
	return ctx, func() { stop(); cancel(nil) }
}

// stop ends the layer and returns the first error that was not the stop itself.
func (l *layer) stop() error {
	l.cancel()
	return ended(l.group.Wait())
}

// ended turns the end that was asked for into success.
func ended(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
