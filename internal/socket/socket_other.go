//go:build !unix

package socket

import "errors"

// Works: neither Read nor Write does here.
const Works = false

// Read is not to be called.
func Read(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }

// Write is not to be called.
func Write(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
