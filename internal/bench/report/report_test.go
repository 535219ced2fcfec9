package report_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bench"
	"github.com/baton-llm/baton/internal/bench/report"
)

const ms = time.Millisecond

// result is n requests, one per 100 ms, with five tokens each; speed stretches their times.
func result(n int, speed time.Duration) *bench.Result {
	r := &bench.Result{Model: "m<1>", Endpoint: bench.Chat, Duration: time.Duration(n) * 100 * ms * speed, MaxConcurrency: 7, Streams: []bench.Stream{{Name: "all"}}}
	for i := range n {
		at := time.Duration(i) * 100 * ms
		rec := bench.Record{
			InputLen: 100, OutputTokens: 5, Counted: bench.ByUsage, Start: at, TTFT: 200 * ms * speed,
			ITL: []time.Duration{10 * ms * speed, 10 * ms * speed, 10 * ms * speed, 30 * ms * speed}, Latency: 260 * ms * speed, End: at + 260*ms*speed,
		}
		r.Records = append(r.Records, rec)
	}
	r.Records[0] = bench.Record{InputLen: 100, End: 50 * ms, Err: &bench.Failure{Kind: bench.KindOfStatus(503), Message: "no"}}
	return r
}

// texts parses a page, so that a tag that is not closed fails, and returns the text of each element.
func texts(t *testing.T, page string) (all []string, elements map[string]int) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	elements = map[string]int{}
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return all, elements
		}
		if err != nil {
			t.Fatalf("parse the page: %v", err)
		}
		switch tok := tok.(type) {
		case xml.StartElement:
			elements[tok.Name.Local]++
			for _, a := range tok.Attr {
				if name := a.Name.Local; (name == "src" || name == "href") && !strings.HasPrefix(a.Value, "data:") {
					t.Errorf("the page needs %s", a.Value)
				}
			}
		case xml.CharData:
			if text := strings.TrimSpace(string(tok)); text != "" {
				all = append(all, text)
			}
		}
	}
}

func has(t *testing.T, all []string, wanted ...string) {
	t.Helper()
	joined := "\n" + strings.Join(all, "\n") + "\n"
	for _, want := range wanted {
		if !strings.Contains(joined, "\n"+want+"\n") {
			t.Errorf("the page does not say %q", want)
		}
	}
}

func TestOneResultAsHTML(t *testing.T) {
	var page bytes.Buffer
	slo := bench.SLO{TTFT: time.Second, TPOT: 20 * ms}
	if err := report.HTML(&page, "A & B", []report.Named{{Name: "<run>", Result: result(11, 1), Note: "Nothing \"special\"."}}, slo); err != nil {
		t.Fatal(err)
	}
	all, elements := texts(t, page.String())
	has(t, all, "A & B", "<run>", "m<1> · chat/completions · at most 7 in flight", `Nothing "special".`, "1.10", "1 (1 http_503)",
		"9.09 (90.9 %)", "200", "260", "Time to first token", "Requests in flight", "Inter-token latency")
	if elements["svg"] != 7 || elements["script"] != 0 || elements["path"] < 9 {
		t.Errorf("elements: %v, want 7 drawings with 9 lines or more and no script", elements)
	}
	for _, bad := range []string{"NaN", "Inf", "http:", "https:", "ZgotmplZ", "@import", "url("} {
		if strings.Contains(page.String(), bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
}

func TestSeveralResultsAsHTML(t *testing.T) {
	slow := result(21, 3)
	slow.Streams = []bench.Stream{{Name: "chat", Class: "interactive"}, {Name: "rag"}}
	slow.Records[5].Stream = 1
	nothing := &bench.Result{Model: "m", Endpoint: bench.Chat, Streams: slow.Streams[:1]}
	var page bytes.Buffer
	err := report.HTML(&page, "Three", []report.Named{{Name: "fast", Result: result(11, 1)}, {Name: "slow", Result: slow}, {Name: "none", Result: nothing}}, bench.SLO{})
	if err != nil {
		t.Fatal(err)
	}
	all, elements := texts(t, page.String())
	has(t, all, "Total time against tail latency", "chat (interactive)", "6.30 s", "45 ms", "15 ms", "P99 time per output token")
	if elements["circle"] != 3 || elements["svg"] != 5+1+4+3 {
		t.Errorf("%d dots and %d drawings, want 3 and 13", elements["circle"], elements["svg"])
	}
	if strings.Contains(page.String(), "NaN") || strings.Contains(page.String(), "Inf") {
		t.Error("the page holds a number that is none")
	}
	if report.HTML(io.Discard, "", nil, bench.SLO{}) == nil {
		t.Error("a report of no results was written")
	}
}

func TestText(t *testing.T) {
	r := result(11, 1)
	r.Unsent = 4
	s := r.Summary(bench.SLO{E2EL: time.Second}, 50, 99.9)
	var out bytes.Buffer
	if err := report.Text(&out, r, &s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"m<1>, chat/completions", "1.10 s, 4 requests not sent", "10 completed, 1 failed (1 http_503)", "1000 in (0 cached), 50 out",
		"9.09 req/s, 45.45 tok/s out", "90.9 % of all requests, with E2EL ≤ 1s", "p99.9", "ITL    15  8.66   10   10     30   30",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestCompare(t *testing.T) {
	var out bytes.Buffer
	err := report.Compare(&out, []report.Column{
		{Name: "base", Figures: bench.Figures{"duration": 2, "p99_ttft_ms": 100, "p9_tpot_ms": 3, "rtfx": 0}},
		{Name: "new", Figures: bench.Figures{"duration": 3, "p99_ttft_ms": 50, "mean_itl_ms": 7}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	want := []string{"base new ratio", "duration 2 3 ×1.500", "p99_ttft_ms 100 50 ×0.500", "p9_tpot_ms 3 - -", "mean_itl_ms - 7 -"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("table:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestProgress(t *testing.T) {
	s := bench.Snapshot{
		Elapsed: 5 * time.Second, Since: time.Second, Planned: 10, Sent: 6, Waiting: 2, Streaming: 1, Completed: 2, Failed: 1,
		Recent: []time.Duration{10 * ms, 20 * ms, 30 * ms},
	}
	var out bytes.Buffer
	show := report.Progress(&out, false)
	show(s)
	want := "     5 s  sent 6 of 10  waiting 2  streaming 1  done 2  failed 1  3 events/s  gap p50 20 ms p99 29.80 ms\n"
	if out.String() != want {
		t.Errorf("line %q, want %q", out.String(), want)
	}
	out.Reset()
	show = report.Progress(&out, true)
	show(s)
	first := out.String()
	show(s)
	if second := strings.TrimPrefix(out.String(), first); strings.Count(first, "\n") != 3 || !strings.HasPrefix(second, "\x1b[3A") {
		t.Errorf("blocks %q and %q, want the second to be drawn over the first", first, second)
	}
}
