package bus

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAcknowledgementsOfServers(t *testing.T) {
	for _, text := range []string{
		`{"stream":"S","seq":18446744073709551615}`, `{"stream":"S", "seq":7}`, `{"stream":"S","seq":7,"duplicate": true}`,
		`{"stream":"S","domain":"d","seq":7}`, `{"seq":7,"stream":"S"}`, `{"stream":"other","seq":7}`,
	} {
		var want jetstream.PubAck
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		got, err := readAck("S", []byte(text))
		if err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{``, `{}`, `{"stream":"S","seq":}`, `{"stream":"S","seq":-1}`, `{"stream":"S","seq":1`, `+OK`} {
		if got, err := readAck("S", []byte(text)); !errors.Is(err, jetstream.ErrInvalidJSAck) {
			t.Errorf("%q is read as %+v, %v", text, got, err)
		}
	}
	_, err := readAck("S", []byte(`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}`))
	if !isFull(err) || !transient(err) {
		t.Errorf("a refusal is read as %v", err)
	}
}

func TestSubjectsOfAcknowledgementsAreReadAsTheClientReadsThem(t *testing.T) {
	for _, ack := range []string{
		"$JS.ACK.S.c.3.42.7.1700000000123456789.0", "$JS.ACK._.AAAA.S.c.1.2.3.1700000000123456789.5", "$JS.ACK.hub.AAAA.S.c.1.2.3.1700000000123456789.5.rnd",
	} {
		want, err := (&nats.Msg{Reply: ack, Sub: &nats.Subscription{}}).Metadata()
		if err != nil {
			t.Fatal(err)
		}
		got, err := originOf(ack)
		if err != nil || got.deliveries != want.NumDelivered || got.seq != want.Sequence.Stream || !got.published.Equal(want.Timestamp) {
			t.Errorf("%s is read as %+v, %v; want %+v", ack, got, err, want)
		}
	}
	for _, ack := range []string{"", "$JS.ACK", "$JS.ACK.S.c.1.2.3.4", "$JS.ACK.S.c.x.2.3.4.5", "baton.inbox.a.b.c.1.2.3.4.5", "$JS.ACK.a.b.S.c.1.2.3.4"} {
		if got, err := originOf(ack); err == nil {
			t.Errorf("%q is read as %+v ", ack, got)
		}
	}
}
