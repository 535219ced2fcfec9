package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/baton-llm/baton/kvtransfer"
)

// Headers of a job message. The payload is a version, the job without its bytes as a list of fields, and then the bytes
// (body, connector parameters) untouched.
const (
	MsgIDHeader       = "Nats-Msg-Id" // JetStream drops a second message with the same value
	TraceparentHeader = "traceparent" // W3C trace context
	AckHeader         = "Baton-Ack"   // of a forwarded job: where JetStream takes acknowledgements; servers refuse that as a reply subject
)

// Request is what both jobs say of the request they carry.
type Request struct {
	ID        string // unique; the engine's request id is made from it
	Frontend  string // process that holds the client's connection
	Stream    uint64 // the frontend's own number for this request
	Attempt   uint32 // the router's try, from 1; a larger one fences a smaller one
	Model     string // as the client named it
	Path      string // HTTP path at the engine, such as /v1/chat/completions
	Streaming bool   // the client asked for SSE
	Usage     bool   // the client asked for the token counts of its stream
	Counts    bool   // the frontend wants the counts in each event, and takes out what the client did not ask for
	Class     Class
	Tenant    string
	Digest    string // BodyDigest of the client's body; the handle is bound to it
	BodySize  int    // bytes
	BodyRef   string // object in BodyBucket that holds the body, if it is too large for a message

	PromptTokens int // estimate until an engine has counted
	MaxTokens    int // most tokens the answer may have; 0: not said
	Admitted     time.Time
	Deadline     time.Time // zero: none
	Avoid        []string  // workers that failed an earlier try, the last one last
	Traceparent  string    // of the span that published the job
}

// at returns the request with each instant in it changed by by.
func (r Request) at(by func(time.Time) time.Time) Request {
	r.Admitted, r.Deadline = by(r.Admitted), by(r.Deadline)
	return r
}

// PrefillJob is a request in the queue of all that has not begun. A dispatcher assigns it to a
// worker, which computes the prompt's KV cache and, unless the job is split, the answer.
type PrefillJob struct {
	Request

	Whole      bool        // must not be split
	Prefix     []uint64    // hash chain over the prompt's text in blocks of PrefixBlock bytes
	Assignment *Assignment // nil in the queue
	Body       []byte      // nil: in BodyBucket if BodyRef is set, else ask BodySubject(Frontend)
}

// PrefixBlock is the length in bytes of the blocks of a prompt's text that PrefillJob.Prefix hashes.
const PrefixBlock = 1 << 10

// DecodeJob asks a decode worker to produce the answer: from a handle, or, if Whole, by doing the
// prefill as well (what does not split runs on one engine).
type DecodeJob struct {
	Request

	Worker     string // that is to decode; it alone gets the job
	Whole      bool   // never in the queue: such a job comes from a dispatcher
	Assignment *Assignment
	Handle     *kvtransfer.Handle // nil exactly if Whole
	Body       []byte             // nil: in BodyBucket if BodyRef is set, else ask BodySubject(Frontend)
}

// At returns a job like j with each instant in it changed by by, as from one clock to another.
func (j PrefillJob) At(by func(time.Time) time.Time) PrefillJob {
	j.Request = j.at(by)
	return j
}

// At returns a job like j with each instant in it changed by by. Its handle is another.
func (j DecodeJob) At(by func(time.Time) time.Time) DecodeJob {
	j.Request = j.at(by)
	if j.Handle != nil {
		h := *j.Handle
		h.Issued, h.Expires = by(h.Issued), by(h.Expires)
		j.Handle = &h
	}
	return j
}

// BodyRequest asks a frontend for the body of one of its requests; the answer's payload is the
// body, or the header ErrorHeader says why there is none (the request is over).
type BodyRequest struct {
	Stream uint64 `json:"stream"`
}

// ErrorHeader of a reply to a BodyRequest says why it has no body.
const ErrorHeader = "Baton-Error"

