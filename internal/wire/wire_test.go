package wire_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTokenKeepsNamesApartAndLegal(t *testing.T) {
	seen := map[string]string{}
	for _, name := range []string{"", "=", "meta-llama/Meta-Llama-3.1-70B-Instruct", "a.b", "a=2Eb", "a b", "a*", "a>", "ä", "A", "a"} {
		token := wire.Token(name)
		if token == "" || strings.ContainsAny(token, ".*> \t\r\n/\\") {
			t.Errorf("Token(%q) = %q, which is no legal subject token", name, token)
		}
		if other, ok := seen[token]; ok {
			t.Errorf("Token(%q) = Token(%q) = %q", name, other, token)
		}
		seen[token] = name
	}
}

func request() wire.Request {
	return wire.Request{
		ID: "r-1", Frontend: "f1", Stream: 7, Attempt: 2, Model: "m/x", Path: "/v1/completions",
		Streaming: true, Class: wire.Batch, Digest: wire.BodyDigest([]byte("{}")), BodySize: 2,
		PromptTokens: 12, MaxTokens: 3, Admitted: time.Unix(1, 2).UTC(), Traceparent: "00-x",
	}
}

func TestPrefillJobSurvivesTheWire(t *testing.T) {
	want := wire.PrefillJob{Request: request(), Body: []byte("{\"seed\": 9223372036854775807 }\r\n")}
	m, err := want.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := wire.DecodePrefillJob(m)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestDecodeJobKeepsParamsByteForByte(t *testing.T) {
	params := []byte("{ \"remote_block_ids\" : [[1,2]],\"n\":9007199254740993,\"x\":\"<\\u00e9>\"}")
	for name, body := range map[string][]byte{"inline": []byte(`{"a":1}`), "elsewhere": nil} {
		t.Run(name, func(t *testing.T) {
			want := wire.DecodeJob{
				Request: request(), Body: body,
				Handle: &kvtransfer.Handle{Connector: "nixl", Params: params, Serial: 4, Worker: "p1", Digest: "d", Issued: time.Unix(5, 0).UTC(), Expires: time.Unix(35, 0).UTC()},
			}
			m, err := want.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.DecodeDecodeJob(m)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDecodeJobIsEitherWholeOrHasAHandle(t *testing.T) {
	for _, j := range []wire.DecodeJob{{Request: request()}, {Request: request(), Whole: true, Handle: &kvtransfer.Handle{}}} {
		if _, err := j.Encode(); err == nil {
			t.Errorf("Encode of whole=%v handle=%v succeeded", j.Whole, j.Handle)
		}
	}
}

func TestFramesSurviveTheWire(t *testing.T) {
	want := []wire.Frame{
		{Run: 1, Stream: 1 << 40, Attempt: 1, Seq: 0, Kind: wire.Decoding, Payload: []byte{}},
		{Run: 1, Stream: 1 << 40, Attempt: 1, Seq: 1, Kind: wire.Data, Payload: []byte("x")},
		{Run: 1<<64 - 1, Stream: 1<<64 - 1, Attempt: 1<<32 - 1, Seq: 1<<32 - 1, Kind: wire.Fail, Payload: bytes.Repeat([]byte("y"), 300)},
	}
	batch := wire.AppendFrameHeader(nil, "w-1")
	for i := range want {
		before := len(batch)
		batch = wire.AppendFrame(batch, &want[i])
		if over := len(batch) - before - len(want[i].Payload); over > wire.FrameOverhead {
			t.Errorf("frame %d has %d bytes around its payload, promised at most %d", i, over, wire.FrameOverhead)
		}
	}
	var got []wire.Frame
	err := wire.ReadFrames(batch, func(worker string, f wire.Frame) bool {
		if worker != "w-1" {
			t.Errorf("worker = %q", worker)
		}
		got = append(got, f)
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestControlsSurviveTheWire(t *testing.T) {
	want := []wire.Control{{Kind: wire.Ack, Run: 9, Received: 4, Consumed: 2}, {Kind: wire.Cancel, Run: 1}, {Kind: wire.HandleReleased, Run: 1<<64 - 1}}
	batch := wire.AppendControlHeader(nil, "f1")
	for _, c := range want {
		batch = wire.AppendControl(batch, c)
	}
	var got []wire.Control
	if err := wire.ReadControls(batch, func(_ string, c wire.Control) { got = append(got, c) }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestOtherVersionIsRefusedByName(t *testing.T) {
	batch := wire.AppendFrameHeader(nil, "w")
	batch[0] = wire.Version + 1
	if err := wire.ReadFrames(batch, nil); !errors.Is(err, wire.ErrVersion) {
		t.Errorf("ReadFrames = %v, want ErrVersion", err)
	}
	if err := wire.ReadControls(batch, nil); !errors.Is(err, wire.ErrVersion) {
		t.Errorf("ReadControls = %v, want ErrVersion", err)
	}
}

func TestEveryReasonDecidesRetry(t *testing.T) {
	retry := map[wire.Reason]bool{
		wire.EngineDown: true, wire.EngineError: true, wire.EngineTimeout: true, wire.HandleExpired: true, wire.HandleUsed: true, wire.WorkerStopping: true,
		wire.BodyGone: true, wire.JobLost: true,
		wire.EngineRejected: false, wire.NoHandle: false, wire.HandleMismatch: false, wire.DeadlineOver: false, "unknown": false,
	}
	for reason, want := range retry {
		if got := reason.Retryable(); got != want {
			t.Errorf("%s.Retryable() = %v, want %v", reason, got, want)
		}
	}
}

func FuzzReadFrames(f *testing.F) {
	f.Add(wire.AppendFrame(wire.AppendFrameHeader(nil, "w"), &wire.Frame{Run: 1, Kind: wire.Data, Payload: []byte("x")}))
	f.Add([]byte{wire.Version, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, batch []byte) {
		var again []byte
		err := wire.ReadFrames(batch, func(worker string, fr wire.Frame) bool {
			if again == nil {
				again = wire.AppendFrameHeader(nil, worker)
			}
			again = wire.AppendFrame(again, &fr)
			return true
		})
		if err != nil || again == nil {
			return
		}
		frames := func(b []byte) (out []wire.Frame) {
			if err := wire.ReadFrames(b, func(_ string, fr wire.Frame) bool { out = append(out, fr); return true }); err != nil {
				t.Fatalf("what was written cannot be read: %v", err)
			}
			return out
		}
		if d := cmp.Diff(frames(batch), frames(again)); d != "" {
			t.Error(d)
		}
	})
}

func FuzzDecodeJob(f *testing.F) {
	for _, j := range []wire.DecodeJob{{Whole: true}, {Request: request(), Handle: &kvtransfer.Handle{Worker: "p", Params: []byte("{}")}, Assignment: &wire.Assignment{}}} {
		m, err := j.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(m.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		j, err := wire.DecodeDecodeJob(wire.Message{Data: data})
		if err != nil {
			return
		}
		m, err := j.Encode()
		if err != nil {
			t.Fatalf("a job that was read cannot be written: %v", err)
		}
		again, err := wire.DecodeDecodeJob(m)
		if d := cmp.Diff(j, again, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("what was written is read as another, %v:\n%s", err, d)
		}
	})
}
