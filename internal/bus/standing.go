package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go/jetstream"
)

// Standing is how one of baton's streams is at the server, for people.
type Standing struct {
	Depth

	Stream      string
	Setting     string // section of the settings that it is made by
	Missing     bool   // nobody has made it yet; the rest is then as it would be made
	MaxMessages int64  // -1: no bound
	MaxBytes    int64  // likewise
	Storage     Storage
	Replicas    int
	Late        []string          // replicas that are offline, or behind the leader
	Subjects    map[string]uint64 // jobs by subject; nil of the bodies
	Differs     []string          // settings that are not this process's, each as a sentence
}

// Standings asks the server for the prefill queue, the decode queue and the bodies, in this order. What is
// there is compared with the settings of this process.
func (b *Bus) Standings(ctx context.Context) ([]Standing, error) {
	prefill, decode := b.queues()
	bucket := b.bucketConfig()
	var all []Standing
	for _, want := range []struct {
		jetstream.StreamConfig

		setting string
		jobs    bool
	}{
		{prefill.streamConfig(), "nats.prefill_queue", true},
		{decode.streamConfig(), "nats.decode_queue", true},
		{jetstream.StreamConfig{
			Name: bodies, MaxMsgs: -1, MaxBytes: bucket.MaxBytes, MaxAge: bucket.TTL, Storage: bucket.Storage, Replicas: bucket.Replicas,
		}, "nats.body", false},
	} {
		s, err := b.standing(ctx, &want.StreamConfig, want.setting, want.jobs)
		if err != nil {
			return all, fmt.Errorf("ask for stream %s: %w", want.Name, b.permitted(err))
		}
		all = append(all, s)
	}
	return all, nil
}

func (b *Bus) standing(ctx context.Context, want *jetstream.StreamConfig, setting string, jobs bool) (Standing, error) {
	ctx, cancel := b.bound(ctx)
	defer cancel()
	s := Standing{
		Stream: want.Name, Setting: setting, MaxMessages: want.MaxMsgs, MaxBytes: want.MaxBytes, Storage: stored(want.Storage), Replicas: want.Replicas,
	}
	stream, err := b.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s.Missing = true
		return s, nil
	}
	if err != nil {
		return s, err
	}
	info := stream.CachedInfo()
	if jobs {
		if info, err = stream.Info(ctx, jetstream.WithSubjectFilter(">")); err != nil {
			return s, err
		}
		s.Subjects = info.State.Subjects
		if s.Subjects == nil {
			s.Subjects = map[string]uint64{}
		}
	}
	s.Depth = depthOf(info)
	s.MaxMessages, s.MaxBytes, s.Replicas, s.Storage = info.Config.MaxMsgs, info.Config.MaxBytes, info.Config.Replicas, stored(info.Config.Storage)
	if c := info.Cluster; c != nil {
		for _, peer := range c.Replicas {
			if peer.Offline || !peer.Current {
				s.Late = append(s.Late, peer.Name)
			}
		}
	}
	s.Differs = differences(want, &info.Config, setting, jobs)
	return s, nil
}

// differences compares what the settings ask for with what is there.
func differences(want, is *jetstream.StreamConfig, setting string, jobs bool) (said []string) {
	compare := func(name string, want, is any) {
		if want != is {
			said = append(said, fmt.Sprintf("%s is %v here and %v at the server", name, want, is))
		}
	}
	compare("nats.storage", stored(want.Storage), stored(is.Storage))
	compare("nats.replicas", want.Replicas, is.Replicas)
	if !jobs {
		compare(setting+"_max_bytes", want.MaxBytes, is.MaxBytes)
		compare(setting+"_ttl", want.MaxAge, is.MaxAge)
		return said
	}
	compare(setting+".max_msgs", want.MaxMsgs, is.MaxMsgs)
	compare(setting+".max_bytes", want.MaxBytes, is.MaxBytes)
	compare(setting+".max_age", want.MaxAge, is.MaxAge)
	compare(setting+".ack_wait × max_deliver", want.Duplicates, is.Duplicates)
	if !slices.Equal(want.Subjects, is.Subjects) {
		said = append(said, fmt.Sprintf("the stream takes %v, baton needs %v: delete it, and baton makes it anew", is.Subjects, want.Subjects))
	}
	if want.Retention != is.Retention || want.Discard != is.Discard {
		said = append(said, "the stream is no work queue that refuses what is too much: delete it, and baton makes it anew")
	}
	return said
}

func stored(s jetstream.StorageType) Storage {
	if s == jetstream.FileStorage {
		return File
	}
	return Memory
}

// ByClass counts the jobs of the prefill queue by their subjects.
func (s *Standing) ByClass() map[wire.Class]uint64 {
	counts := map[wire.Class]uint64{}
	for subject, n := range s.Subjects {
		if class, ok := wire.ClassOfPrefill(subject); ok {
			counts[class] += n
		}
	}
	return counts
}
