package wire_test

import (
	"encoding/binary"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// instants are those that a list of fields keeps; the zero one among them.
func instants() *rapid.Generator[time.Time] {
	return rapid.OneOf(rapid.Just(time.Time{}), rapid.Custom(func(t *rapid.T) time.Time {
		return time.Unix(rapid.Int64Range(-1<<32, 1<<33).Draw(t, "seconds"), rapid.Int64Range(1, 999_999_999).Draw(t, "nanoseconds")).UTC()
	}))
}

func jobs[J any](t *rapid.T) J {
	return rapid.MakeCustom[J](rapid.MakeConfig{
		Types: map[reflect.Type]*rapid.Generator[any]{
			reflect.TypeFor[time.Time](): instants().AsAny(), reflect.TypeFor[wire.Class](): rapid.SampledFrom([]wire.Class{wire.Interactive, wire.Standard, wire.Batch}).AsAny(),
		},
	}).Draw(t, "job")
}

// Whatever a message has for its values is read as it was written, also where a later version has more fields.
func TestFieldsSurviveTheWire(t *testing.T) {
	same := func(t *rapid.T, want, got any, err error) {
		t.Helper()
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("it is read as another, %v:\n%s", err, d)
		}
	}
	// later is a message of a version that has two more fields.
	later := func(data []byte) []byte {
		data = binary.AppendUvarint(binary.AppendUvarint(slices.Clip(data), 99<<1), 1<<40)
		return append(binary.AppendUvarint(data, 100<<1|1), 2, 'h', 'i')
	}
	rapid.Check(t, func(t *rapid.T) {
		want := jobs[wire.PrefillJob](t)
		if want.BodyRef != "" {
			want.Body = nil
		}
		m, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.DecodePrefillJob(m)
		same(t, want, got, err)
	})
	rapid.Check(t, func(t *rapid.T) {
		want := jobs[wire.DecodeJob](t)
		if want.Whole = want.Handle == nil; !want.Whole {
			want.Handle.Params = append(want.Handle.Params, '{', '}')
		}
		m, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.DecodeDecodeJob(m)
		same(t, want, got, err)
	})
	rapid.Check(t, func(t *rapid.T) {
		report := jobs[wire.Report](t)
		gotReport, err := wire.ReadReport(later(report.Append(nil)))
		same(t, report, gotReport, err)
		assignment := jobs[wire.Assignment](t)
		gotAssignment, err := wire.ReadAssignment(later(assignment.Append(nil)))
		same(t, assignment, gotAssignment, err)
		handed := jobs[wire.HandedInfo](t)
		gotHanded, err := wire.ReadHandedInfo(later(handed.Append(nil)))
		same(t, handed, gotHanded, err)
		end := jobs[wire.EndInfo](t)
		gotEnd, err := wire.ReadEndInfo(later(end.Append(nil)))
		same(t, end, gotEnd, err)
	})
}

func TestWhatIsCutShortIsNoReport(t *testing.T) {
	whole := (&wire.Report{Worker: "w", Seq: 1 << 40, Jobs: []wire.JobReport{{Key: "f.1.1", Stage: wire.StageHanded, Tokens: 5, KV: 6}}}).Append(nil)
	whole = whole[:len(whole):len(whole)]
	for n := range len(whole) {
		if r, err := wire.ReadReport(whole[:n]); err == nil && len(r.Jobs) > 0 {
			t.Errorf("the first %d of %d bytes are read as %+v", n, len(whole), r)
		}
	}
	for _, bad := range []string{"{}", `{"worker":"w"}`, "\xff", "\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"} {
		if r, err := wire.ReadReport([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, r)
		}
	}
}

// A job of another version, or of one that wrote JSON, is dropped and not misread.
func TestJobOfAnotherVersionIsRefused(t *testing.T) {
	for _, data := range []string{"", "{}", `{"model":"m"}`, "\x00", "\x02", "\x02\x05", "\x03\x00\x00"} {
		if j, err := wire.DecodePrefillJob(wire.Message{Data: []byte(data)}); err == nil {
			t.Errorf("%q is read as %+v", data, j)
		}
		if j, err := wire.DecodeDecodeJob(wire.Message{Data: []byte(data)}); err == nil {
			t.Errorf("%q is read as %+v", data, j)
		}
	}
	bad := wire.PrefillJob{Request: request()}
	bad.Class = wire.Batch + 1
	if _, err := bad.Encode(); err == nil {
		t.Error("a job of an unknown class is written")
	}
}

func decodeJob() wire.DecodeJob {
	return wire.DecodeJob{
		Request: wire.Request{ID: "req-0123456789abcdef", Frontend: "frontend-abcdefgh", Stream: 12345, Attempt: 1, Model: "m", Path: "/v1/chat/completions", Streaming: true, Admitted: time.Now()},
		Handle:  &kvtransfer.Handle{Worker: "prefill-abcdefgh", Engine: "http://127.0.0.1:1234", Serial: 17, Issued: time.Now(), Expires: time.Now()},
	}
}

func BenchmarkReadJob(b *testing.B) {
	job := decodeJob()
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

func BenchmarkWriteJob(b *testing.B) {
	job := decodeJob()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := job.Encode(); err != nil {
			b.Fatal(err)
		}
	}
}
