package config

import (
	"cmp"
	"fmt"
)

// AtLeast is how a package's Validate refuses a setting that is too small; name is the whole YAML
// name, such as prefill.max_handles.
func AtLeast[T cmp.Ordered](name string, value, least T) error {
	if value < least {
		return fmt.Errorf("%s is %v, want %v or more", name, value, least)
	}
	return nil
}
