//go:build !unix

package app

import "time"

// processorTime is not known here.
func processorTime() (taken time.Duration, ok bool) { return 0, false }
