package bus

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// store is jetstream's PublishMsg for a message of one stream, at less cost.
func (b *Bus) store(ctx context.Context, stream string, msg *nats.Msg) (jetstream.PubAck, error) {
	reply, err := b.exchange(ctx, msg)
	for try := 0; errors.Is(err, nats.ErrNoResponders) && try < jetstream.DefaultPubRetryAttempts; try++ {
		if e := sleep(ctx, jetstream.DefaultPubRetryWait); e != nil {
			break
		}
		reply, err = b.exchange(ctx, msg)
	}
	if errors.Is(err, nats.ErrNoResponders) {
		return jetstream.PubAck{}, jetstream.ErrNoStreamResponse
	}
	if err != nil {
		return jetstream.PubAck{}, err
	}
	return readAck(stream, reply.Data)
}

// readAck reads what a server says of a message that it has stored, or why it has not.
func readAck(stream string, data []byte) (jetstream.PubAck, error) {
	if seq, ok := plainAck(stream, data); ok {
		return jetstream.PubAck{Stream: stream, Sequence: seq}, nil
	}
	var answer struct {
		*jetstream.PubAck

		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return jetstream.PubAck{}, jetstream.ErrInvalidJSAck
	}
	if answer.Error != nil {
		return jetstream.PubAck{}, fmt.Errorf("nats: %w", answer.Error)
	}
	if answer.PubAck == nil || answer.Stream == "" {
		return jetstream.PubAck{}, jetstream.ErrInvalidJSAck
	}
	return *answer.PubAck, nil
}

// plainAck reads what servers say in nearly every case: {"stream":"NAME","seq":1}.
func plainAck(stream string, data []byte) (seq uint64, ok bool) {
	for _, part := range []string{`{"stream":"`, stream, `","seq":`} {
		if data, ok = bytes.CutPrefix(data, []byte(part)); !ok {
			return 0, false
		}
	}
	if data, ok = bytes.CutSuffix(data, []byte("}")); !ok {
		return 0, false
	}
	seq, err := strconv.ParseUint(string(data), 10, 64)
	return seq, err == nil
}
