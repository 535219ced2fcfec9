package operator

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/baton-llm/baton/api/live"
)

const (
	drawEvery  = time.Second
	shownApart = 20 // requests in a frame that no terminal bounds
	leastRows  = 3  // of a list, however low the terminal is
)

// What a terminal is told; any of the last forty years knows these.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	toTop       = "\x1b[H"
	restOfLine  = "\x1b[K"
	restOfPage  = "\x1b[J"
	bold, plain = "\x1b[1m", "\x1b[0m"
)

// Screen is a terminal that Watch draws on.
type Screen struct {
	Out  io.Writer
	Keys io.Reader                  // one byte a key; q, Q and Ctrl-C end. It may stay in a Read when Watch returns
	Size func() (width, height int) // in characters; 0: not bounded
}

// Once writes one frame of all that a line can hold.
func (a *Admin) Once(ctx context.Context, out io.Writer) error {
	s, err := a.State(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, strings.Join(frame(s, 0, 0), "\n"))
	return err
}

// Watch draws again and again until ctx ends or a key says so, which is no error. A frontend that does not answer at first is an error;
// one that stops answering is waited for.
func (a *Admin) Watch(ctx context.Context, screen Screen) error {
	s, err := a.State(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for key := make([]byte, 1); ; {
			if n, err := screen.Keys.Read(key); err != nil || n == 1 && strings.ContainsRune("qQ\x03", rune(key[0])) {
				cancel()
				return
			}
		}
	}()
	fmt.Fprint(screen.Out, enterScreen)
	defer fmt.Fprint(screen.Out, leaveScreen)
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		width, height := screen.Size()
		lines := frame(s, width, height)
		if err != nil {
			lines[0] = fit(fmt.Sprintf("CONNECTION LOST, as of %s: %v", s.Now.Local().Format(time.TimeOnly), err), width)
		}
		if e := draw(screen.Out, lines); e != nil {
			return e
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		next, e := a.State(ctx)
		if err = e; e == nil {
			s = next
		}
	}
}

// draw writes lines over those that are there. A raw terminal needs the carriage returns.
func draw(out io.Writer, lines []string) error {
	var b strings.Builder
	b.WriteString(toTop)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		if heading(line) {
			line = bold + line + plain
		}
		b.WriteString(line + restOfLine)
	}
	b.WriteString(restOfPage)
	_, err := io.WriteString(out, b.String())
	return err
}

// heading tells the lines that name what follows: they have no small letter before their second column.
func heading(line string) bool {
	first, _, _ := strings.Cut(line, " ")
	return first != "" && strings.IndexFunc(first, func(r rune) bool { return !unicode.IsUpper(r) }) < 0
}

// frame is what is shown, in lines of at most width characters and, if height is not 0, at most that many.
func frame(s *live.State, width, height int) []string {
	lines := summary(s)
	workers, requests := workerLines(s.Workers), requestLines(s.Requests.Active)
	if height > 0 {
		// The lists share what is left: the workers get half at most, unless the requests need less.
		left := max(2*leastRows+2, height-len(lines)-2)
		forWorkers := max(leastRows, left/2, left-len(requests))
		workers = clip(workers, forWorkers, "workers")
		requests = clip(requests, max(leastRows, left-len(workers)), "requests")
	} else {
		requests = clip(requests, shownApart, "requests")
	}
	lines = append(lines, "")
	lines = append(append(lines, workers...), "")
	lines = append(lines, requests...)
	if height > 0 {
		lines = lines[:min(len(lines), height)]
	}
	for i := range lines {
		lines[i] = fit(lines[i], width)
	}
	return lines
}

