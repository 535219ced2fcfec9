package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/bench"
)

// Progress returns a function for bench.Options that shows snapshots on w: as a block that is drawn
// over and over on a terminal, else as one line each.
func Progress(w io.Writer, terminal bool) func(bench.Snapshot) {
	if !terminal {
		return func(s bench.Snapshot) { _, _ = io.WriteString(w, progressLine(&s)) }
	}
	drawn := false
	return func(s bench.Snapshot) {
		block := progressBlock(&s)
		if drawn {
			block = fmt.Sprintf("\x1b[%dA", strings.Count(block, "\n")) + strings.ReplaceAll(block, "\n", "\x1b[K\n")
		}
		drawn = true
		_, _ = io.WriteString(w, block)
	}
}

func progressLine(s *bench.Snapshot) string {
	return fmt.Sprintf("%6.0f s  sent %d of %d  waiting %d  streaming %d  done %d  failed %d  %s events/s  gap p50 %s p99 %s\n",
		s.Elapsed.Seconds(), s.Sent, s.Planned, s.Waiting, s.Streaming, s.Completed, s.Failed, number(recentRate(s)), recent(s, 50), recent(s, 99))
}

func progressBlock(s *bench.Snapshot) string {
	const width = 40
	ended := s.Completed + s.Failed
	filled := width * ended / max(1, s.Planned)
	return fmt.Sprintf("  [%s%s] %d of %d requests, %s\n  waiting %d, streaming %d, failed %d\n  %s token events/s, gap p50 %s p99 %s\n",
		strings.Repeat("█", filled), strings.Repeat("·", width-filled), ended, s.Planned, s.Elapsed.Round(time.Second),
		s.Waiting, s.Streaming, s.Failed, number(recentRate(s)), recent(s, 50), recent(s, 99))
}

// recentRate is the events with tokens per second since the snapshot before; the first event of
// each answer has no gap and is not in it.
func recentRate(s *bench.Snapshot) float64 {
	if s.Since <= 0 {
		return 0
	}
	return float64(len(s.Recent)) / s.Since.Seconds()
}

func recent(s *bench.Snapshot, p float64) string {
	if len(s.Recent) == 0 {
		return "-"
	}
	gaps := bench.Milliseconds(s.Recent)
	slices.Sort(gaps)
	return number(bench.Quantile(gaps, p)) + " ms"
}
