package sse

import "bytes"

var newline = []byte("\n")

// Append adds the block of one event: its name, if it has one, a data line for each line of data,
// and the blank line that ends it. Reader reads the same event from it.
func Append(dst, name, data []byte) []byte {
	if len(name) > 0 {
		dst = append(append(append(dst, "event: "...), name...), '\n')
	}
	for {
		line, rest, more := bytes.Cut(data, newline)
		dst = append(append(append(dst, "data: "...), line...), '\n')
		if !more {
			return append(dst, '\n')
		}
		data = rest
	}
}
