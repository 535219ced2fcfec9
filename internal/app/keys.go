package app

import (
	"fmt"
	"io"
	"strings"

	"github.com/baton-llm/baton/api/auth"
)

// NewKey makes an API key and prints it on a line of its own, followed by its entry for the keys
// file; or adds the entry to a file, if there is one, and prints the key alone.
func NewKey(out io.Writer, name, class, file string) error {
	key := auth.Generate()
	entry, err := auth.Entry(name, class, auth.DigestOf(key))
	if err != nil {
		return fmt.Errorf("make a key: %w", err)
	}
	if file == "" {
		_, err = fmt.Fprintf(out, "%s\n\n%s", key, entry)
		return err
	}
	if err := auth.Append(file, entry); err != nil {
		return fmt.Errorf("add the key's entry to %s: %w", file, err)
	}
	_, err = fmt.Fprintln(out, key)
	return err
}

// HashKey prints the hash of the key that in holds.
func HashKey(in io.Reader, out io.Writer) error {
	const most = 4 << 10 // more than any key has
	text, err := io.ReadAll(io.LimitReader(in, most))
	if err != nil {
		return fmt.Errorf("read the key: %w", err)
	}
	key := strings.TrimSpace(string(text))
	if err := auth.CheckKey(key); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, auth.DigestOf(key))
	return err
}
