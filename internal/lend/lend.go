// Package lend has memory for bytes that are made now and are gone soon: most of what a short answer would allocate is
// the growing of what it is put together in. It is safe for concurrent use.
package lend

import "sync"

// large is where memory is left to the collector, bytes: a few large answers would have all of it grow.
const large = 64 << 10

var pool = sync.Pool{New: func() any { return new([]byte) }}

// Get returns an empty buffer, to be appended to.
func Get() *[]byte {
	b := pool.Get().(*[]byte)
	*b = (*b)[:0]
	return b
}

// Put gives a buffer back. Nothing of it is used any more.
func Put(b *[]byte) {
	if cap(*b) <= large {
		pool.Put(b)
	}
}