// summary is what is said above the lists.
func summary(s *live.State) []string {
	m, p := &s.LastMinute, &s.Policy
	slo := ""
	if p.SLOTTFTSeconds > 0 {
		slo += " TTFT " + age(p.SLOTTFTSeconds)
	}
	if p.SLOTPOTSeconds > 0 {
		slo += " TPOT " + age(p.SLOTPOTSeconds)
	}
	if slo != "" {
		slo = "  SLO" + slo
	}
	goodput := "-"
	if m.Goodput != nil {
		goodput = fmt.Sprintf("%.0f%%", 100**m.Goodput)
	}
	lines := []string{
		fmt.Sprintf("%s  up %s  %s%s  %s", s.Frontend.ID, age(s.Frontend.UptimeSeconds), p.Mode, slo, s.Now.Local().Format(time.TimeOnly)),
		fmt.Sprintf("last minute    %.1f requests/s  %d failed  %d cancelled  tokens/s %.0f in %.0f out", m.RequestsPerSecond, m.Failed, m.Cancelled,
			m.PromptTokensPerSecond, m.CompletionTokensPerSecond),
		fmt.Sprintf("               goodput %s  TTFT p50 %s p99 %s  TPOT p50 %s p99 %s", goodput,
			known(m.TTFTp50Seconds), known(m.TTFTp99Seconds), known(m.TPOTp50Seconds), known(m.TPOTp99Seconds)),
		queueLine("prefill", &s.Queues.Prefill), queueLine("decode", &s.Queues.Decode),
	}
	if len(s.Missing) > 0 {
		lines = append(lines, "MISSING  "+strings.Join(s.Missing, ", "))
	}
	for i := range s.Departed {
		if d := &s.Departed[i]; d.Why == "silent" && d.AgoSeconds < 120 {
			lines = append(lines, fmt.Sprintf("DIED  %s  %s ago", d.ID, age(d.AgoSeconds)))
		}
	}
	return lines
}

func queueLine(name string, q *live.Backlog) string {
	if q.Error != "" {
		return fmt.Sprintf("%-7s queue  not known: %s", name, q.Error)
	}
	line := fmt.Sprintf("%-7s queue  %d jobs  oldest %s ", name, q.Jobs, age(q.OldestJobSeconds))
	for _, c := range q.Classes {
		line += fmt.Sprintf(" %s %d", c.Class, c.Requests)
	}
	var reasons []string
	for why, n := range q.WaitingFor {
		if n > 0 {
			reasons = append(reasons, fmt.Sprintf("%s %d", why, n))
		}
	}
	if slices.Sort(reasons); len(reasons) > 0 {
		line += "  waiting for " + strings.Join(reasons, ", ")
	}
	return line
}

// known is a percentile; without requests there is none.
func known(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return age(*seconds)
}

func workerLines(workers []live.Worker) []string {
	return lined(func(tab io.Writer) {
		fmt.Fprintln(tab, "WORKER\tROLE\tSTATE\tRUNNING\tPROMPTS\tDECODING\tHANDLES\tKV\tTPOT\tHEARD")
		for i := range workers {
			w := &workers[i]
			state := w.State
			if w.Reason != "" {
				state += ": " + w.Reason
			}
			fmt.Fprintf(tab, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", w.ID, w.Role, state, w.RunningRequests, w.WaitingRequests, w.DecodingRequests, w.Handles,
				percent(w.KVUsedTokens, w.KVCapacityTokens), age(w.TPOTSeconds), age(w.LastHeardSeconds))
		}
	})
}

func requestLines(requests []live.Request) []string {
	if len(requests) == 0 {
		return []string{"REQUESTS", "none in flight"}
	}
	return lined(func(tab io.Writer) {
		fmt.Fprintln(tab, requestHead)
		for i := range requests {
			fmt.Fprintln(tab, requestRow(&requests[i]))
		}
	})
}

// lined is a table in lines.
func lined(rows func(tab io.Writer)) []string {
	var b strings.Builder
	_ = table(&b, rows) // a Builder takes all
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

// clip leaves as many lines as fit; the last one says how many there are besides.
func clip(lines []string, most int, what string) []string {
	if len(lines) <= most {
		return lines
	}
	kept := slices.Clone(lines[:most])
	kept[most-1] = fmt.Sprintf("and %d more %s", len(lines)-most+1, what)
	return kept
}

// fit cuts a line at width, if that is not 0, and takes out what a terminal would obey.
func fit(line string, width int) string {
	runes := []rune(strings.TrimRight(line, " "))
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = '?'
		}
	}
	if width > 0 && len(runes) > width {
		runes = append(runes[:max(0, width-1)], '…')
	}
	return string(runes)
}
