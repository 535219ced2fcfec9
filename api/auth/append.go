package auth

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Entry is a new key as the keys file states it. class may be empty.
func Entry(name, class string, digest Digest) (string, error) {
	e := entry{Name: name, Hash: digest.String(), Class: class}
	if _, err := e.key(); err != nil {
		return "", err
	}
	text := fmt.Sprintf("- name: %q\n  hash: %s\n", name, digest) // quoted: 123 is a name, too
	if class != "" {
		text += fmt.Sprintf("  class: %s\n", class)
	}
	return text, nil
}

// Append adds an entry to the end of a keys file, which it makes if there is none. It writes only
// what then reads well, and leaves the rest of the file as it is.
func Append(file, entry string) error {
	old, err := readFile(file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	more := "keys:\n" + indent(entry, 2)
	if len(bytes.TrimSpace(old)) > 0 {
		depth, err := depthOfKeys(old)
		if err != nil {
			return fmt.Errorf("keys file %s: %w", file, err)
		}
		more = indent(entry, depth)
	}
	if len(old) > 0 && old[len(old)-1] != '\n' {
		more = "\n" + more
	}
	if _, _, err := parse(append(old, more...)); err != nil {
		return fmt.Errorf("keys file %s with the new entry at its end: %w", file, err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(more) // in one write; a frontend that yet reads half of it reads it again
	return errors.Join(err, f.Close())
}

func indent(entry string, depth int) string {
	var out strings.Builder
	for line := range strings.Lines(entry) {
		out.WriteString(strings.Repeat(" ", depth) + line)
	}
	return out.String()
}

// depthOfKeys is how far the elements of the list keys are indented.
func depthOfKeys(text []byte) (int, error) {
	if _, _, err := parse(text); err != nil {
		return 0, err
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return 0, err
	}
	for _, doc := range file.Docs {
		mapping, ok := doc.Body.(ast.MapNode)
		if !ok {
			continue
		}
		for entries := mapping.MapRange(); entries.Next(); {
			if list, ok := entries.Value().(*ast.SequenceNode); ok && !list.IsFlowStyle && list.Start != nil {
				return list.Start.Position.Column - 1, nil
			}
		}
	}
	return 0, errors.New("keys is not a list with one entry below the other")
}
