package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/baton-llm/baton/kvtransfer"
)

// Headers of a job message. JobHeader holds the job without its bytes, as one line of JSON; the
// payload holds the bytes (body, connector parameters) untouched.
const (
	JobHeader         = "Baton-Job"
	MsgIDHeader       = "Nats-Msg-Id" // JetStream drops a second message with the same value
	TraceparentHeader = "traceparent" // W3C trace context
	AckHeader         = "Baton-Ack"   // of a forwarded job: where JetStream takes acknowledgements; servers refuse that as a reply subject
)

// Request is what both jobs say of the request they carry.
type Request struct {
	ID        string `json:"id"`                // unique; the engine's request id is made from it
	Frontend  string `json:"frontend"`          // process that holds the client's connection
	Stream    uint64 `json:"stream"`            // the frontend's own number for this request
	Attempt   uint32 `json:"attempt"`           // the router's try, from 1; a larger one fences a smaller one
	Model     string `json:"model"`             // as the client named it
	Path      string `json:"path"`              // HTTP path at the engine, such as /v1/chat/completions
	Streaming bool   `json:"streaming"`         // the client asked for SSE
	Usage     bool   `json:"usage,omitzero"`    // the client asked for the token counts of its stream
	Counts    bool   `json:"counts,omitzero"`   // the frontend wants the counts in each event, and takes out what the client did not ask for
	Class     Class  `json:"class"`             //
	Tenant    string `json:"tenant,omitempty"`  //
	Digest    string `json:"digest"`            // BodyDigest of the client's body; the handle is bound to it
	BodySize  int    `json:"body_size"`         // bytes
	BodyRef   string `json:"body_ref,omitzero"` // object in BodyBucket that holds the body, if it is too large for a message

	PromptTokens int       `json:"prompt_tokens"`        // estimate until an engine has counted
	MaxTokens    int       `json:"max_tokens"`           // most tokens the answer may have; 0: not said
	Admitted     time.Time `json:"admitted"`             //
	Deadline     time.Time `json:"deadline,omitzero"`    // zero: none
	Avoid        []string  `json:"avoid,omitempty"`      // workers that failed an earlier try, the last one last
	Traceparent  string    `json:"traceparent,omitzero"` // of the span that published the job
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

	Whole      bool        `json:"whole,omitzero"`      // must not be split
	Prefix     []uint64    `json:"prefix,omitempty"`    // hash chain over the prompt's text in blocks of PrefixBlock bytes
	Assignment *Assignment `json:"assignment,omitzero"` // nil in the queue
	Body       []byte      `json:"-"`                   // nil: in BodyBucket if BodyRef is set, else ask BodySubject(Frontend)
}

// PrefixBlock is the length in bytes of the blocks of a prompt's text that PrefillJob.Prefix hashes.
const PrefixBlock = 1 << 10

// DecodeJob asks a decode worker to produce the answer: from a handle, or, if Whole, by doing the
// prefill as well (what does not split runs on one engine).
type DecodeJob struct {
	Request

	Worker     string             `json:"worker,omitzero"` // that is to decode; it alone gets the job
	Whole      bool               `json:"whole,omitzero"`  // never in the queue: such a job comes from a dispatcher
	Assignment *Assignment        `json:"assignment,omitzero"`
	Handle     *kvtransfer.Handle `json:"handle,omitempty"` // nil exactly if Whole
	Body       []byte             `json:"-"`                // nil: in BodyBucket if BodyRef is set, else ask BodySubject(Frontend)
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

// MsgID is the deduplication id of a request's message in one queue: the same try published twice
// is one job.
func (r *Request) MsgID() string {
	return fmt.Sprintf("%s.%d.%d", r.Frontend, r.Stream, r.Attempt)
}

// MsgID is the deduplication id of a decode job. It names the handle, too: a prompt that was
// prefilled twice made two handles, and each needs its own decode leg to be released.
func (j *DecodeJob) MsgID() string {
	if j.Handle == nil {
		return j.Request.MsgID()
	}
	return fmt.Sprintf("%s.%s.%d", j.Request.MsgID(), j.Handle.Worker, j.Handle.Serial)
}

// Message is a job as a NATS message without its subject.
type Message struct {
	Header map[string][]string
	Data   []byte
}

// Encode turns the job into a message. Data shares memory with Body.
func (j *PrefillJob) Encode() (Message, error) { return encode(j, &j.Request, j.MsgID(), j.Body) }

// Encode turns the job into a message.
func (j *DecodeJob) Encode() (Message, error) {
	if j.Whole != (j.Handle == nil) {
		return Message{}, errors.New("encode decode job: want a handle or a whole request, not both or neither")
	}
	var params []byte
	if j.Handle != nil {
		params = j.Handle.Params
	}
	data := binary.AppendUvarint(make([]byte, 0, binary.MaxVarintLen64+len(params)+len(j.Body)), uint64(len(params)))
	data = append(data, params...)
	data = append(data, j.Body...)
	return encode(j, &j.Request, j.MsgID(), data)
}

func encode(job any, r *Request, msgID string, data []byte) (Message, error) {
	meta, err := json.Marshal(job)
	if err != nil {
		return Message{}, fmt.Errorf("encode job of request %s: %w", r.ID, err)
	}
	header := map[string][]string{JobHeader: {string(meta)}, MsgIDHeader: {msgID}}
	if r.Traceparent != "" {
		header[TraceparentHeader] = []string{r.Traceparent}
	}
	return Message{Header: header, Data: data}, nil
}

// DecodePrefillJob is the inverse of PrefillJob.Encode. Body shares memory with m.Data.
func DecodePrefillJob(m Message) (PrefillJob, error) {
	var j PrefillJob
	if err := decodeMeta(m, &j); err != nil {
		return PrefillJob{}, fmt.Errorf("decode prefill job: %w", err)
	}
	if j.BodyRef == "" {
		j.Body = m.Data
	}
	return j, nil
}

// DecodeDecodeJob is the inverse of DecodeJob.Encode. Body and the handle's Params share memory
// with m.Data.
func DecodeDecodeJob(m Message) (DecodeJob, error) {
	var j DecodeJob
	if err := decodeMeta(m, &j); err != nil {
		return DecodeJob{}, fmt.Errorf("decode decode job: %w", err)
	}
	if j.Whole != (j.Handle == nil) {
		return DecodeJob{}, errors.New("decode decode job: want a handle or a whole request, not both or neither")
	}
	n, used := binary.Uvarint(m.Data)
	if used <= 0 || n > uint64(len(m.Data)-used) {
		return DecodeJob{}, errors.New("decode decode job: payload is cut short")
	}
	params, body := m.Data[used:used+int(n)], m.Data[used+int(n):]
	if j.Handle != nil {
		j.Handle.Params = params
	}
	if len(body) > 0 {
		j.Body = body
	}
	return j, nil
}

func decodeMeta(m Message, job any) error {
	values := m.Header[JobHeader]
	if len(values) != 1 {
		return fmt.Errorf("message has %d %s headers, want 1", len(values), JobHeader)
	}
	return ReadJSON([]byte(values[0]), job)
}
