package wire

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// What is sent for every request is a list of fields, which is cheap to write and to read. A field is a tag, twice its number
// and one more if its value is bytes, and then the value: a uvarint, or a length and as many bytes. One that is zero is left out,
// and one that the reader does not know is skipped, so that a later version can have more. No number is used again.

// infoRoom is as much as what a frame says needs, but for long names.
const infoRoom = 96

func appendUint(dst []byte, field int, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(field)<<1), v)
}

// appendInt writes small negative numbers as short as small positive ones.
func appendInt[T ~int | ~int64](dst []byte, field int, v T) []byte {
	return appendUint(dst, field, uint64(v)<<1^uint64(int64(v)>>63))
}

func appendFlag(dst []byte, field int, v bool) []byte {
	if !v {
		return dst
	}
	return appendUint(dst, field, 1)
}

// appendTime writes an instant in nanoseconds; years before 1678 and after 2262 have none.
func appendTime(dst []byte, field int, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	return appendInt(dst, field, t.UnixNano())
}

func appendText[T ~string | ~[]byte](dst []byte, field int, v T) []byte {
	if len(v) == 0 {
		return dst
	}
	return appendPart(dst, field, v)
}

// appendPart writes bytes, also if there are none: that the part is there counts.
func appendPart[T ~string | ~[]byte](dst []byte, field int, v T) []byte {
	dst = binary.AppendUvarint(dst, uint64(field)<<1|1)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// fields walks a list of fields.
type fields struct {
	reader

	all    string // what is walked, for texts to share
	field  int    // of the current one, its number
	number uint64 // and value; 0 if it is bytes
	value  []byte // or nil
}

func readFields(data []byte) fields { return fields{reader: reader{rest: data}, all: string(data)} }

// part is what a field has for its value, if that is a list of fields itself.
func (f *fields) part() fields { return fields{reader: reader{rest: f.value}, all: f.text()} }

// next goes to the next field; false at the end, or at a fault.
func (f *fields) next() bool {
	if len(f.rest) == 0 || f.err != nil {
		return false
	}
	tag := f.uvarint()
	if tag>>1 > math.MaxInt32 {
		f.fail()
	}
	f.field, f.number, f.value = int(tag>>1), 0, nil
	if tag&1 == 0 {
		f.number = f.uvarint()
	} else {
		f.value = f.bytes()
	}
	return f.err == nil
}

// text is the current field's bytes, in memory that all texts of the list share.
func (f *fields) text() string {
	end := len(f.all) - len(f.rest)
	return f.all[end-len(f.value) : end]
}

func (f *fields) int64() int64 { return int64(f.number>>1) ^ -int64(f.number&1) }

func (f *fields) int() int { return int(f.int64()) }

func (f *fields) duration() time.Duration { return time.Duration(f.int64()) }

func (f *fields) flag() bool { return f.number != 0 }

func (f *fields) time() time.Time { return time.Unix(0, f.int64()).UTC() }

// fault is what kept the list from being read to its end, or nil.
func (f *fields) fault(what string) error {
	if f.err != nil {
		return fmt.Errorf("read %s: %w", what, f.err)
	}
	return nil
}