// BodyDigest identifies a body: hexadecimal SHA-256.
func BodyDigest(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// IsBody tells whether digest is body's.
func IsBody(body []byte, digest string) bool {
	sum := sha256.Sum256(body)
	var text [2 * sha256.Size]byte
	hex.Encode(text[:], sum[:])
	return string(text[:]) == digest
}

// MsgID is the deduplication id of a request's message in one queue: the same try published twice
// is one job.
func (r *Request) MsgID() string {
	var room [96]byte
	return string(r.appendMsgID(room[:0]))
}

func (r *Request) appendMsgID(dst []byte) []byte {
	dst = append(append(dst, r.Frontend...), '.')
	dst = append(strconv.AppendUint(dst, r.Stream, 10), '.')
	return strconv.AppendUint(dst, uint64(r.Attempt), 10)
}

// MsgID is the deduplication id of a decode job. It names the handle, too: a prompt that was
// prefilled twice made two handles, and each needs its own decode leg to be released.
func (j *DecodeJob) MsgID() string {
	if j.Handle == nil {
		return j.Request.MsgID()
	}
	var room [160]byte
	dst := append(append(append(j.appendMsgID(room[:0]), '.'), j.Handle.Worker...), '.')
	return string(strconv.AppendUint(dst, j.Handle.Serial, 10))
}

// Message is a job as a NATS message without its subject.
type Message struct {
	Header map[string][]string
	Data   []byte
}

// Encode turns the job into a message.
func (j *PrefillJob) Encode() (Message, error) {
	var room [1 << 10]byte
	return encode(&j.Request, j.MsgID(), j.append(room[:0]), nil, j.Body)
}

// Encode turns the job into a message.
func (j *DecodeJob) Encode() (Message, error) {
	if j.Whole != (j.Handle == nil) {
		return Message{}, errors.New("encode decode job: want a handle or a whole request, not both or neither")
	}
	var params []byte
	if j.Handle != nil {
		params = j.Handle.Params
	}
	var room [1 << 10]byte
	return encode(&j.Request, j.MsgID(), j.append(room[:0]), params, j.Body)
}

func encode(r *Request, msgID string, meta, params, body []byte) (Message, error) {
	if int(r.Class) >= len(classNames) {
		return Message{}, fmt.Errorf("encode job of request %s: class %d is unknown", r.ID, uint8(r.Class))
	}
	data := make([]byte, 0, 1+2*binary.MaxVarintLen64+len(meta)+len(params)+len(body))
	data = append(data, Version)
	for _, part := range [][]byte{meta, params} {
		data = append(binary.AppendUvarint(data, uint64(len(part))), part...)
	}
	data = append(data, body...)
	header := map[string][]string{MsgIDHeader: {msgID}}
	if r.Traceparent != "" {
		header[TraceparentHeader] = []string{r.Traceparent}
	}
	return Message{Header: header, Data: data}, nil
}

// DecodePrefillJob is the inverse of PrefillJob.Encode. Body shares memory with m.Data.
func DecodePrefillJob(m Message) (j PrefillJob, err error) {
	meta, _, body, err := open(m)
	if err == nil {
		err = j.read(&meta)
	}
	if err != nil {
		return PrefillJob{}, fmt.Errorf("decode prefill job: %w", err)
	}
	if j.BodyRef == "" {
		j.Body = body
	}
	return j, nil
}

// DecodeDecodeJob is the inverse of DecodeJob.Encode. Body and the handle's Params share memory
// with m.Data.
func DecodeDecodeJob(m Message) (j DecodeJob, err error) {
	meta, params, body, err := open(m)
	if err == nil {
		err = j.read(&meta)
	}
	if err == nil && j.Whole != (j.Handle == nil) {
		err = errors.New("want a handle or a whole request, not both or neither")
	}
	if err != nil {
		return DecodeJob{}, fmt.Errorf("decode decode job: %w", err)
	}
	if j.Handle != nil {
		j.Handle.Params = params
	}
	if len(body) > 0 {
		j.Body = body
	}
	return j, nil
}

// open takes a message's payload apart.
func open(m Message) (meta fields, params, body []byte, err error) {
	r := reader{rest: m.Data}
	if v := r.byte(); r.err == nil && v != Version {
		return fields{}, nil, nil, fmt.Errorf("%w %d, want %d", ErrVersion, v, Version)
	}
	job, params := r.bytes(), r.bytes()
	return readFields(job), params, r.rest, r.err
}
