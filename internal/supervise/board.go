package supervise

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Board shows people how far the programs are: as a block that is drawn over and over on a terminal, else
// as a line for each new phase, and for what takes long. Its methods are safe for concurrent use.
type Board struct {
	w        io.Writer
	terminal bool

	mu       sync.Mutex
	programs []shown // in the order in which they were first heard of
	drawn    int     // lines of the block that stand on the terminal
	done     bool
}

type shown struct {
	Status

	said time.Time // plain: of its latest line
}

const (
	drawEvery = 500 * time.Millisecond
	sayEvery  = 30 * time.Second // plain: between two lines of a program that is still at the same
)

// NewBoard returns a board that writes to w.
func NewBoard(w io.Writer, terminal bool) *Board { return &Board{w: w, terminal: terminal} }

// Set takes a program's new status.
func (b *Board) Set(s Status) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.programs, func(p shown) bool { return p.Name == s.Name })
	if i < 0 {
		i = len(b.programs)
		b.programs = append(b.programs, shown{})
	}
	before := b.programs[i].Status
	b.programs[i].Status = s
	switch {
	case s.State == Stopped:
	case b.terminal && !b.done:
		b.draw(s.At)
	case before.State != s.State || before.Phase != s.Phase:
		b.say(&b.programs[i], s.At)
	}
}

// Run keeps the elapsed times up to date until ctx ends.
func (b *Board) Run(ctx context.Context) error {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			b.tick(now)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *Board) tick(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.terminal && !b.done {
		b.draw(now)
		return
	}
	for i := range b.programs {
		if p := &b.programs[i]; p.State == Starting && now.Sub(p.said) >= sayEvery {
			b.say(p, now)
		}
	}
}

// Done ends the block on a terminal: what changes from now on is a line.
func (b *Board) Done() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done = true
	b.drawn = 0
}

// Over returns a writer for what else goes to the same terminal, such as a log: it stands above the block.
func (b *Board) Over(w io.Writer) io.Writer {
	if !b.terminal {
		return w
	}
	return over{b: b, w: w}
}

type over struct {
	b *Board
	w io.Writer
}

func (o over) Write(p []byte) (int, error) {
	o.b.mu.Lock()
	defer o.b.mu.Unlock()
	if o.b.drawn > 0 {
		_, _ = fmt.Fprintf(o.b.w, "\x1b[%dA\x1b[J", o.b.drawn)
		o.b.drawn = 0
		defer o.b.draw(time.Now())
	}
	return o.w.Write(p)
}

// draw needs the lock.
func (b *Board) draw(now time.Time) {
	var block strings.Builder
	if b.drawn > 0 {
		fmt.Fprintf(&block, "\x1b[%dA", b.drawn)
	}
	for i := range b.programs {
		fmt.Fprintf(&block, "%s\x1b[K\n", line(&b.programs[i].Status, now, true))
	}
	b.drawn = len(b.programs)
	_, _ = io.WriteString(b.w, block.String())
}

// say needs the lock.
func (b *Board) say(p *shown, now time.Time) {
	p.said = now
	_, _ = fmt.Fprintln(b.w, line(&p.Status, now, false))
}

// mostColumns keeps a line of the block on one line of any terminal: a second one would not be drawn over.
const mostColumns = 79

// line is one program on one line.
func line(s *Status, now time.Time, terminal bool) string {
	what := string(s.State)
	switch {
	case s.State == Down && s.Pause > 0:
		what = fmt.Sprintf("ended, starts again in %s: %s", s.Pause.Round(100*time.Millisecond), brief(s.Err))
	case s.State == Down:
		what = "failed"
	case s.State == Starting && s.Phase != "":
		what = s.Phase
		if terminal && s.Detail != "" {
			what += " " + s.Detail
		}
	}
	if s.State != Starting {
		now = s.At // of the change: how long the start took
	}
	text := []rune(fmt.Sprintf("  %-12s %7s  %s", s.Name, now.Sub(s.Begun).Round(time.Second), what))
	if terminal {
		text = text[:min(len(text), mostColumns)]
	}
	return string(text)
}
