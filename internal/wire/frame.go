package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Version of the binary formats of batches and jobs. A process drops what is of another version and says so.
const Version = 2

// Kind says what a frame's payload is.
type Kind uint8

// Frame kinds. A run is Prefilling, then Handed or Fail; or Decoding, then any number of Data,
// then End or Fail.
const (
	Prefilling Kind = iota + 1 // a worker prefills for another; payload: Assignment
	Handed                     // the handle is in the decode queue; payload: HandedInfo
	Decoding                   // a worker makes the answer, from a handle or wholly; payload: Assignment, which says which
	Data                       // payload: blocks of SSE events, as the client gets them, or a piece of a unary answer
	End                        // the answer is complete; payload: EndInfo
	Fail                       // the run failed; payload: JSON Failure
	Unknown                    // the worker has no such run any more; the answer to an Ask, and no part of the run: Stream, Attempt and Seq are 0
)

var kindNames = [...]string{"invalid", "prefilling", "handed", "decoding", "data", "end", "fail", "unknown"}

// String names the kind for logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Final tells whether no frame of the run follows.
func (k Kind) Final() bool { return k == Handed || k == End || k == Fail }

// Frame is one step of one run. A run is one execution of one job by one worker; its number is
// unique within that worker, so a job that is delivered twice makes two runs, and the frontend
// adopts one of them and cancels the other.
type Frame struct {
	Run     uint64
	Stream  uint64 // the frontend's number for the request
	Attempt uint32 // the router's try that this run belongs to
	Seq     uint32 // from 0 within the run, no gaps
	Kind    Kind
	Payload []byte
}

// ErrVersion is returned for what another version of baton wrote.
var ErrVersion = errors.New("unknown version")

var errShort = errors.New("message is cut short")

// AppendFrameHeader starts a batch of frames that worker sends.
func AppendFrameHeader(dst []byte, worker string) []byte {
	dst = append(dst, Version)
	dst = binary.AppendUvarint(dst, uint64(len(worker)))
	return append(dst, worker...)
}

// AppendFrame adds one frame to a batch.
func AppendFrame(dst []byte, f *Frame) []byte {
	dst = append(dst, byte(f.Kind))
	dst = binary.AppendUvarint(dst, f.Run)
	dst = binary.AppendUvarint(dst, f.Stream)
	dst = binary.AppendUvarint(dst, uint64(f.Attempt))
	dst = binary.AppendUvarint(dst, uint64(f.Seq))
	dst = binary.AppendUvarint(dst, uint64(len(f.Payload)))
	return append(dst, f.Payload...)
}

// FrameOverhead is the most bytes that AppendFrame adds to a payload.
const FrameOverhead = 1 + 2*binary.MaxVarintLen64 + 3*binary.MaxVarintLen32

// ReadFrames returns the sender of a batch and calls yield for each frame in order until it
// returns false. Payloads share memory with batch. Frames before a fault are still yielded.
func ReadFrames(batch []byte, yield func(worker string, f Frame) bool) error {
	r, worker, err := openBatch(batch)
	if err != nil {
		return fmt.Errorf("read frames: %w", err)
	}
	for len(r.rest) > 0 {
		f := Frame{Kind: Kind(r.byte())}
		f.Run, f.Stream = r.uvarint(), r.uvarint()
		f.Attempt, f.Seq = r.uint32(), r.uint32()
		f.Payload = r.bytes()
		if r.err == nil && (f.Kind < Prefilling || f.Kind > Unknown) {
			r.err = fmt.Errorf("frame kind %d is unknown", f.Kind)
		}
		if r.err != nil {
			return fmt.Errorf("read frames of worker %s: %w", worker, r.err)
		}
		if !yield(worker, f) {
			return nil
		}
	}
	return nil
}

// reader walks a batch; after the first fault every read returns zero and err stays.
type reader struct {
	rest []byte
	err  error
}

func openBatch(batch []byte) (r reader, sender string, err error) {
	r = reader{rest: batch}
	if v := r.byte(); r.err == nil && v != Version {
		return r, "", fmt.Errorf("%w %d, want %d", ErrVersion, v, Version)
	}
	sender = string(r.bytes())
	return r, sender, r.err
}

func (r *reader) byte() byte {
	if r.err != nil || len(r.rest) == 0 {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) uint32() uint32 {
	v := r.uvarint()
	if v > 1<<32-1 {
		r.fail()
		return 0
	}
	return uint32(v)
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.err != nil || n > uint64(len(r.rest)) {
		r.fail()
		return nil
	}
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) fail() {
	if r.err == nil {
		r.err = errShort
	}
}
