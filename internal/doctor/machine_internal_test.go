package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The tightest group counts, in both versions of control groups.
func TestMemoryLimit(t *testing.T) {
	for name, c := range map[string]struct {
		self  string
		files map[string]string
		want  int64
		where string
	}{
		"of this group":  {"0::/a/b\n", map[string]string{"a/memory.max": "max\n", "a/b/memory.max": "1048576\n"}, 1 << 20, "control group /a/b"},
		"of one above":   {"0::/a/b\n", map[string]string{"a/memory.max": "4096\n", "a/b/memory.max": "1048576\n"}, 4096, "control group /a"},
		"of a container": {"0::/\n", map[string]string{"memory.max": "8192"}, 8192, "control group /"},
		"version 1":      {"5:cpu:/x\n4:memory:/c\n", map[string]string{"memory/c/memory.limit_in_bytes": "123456\n", "x/memory.max": "1"}, 123456, "control group /c"},
	} {
		root := t.TempDir()
		self := filepath.Join(root, "self")
		for file, text := range map[string]string{self: c.self} {
			write(t, file, text)
		}
		for file, text := range c.files {
			write(t, filepath.Join(root, file), text)
		}
		if got, where := memoryLimit(root, self); got != c.want || where != c.where {
			t.Errorf("%s: %d by %s, want %d by %s", name, got, where, c.want, c.where)
		}
	}
	if got, where := memoryLimit(t.TempDir(), "/none"); memTotal() > 0 && (got != memTotal() || !strings.Contains(where, "machine")) {
		t.Errorf("without groups: %d by %s", got, where)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What a machine lacks for the settings is said.
func TestMachineTooSmall(t *testing.T) {
	var r Report
	machine(&r, &Subject{Connections: 1 << 40, Memory: 1 << 60})
	if n := r.Count(Warning); n != 2 {
		t.Errorf("%d warnings, want 2: %+v", n, r.Findings())
	}
}
