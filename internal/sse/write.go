package sse

import "bytes"

var (
	newline  = []byte("\n")
	lineHead = []byte("data: ")
	nextLine = []byte("\ndata: ")
)

// Append adds the block of one event: its name, if it has one, a data line for each line of data,
// and the blank line that ends it. Reader reads the same event from it.
func Append(dst, name, data []byte) []byte {
	if len(name) > 0 {
		dst = append(append(append(dst, "event: "...), name...), '\n')
	}
	for {
		line, rest, more := bytes.Cut(data, newline)
		dst = append(append(append(dst, lineHead...), line...), '\n')
		if !more {
			return append(dst, '\n')
		}
		data = rest
	}
}

// Cut returns the data of the first of some blocks that Append made of events without names, and the blocks after it.
func Cut(blocks []byte) (data, rest []byte) {
	block, rest, _ := bytes.Cut(blocks, blankLine) // a line of data is never blank
	data = bytes.TrimPrefix(block, lineHead)
	if bytes.Contains(data, newline) {
		data = bytes.ReplaceAll(data, nextLine, newline)
	}
	return data, rest
}

// Count is the number of blocks that Append made.
func Count(blocks []byte) int { return bytes.Count(blocks, blankLine) }
