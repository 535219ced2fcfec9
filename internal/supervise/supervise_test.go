package supervise

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBackoffDoublesToItsBoundAndStartsAnew(t *testing.T) {
	b := backoff{first: time.Second, most: 6 * time.Second}
	bounded := func(want time.Duration) {
		t.Helper()
		if got := b.pause(); got > want || got < want/2 {
			t.Errorf("pause %v, want between %v and %v", got, want/2, want)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 6, 6} {
		bounded(want * time.Second)
	}
	b.reset()
	bounded(time.Second)
}

func TestBackoffIsNotTheSameForAll(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 20 {
		b := backoff{first: time.Second, most: time.Minute}
		seen[b.pause()] = true
	}
	if len(seen) < 2 {
		t.Error("twenty engines that ended together start together")
	}
}

func TestLines(t *testing.T) {
	var got []string
	l := &lines{each: func(line string) { got = append(got, line) }}
	for _, part := range []string{"one\ntw", "o\r\n\n   \n 10%\r 20%", "\rbad \xff\n", strings.Repeat("x", 3*mostLine), "y\nend"} {
		if n, err := l.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("Write = %d, %v", n, err)
		}
	}
	l.flush()
	if diff := cmp.Diff([]string{"one", "two", " 10%", " 20%", "bad ?", strings.Repeat("x", mostLine), "end"}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestLogFileIsPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logs", "engine.log")
	l, err := openLog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { l.close() }()
	l.size = mostLog - 1
	for _, line := range []string{"old", "new"} {
		if err := l.line(line); err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{path: "new\n", path + ".1": "old\n"} {
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s has %q, %v; want %q", file, got, err, want)
		}
	}
}

func TestConfigNamesItsFaults(t *testing.T) {
	c := Config{RestartDelay: time.Second, RestartDelayMax: time.Millisecond, StopTimeout: -1}
	err := c.Validate()
	for _, want := range []string{"supervise.start_timeout", "supervise.restart_delay_max", "supervise.stop_timeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate = %v, want %s in it", err, want)
		}
	}
	if err := DefaultConfig().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
}
