package supervise

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// play shows a start, a failure and a restart of one engine, and the start of another.
func play(b *Board) {
	begun := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return begun.Add(time.Duration(seconds) * time.Second) }
	set := func(seconds int, s Status) {
		s.At = at(seconds)
		if s.Begun.IsZero() {
			s.Begun = begun
		}
		b.Set(s)
	}
	set(0, Status{Name: "prefill-0", State: Starting})
	set(0, Status{Name: "decode-0", State: Starting})
	b.tick(at(20))
	set(25, Status{Name: "prefill-0", State: Starting, Phase: "loading weights", Detail: "10%"})
	set(26, Status{Name: "prefill-0", State: Starting, Phase: "loading weights", Detail: "60%"})
	b.tick(at(40))
	set(62, Status{Name: "prefill-0", State: Ready})
	_, _ = fmt.Fprintln(b.Over(b.w), "a log line")
	set(70, Status{Name: "decode-0", State: Ready})
	b.Done()
	set(100, Status{Name: "decode-0", State: Down, Err: &endError{name: "decode-0", how: errors.New("signal: killed"), said: last{cause: "CoreDead", lines: []string{"x"}}}, Pause: 1500 * time.Millisecond})
	set(102, Status{Name: "decode-0", State: Starting, Begun: at(102)})
	set(110, Status{Name: "decode-0", State: Stopped})
}

func TestPlainLines(t *testing.T) {
	var out bytes.Buffer
	play(NewBoard(&out, false))
	want := `  prefill-0         0s  starting
  decode-0          0s  starting
  prefill-0        25s  loading weights
  decode-0         40s  starting
  prefill-0       1m2s  ready
a log line
  decode-0       1m10s  ready
  decode-0       1m40s  ended, starts again in 1.5s: decode-0: signal: killed: CoreDead
  decode-0          0s  starting
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestBlockOnATerminal(t *testing.T) {
	var out bytes.Buffer
	play(NewBoard(&out, true))
	screen := render(t, out.String())
	want := []string{
		"a log line",
		"  prefill-0       1m2s  ready",
		"  decode-0       1m10s  ready",
		"  decode-0       1m40s  ended, starts again in 1.5s: decode-0: signal: killed: CoreDead",
		"  decode-0          0s  starting",
	}
	if diff := cmp.Diff(want, screen); diff != "" {
		t.Errorf("screen (-want +got):\n%s", diff)
	}
}

// render is what a terminal shows: it knows the three sequences that a board uses.
func render(t *testing.T, text string) (screen []string) {
	t.Helper()
	row, line := 0, ""
	put := func() {
		for len(screen) <= row {
			screen = append(screen, "")
		}
		screen[row] = line
	}
	for text != "" {
		var up int
		switch {
		case strings.HasPrefix(text, "\x1b[K"), strings.HasPrefix(text, "\x1b[J"):
			if text[2] == 'J' {
				screen = screen[:row]
			}
			text = text[3:]
		case strings.HasPrefix(text, "\x1b["):
			if _, err := fmt.Sscanf(text, "\x1b[%dA", &up); err != nil {
				t.Fatalf("sequence %.5q: %v", text, err)
			}
			row -= up
			text = text[strings.IndexByte(text, 'A')+1:]
		case text[0] == '\n':
			put()
			row, line, text = row+1, "", text[1:]
		default:
			line, text = line+text[:1], text[1:]
		}
	}
	return screen
}
