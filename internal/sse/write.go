package sse

import "bytes"

// Append adds the block of one event: its name, if it has one, a data line for each line of data,
// and the blank line that ends it. Reader reads the same event from it.
func Append(dst, name, data []byte) []byte {
	if len(name) > 0 {
		dst = append(append(append(dst, "event: "...), name...), '\n')
	}
	for line := range bytes.SplitSeq(data, []byte("\n")) {
		dst = append(append(append(dst, "data: "...), line...), '\n')
	}
	return append(dst, '\n')
}
