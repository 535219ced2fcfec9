package bus

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		if err != nil || cmp.Diff(&want, got) != "" {
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
