package bus

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go/jetstream"
)

// ErrNoBody is returned for a body that was deleted, has outlived its time, or never was.
var ErrNoBody = errors.New("body is gone")

// openBodies does for the bucket what Queue.ensure does for a stream.
func (b *Bus) openBodies(ctx context.Context) error {
	store, err := b.js.CreateObjectStore(ctx, b.bucketConfig())
	if b.owner && errors.Is(err, jetstream.ErrBucketExists) {
		store, err = b.js.UpdateObjectStore(ctx, b.bucketConfig())
	}
	if err != nil {
		existing, e := b.js.ObjectStore(ctx, wire.BodyBucket)
		if e != nil {
			return fmt.Errorf("open bucket %s: %w", wire.BodyBucket, err)
		}
		b.keptAsItIs(ctx, wire.BodyBucket, err)
		store = existing
	}
	b.bodies.Store(&store)
	return nil
}

// bucketConfig is the bucket as the settings want it.
func (b *Bus) bucketConfig() jetstream.ObjectStoreConfig {
	return jetstream.ObjectStoreConfig{
		Bucket:      wire.BodyBucket,
		Description: "request bodies too large for one message",
		TTL:         b.cfg.BodyTTL,
		MaxBytes:    b.cfg.maxBytes(b.cfg.BodyMaxBytes, 1<<30, 8<<30),
		Storage:     b.cfg.storage(),
		Replicas:    b.cfg.Replicas,
	}
}

// PutBody stores a body and returns the name to find it by. It may be read any number of times
// until DeleteBody or Config.BodyTTL.
func (b *Bus) PutBody(ctx context.Context, body []byte) (ref string, err error) {
	ref = rand.Text()
	err = b.request(ctx, func(ctx context.Context) error {
		put := func() error {
			_, err := (*b.bodies.Load()).Put(ctx, jetstream.ObjectMeta{Name: ref}, bytes.NewReader(body))
			return err
		}
		err := put()
		if lost(err) {
			if err = b.openBodies(ctx); err == nil {
				err = put()
			}
		}
		return err
	})
	if isFull(err) {
		err = ErrFull
	}
	if err != nil {
		return "", fmt.Errorf("store body of %d bytes: %w", len(body), err)
	}
	return ref, nil
}

// GetBody reads a stored body; ErrNoBody if there is none.
func (b *Bus) GetBody(ctx context.Context, ref string) ([]byte, error) {
	var body []byte
	err := b.request(ctx, func(ctx context.Context) (err error) {
		body, err = (*b.bodies.Load()).GetBytes(ctx, ref)
		return err
	})
	if errors.Is(err, jetstream.ErrObjectNotFound) || lost(err) {
		err = ErrNoBody
	}
	if err != nil {
		return nil, fmt.Errorf("read body %s: %w", ref, err)
	}
	return body, nil
}

// DeleteBody drops a stored body; one that is gone already is no error.
func (b *Bus) DeleteBody(ctx context.Context, ref string) error {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	err := (*b.bodies.Load()).Delete(ctx, ref)
	if err == nil || errors.Is(err, jetstream.ErrObjectNotFound) || lost(err) {
		return nil
	}
	return fmt.Errorf("delete body %s: %w", ref, err)
}
