package wire_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/kvtransfer"
)

// What is written with encoding/json is read as that would read it, cheaply.
func TestJSONIsReadAsItWasWritten(t *testing.T) {
	now := time.Now().UTC().Round(0)
	request := wire.Request{
		ID: "r\"1\u00e9\x00", Frontend: "f", Stream: 1 << 60, Attempt: 2, Model: "m<&>", Path: "/v1/completions", Streaming: true, Class: wire.Batch,
		Digest: "d", BodySize: 3, PromptTokens: 4, Admitted: now, Deadline: now.Add(time.Hour), Avoid: []string{"a", "b"},
	}
	assignment := &wire.Assignment{Place: wire.PlaceSplit, Decode: "d", Dispatcher: "f", Why: "split", Waited: 17 * time.Millisecond}
	for _, v := range []any{
		&wire.PrefillJob{Request: request, Prefix: []uint64{1, 1<<64 - 1}, Assignment: assignment},
		&wire.DecodeJob{Request: request, Worker: "d", Assignment: assignment, Handle: &kvtransfer.Handle{Serial: 9, Issued: now, Expires: now.Add(time.Minute)}},
		&wire.Report{
			Worker: "w", Started: now, Seq: 1 << 40, Full: true, ITL: 50 * time.Millisecond,
			Jobs: []wire.JobReport{{Key: "f.1.1", Stage: wire.StageHanded, Tokens: 5, KV: 6}},
		},
		&wire.HandedInfo{Prefill: time.Second, PromptTokens: 1, DecodeWorker: "d", Lease: time.Minute},
		&wire.EndInfo{PromptTokens: 1, CompletionTokens: 2},
		&wire.Failure{Reason: wire.EngineError, Status: 500, Body: []byte(`{"a":1}`), Message: "no"},
	} {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		want, got := reflect.New(reflect.TypeOf(v).Elem()).Interface(), reflect.New(reflect.TypeOf(v).Elem()).Interface()
		if err := json.Unmarshal(data, want); err != nil {
			t.Fatal(err)
		}
		later := append([]byte(`{"of_a_later_version":{"x":[1]},`), data[1:]...)
		if err := wire.ReadJSON(later, got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %+v, %v, want %+v", later, got, err, want)
		}
	}
	var r wire.Report
	for _, bad := range []string{``, `{`, `[]`, `{"worker":1}`, `{"worker":"w"} {}`} {
		if err := wire.ReadJSON([]byte(bad), &r); err == nil {
			t.Errorf("%q is read as a report", bad)
		}
	}
}

func BenchmarkReadJob(b *testing.B) {
	job := wire.DecodeJob{
		Request: wire.Request{ID: "req-0123456789abcdef", Frontend: "frontend-abcdefgh", Stream: 12345, Attempt: 1, Model: "m", Path: "/v1/chat/completions", Streaming: true, Admitted: time.Now()},
		Handle:  &kvtransfer.Handle{Worker: "prefill-abcdefgh", Engine: "http://127.0.0.1:1234", Serial: 17, Issued: time.Now(), Expires: time.Now()},
	}
	m, err := job.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.DecodeDecodeJob(m); err != nil {
			b.Fatal(err)
		}
	}
}
