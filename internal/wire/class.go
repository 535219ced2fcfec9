package wire

import "fmt"

// Class is the service class of a request; a smaller value is served earlier.
type Class uint8

// The classes, from the one a person waits for to the one nobody does.
const (
	Interactive Class = iota
	Standard
	Batch
)

var classNames = [...]string{"interactive", "standard", "batch"}

// String returns the name that configuration, headers and subjects use.
func (c Class) String() string {
	if int(c) < len(classNames) {
		return classNames[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// ParseClass is the inverse of String.
func ParseClass(name string) (Class, error) {
	for i, n := range classNames {
		if n == name {
			return Class(i), nil
		}
	}
	return 0, fmt.Errorf("class %q is unknown, want interactive, standard or batch", name)
}

// MarshalText writes the name.
func (c Class) MarshalText() ([]byte, error) {
	if int(c) >= len(classNames) {
		return nil, fmt.Errorf("class %d is unknown", uint8(c))
	}
	return []byte(c.String()), nil
}

// UnmarshalText reads the name.
func (c *Class) UnmarshalText(text []byte) (err error) {
	*c, err = ParseClass(string(text))
	return err
}
