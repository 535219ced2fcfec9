package wire

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/baton-llm/baton/kvtransfer"
)

// The fields of a job: those of its request are the same in both kinds, and those beside it follow.
const (
	fieldWhole = iota + 32
	fieldAssignment
	fieldPrefix
	fieldWorker
	fieldHandle
)

func (r *Request) append(dst []byte) []byte {
	dst = appendText(dst, 1, r.ID)
	dst = appendText(dst, 2, r.Frontend)
	dst = appendUint(dst, 3, r.Stream)
	dst = appendUint(dst, 4, uint64(r.Attempt))
	dst = appendText(dst, 5, r.Model)
	dst = appendText(dst, 6, r.Path)
	dst = appendFlag(dst, 7, r.Streaming)
	dst = appendFlag(dst, 8, r.Usage)
	dst = appendFlag(dst, 9, r.Counts)
	dst = appendUint(dst, 10, uint64(r.Class))
	dst = appendText(dst, 11, r.Tenant)
	dst = appendText(dst, 12, r.Digest)
	dst = appendInt(dst, 13, r.BodySize)
	dst = appendText(dst, 14, r.BodyRef)
	dst = appendInt(dst, 15, r.PromptTokens)
	dst = appendInt(dst, 16, r.MaxTokens)
	dst = appendTime(dst, 17, r.Admitted)
	dst = appendTime(dst, 18, r.Deadline)
	for _, worker := range r.Avoid {
		dst = appendPart(dst, 19, worker)
	}
	return appendText(dst, 20, r.Traceparent)
}

// read takes the current field of f if it is one of a request.
func (r *Request) read(f *fields) {
	switch f.field {
	case 1:
		r.ID = f.text()
	case 2:
		r.Frontend = f.text()
	case 3:
		r.Stream = f.number
	case 4:
		r.Attempt = uint32(min(f.number, math.MaxUint32))
	case 5:
		r.Model = f.text()
	case 6:
		r.Path = f.text()
	case 7:
		r.Streaming = f.flag()
	case 8:
		r.Usage = f.flag()
	case 9:
		r.Counts = f.flag()
	case 10:
		r.Class = Class(min(f.number, uint64(len(classNames))))
	case 11:
		r.Tenant = f.text()
	case 12:
		r.Digest = f.text()
	case 13:
		r.BodySize = f.int()
	case 14:
		r.BodyRef = f.text()
	case 15:
		r.PromptTokens = f.int()
	case 16:
		r.MaxTokens = f.int()
	case 17:
		r.Admitted = f.time()
	case 18:
		r.Deadline = f.time()
	case 19:
		r.Avoid = append(r.Avoid, f.text())
	case 20:
		r.Traceparent = f.text()
	}
}

// known tells what of a request that was read cannot be.
func (r *Request) known(f *fields) error {
	if err := f.fault("job"); err != nil {
		return err
	}
	if int(r.Class) >= len(classNames) {
		return fmt.Errorf("class of request %s is unknown", r.ID)
	}
	return nil
}

func (j *PrefillJob) append(dst []byte) []byte {
	dst = j.Request.append(dst)
	dst = appendFlag(dst, fieldWhole, j.Whole)
	dst = appendAssignment(dst, j.Assignment)
	if len(j.Prefix) == 0 {
		return dst
	}
	hashes := make([]byte, 0, 8*len(j.Prefix))
	for _, h := range j.Prefix {
		hashes = binary.LittleEndian.AppendUint64(hashes, h)
	}
	return appendPart(dst, fieldPrefix, hashes)
}

func (j *PrefillJob) read(f *fields) error {
	for f.next() {
		switch f.field {
		case fieldWhole:
			j.Whole = f.flag()
		case fieldAssignment:
			j.Assignment = f.assignment()
		case fieldPrefix:
			if len(f.value)%8 != 0 {
				f.fail()
			}
			j.Prefix = make([]uint64, len(f.value)/8)
			for i := range j.Prefix {
				j.Prefix[i] = binary.LittleEndian.Uint64(f.value[8*i:])
			}
		default:
			j.Request.read(f)
		}
	}
	return j.known(f)
}

func (j *DecodeJob) append(dst []byte) []byte {
	dst = j.Request.append(dst)
	dst = appendFlag(dst, fieldWhole, j.Whole)
	dst = appendAssignment(dst, j.Assignment)
	dst = appendText(dst, fieldWorker, j.Worker)
	if j.Handle != nil {
		var room [512]byte
		dst = appendPart(dst, fieldHandle, appendHandle(room[:0], j.Handle))
	}
	return dst
}

func (j *DecodeJob) read(f *fields) error {
	for f.next() {
		switch f.field {
		case fieldWhole:
			j.Whole = f.flag()
		case fieldAssignment:
			j.Assignment = f.assignment()
		case fieldWorker:
			j.Worker = f.text()
		case fieldHandle:
			part := f.part()
			j.Handle = readHandle(&part)
			f.err = part.err
		default:
			j.Request.read(f)
		}
	}
	return j.known(f)
}

func appendAssignment(dst []byte, a *Assignment) []byte {
	if a == nil {
		return dst
	}
	var room [256]byte
	return appendPart(dst, fieldAssignment, a.Append(room[:0]))
}

func (f *fields) assignment() *Assignment {
	part := f.part()
	a := readAssignment(&part)
	f.err = part.err
	return &a
}

func appendHandle(dst []byte, h *kvtransfer.Handle) []byte {
	dst = appendText(dst, 1, h.Connector)
	dst = appendUint(dst, 2, h.Serial)
	dst = appendText(dst, 3, h.Worker)
	dst = appendText(dst, 4, h.Engine)
	dst = appendText(dst, 5, h.RequestID)
	dst = appendText(dst, 6, h.Digest)
	dst = appendInt(dst, 7, h.PromptTokens)
	dst = appendInt(dst, 8, h.CachedTokens)
	dst = appendTime(dst, 9, h.Issued)
	return appendTime(dst, 10, h.Expires)
}

func readHandle(f *fields) *kvtransfer.Handle {
	var h kvtransfer.Handle
	for f.next() {
		switch f.field {
		case 1:
			h.Connector = f.text()
		case 2:
			h.Serial = f.number
		case 3:
			h.Worker = f.text()
		case 4:
			h.Engine = f.text()
		case 5:
			h.RequestID = f.text()
		case 6:
			h.Digest = f.text()
		case 7:
			h.PromptTokens = f.int()
		case 8:
			h.CachedTokens = f.int()
		case 9:
			h.Issued = f.time()
		case 10:
			h.Expires = f.time()
		}
	}
	return &h
}
