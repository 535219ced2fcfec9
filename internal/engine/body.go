package engine

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// body is what follows an answer's head, without what HTTP puts around it.
type body struct {
	conn   *conn
	length int64   // bytes still to come; less than 0: unknown, until the connection ends
	chunks *chunks // nil: it has none
	end    bool    // all of it has been given
	fault  error   // what follows that is no HTTP
}

func newBody(c *conn, head *http.Response) body {
	b := body{conn: c, length: head.ContentLength, end: head.Body == http.NoBody}
	if len(head.TransferEncoding) > 0 { // net/http knows none but "chunked"
		b.chunks = new(chunks)
	}
	return b
}

// next returns all that the connection has, at least one byte, valid until the next call. io.EOF: there is no more.
func (b *body) next() ([]byte, error) {
	for !b.end {
		if b.conn.in.unread() == 0 {
			if err := b.conn.fill(); err != nil {
				return nil, b.cut(err)
			}
		}
		if part := b.take(b.conn.in.rest()); len(part) > 0 {
			return part, nil
		}
	}
	return nil, cmp.Or(b.fault, io.EOF)
}

// cut is what the failure of a read means here.
func (b *body) cut(err error) error {
	if errors.Is(err, io.EOF) {
		if b.chunks != nil || b.length >= 0 {
			return io.ErrUnexpectedEOF
		}
		b.end = true
	}
	return err
}

func (b *body) take(in []byte) (part []byte) {
	used := len(in)
	switch {
	case b.chunks != nil:
		part, used, b.fault = b.chunks.strip(in)
		b.end = b.chunks.state == chunkNone || b.fault != nil
	case b.length >= 0:
		used = int(min(b.length, int64(used)))
		b.length -= int64(used)
		b.end = b.length == 0
		part = in[:used]
	default:
		part = in
	}
	b.conn.in.skip(used)
	return part
}

// chunks takes the chunked coding off, whose bytes may come in any parts: https://www.rfc-editor.org/rfc/rfc9112#section-7.1.
// net/http's reader of it needs its own buffer for each stream, and gives what one filling of that has.
type chunks struct {
	state chunkState
	left  int64 // bytes of data that the chunk still has
	line  int   // bytes of the line under way that count
	spent int   // bytes of lines since there was data
	cr    bool  // the last byte was a CR
}

type chunkState int

const (
	chunkSize    chunkState = iota // hexadecimal
	chunkBlank                     // blanks after it
	chunkMore                      // extensions after that
	chunkData                      // left bytes
	chunkEnd                       // CRLF after the data
	chunkTrailer                   // lines after the last chunk
	chunkNone                      // all is over
)

const (
	maxSizeDigits = 15 // an int64 has room for them
	// maxChunkLines is how many bytes of lines may come without any data, as many as a head has.
	maxChunkLines = maxHeaderBytes
)

var errChunk = errors.New("the engine's answer has a broken chunk")

// strip returns the data of what came, in the memory of that, and how much it has used: all but what follows the end, or
// what makes no sense.
func (c *chunks) strip(in []byte) (data []byte, used int, err error) {
	data = in[:0]
	for used < len(in) && c.state != chunkNone {
		if c.state == chunkData {
			n := int(min(c.left, int64(len(in)-used)))
			data = append(data, in[used:used+n]...)
			used += n
			c.spent = 0
			if c.left -= int64(n); c.left == 0 {
				c.state = chunkEnd
			}
			continue
		}
		if err := c.control(in[used]); err != nil {
			return data, used, err
		}
		used++
	}
	return data, used, nil
}

// control reads one byte of what is not data. Lines end in CRLF.
func (c *chunks) control(b byte) error {
	if c.spent++; c.spent > maxChunkLines {
		return fmt.Errorf("%w: no data in %d bytes", errChunk, maxChunkLines)
	}
	cr := c.cr
	c.cr = b == '\r'
	switch {
	case cr && b == '\n':
		return c.endLine()
	case cr || b == '\n':
		return fmt.Errorf("%w: a line does not end in CRLF", errChunk)
	case c.cr:
		return nil
	}
	switch c.state {
	case chunkSize, chunkBlank:
		return c.size(b)
	case chunkTrailer:
		c.line++
	case chunkEnd:
		return fmt.Errorf("%w: %q after its data", errChunk, b)
	default:
	}
	return nil
}

func (c *chunks) size(b byte) error {
	var digit byte
	switch {
	case c.line > 0 && b == ';':
		c.state = chunkMore
		return nil
	case c.line > 0 && (b == ' ' || b == '\t'):
		c.state = chunkBlank
		return nil
	case c.state == chunkBlank:
		return fmt.Errorf("%w: %q after its size", errChunk, b)
	case '0' <= b && b <= '9':
		digit = b - '0'
	case 'a' <= b && b <= 'f':
		digit = b - 'a' + 10
	case 'A' <= b && b <= 'F':
		digit = b - 'A' + 10
	default:
		return fmt.Errorf("%w: %q in its size", errChunk, b)
	}
	if c.line++; c.line > maxSizeDigits {
		return fmt.Errorf("%w: its size has more than %d digits", errChunk, maxSizeDigits)
	}
	c.left = c.left<<4 | int64(digit)
	return nil
}

func (c *chunks) endLine() error {
	line := c.line
	c.line = 0
	switch c.state {
	case chunkSize, chunkBlank, chunkMore:
		if line == 0 {
			return fmt.Errorf("%w: it has no size", errChunk)
		}
		if c.state = chunkData; c.left == 0 {
			c.state = chunkTrailer
		}
	case chunkTrailer:
		if line == 0 {
			c.state = chunkNone
		}
	default:
		c.state = chunkSize
	}
	return nil
}
