//go:build !unix

package engine

// nothingToRead cannot tell here; the call on a closed connection does.
func nothingToRead(uintptr, []byte) bool { return true }
