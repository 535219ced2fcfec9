//go:build !unix

package engine

// nothingToRead cannot tell here; the call on a closed connection does.
func nothingToRead(uintptr, []byte) bool { return true }

// canReceive: receive does not work here; the connection reads.
const canReceive = false

func receive(uintptr, []byte) (int, error) { return 0, errNothing }
