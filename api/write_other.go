//go:build !unix

package api

import "errors"

const writesAtOnce = false

func writeAtOnce(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
