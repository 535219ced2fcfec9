package main

import (
	"context"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/peers/stub"
)

// A size whose processes do not start is told, and the others are measured.
func TestGrowthIsMeasured(t *testing.T) {
	addr, other := engine(t, false), engine(t, false)
	requests := cell{Name: "workers", Conns: 2, Tokens: 8, Prompt: 200}
	paced := cell{Name: "streams", Conns: 20, Tokens: 5, Pace: 10 * time.Millisecond, Prompt: 200, Once: true}
	start := func(context.Context, *site) (*router, error) {
		return &router{name: "baton", addr: addr, others: []string{other}, models: []string{"another"}}, nil
	}
	points := []point{
		{"workers", 2, requests, start},
		{"workers", 64, requests, func(context.Context, *site) (*router, error) { return &router{}, errors.New("no memory") }},
		{"streams", 20, paced, start},
	}
	r := &growthReport{conditions: conditions{Rounds: 2, Window: 20 * time.Millisecond}}
	if err := r.measure(t.Context(), &site{}, points, t.Output()); err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, g := range r.Growth {
		order = append(order, g.Series)
		if g.Failed > 0 || g.Requests == 0 || g.TTFT50 <= 0 || g.Series == "streams" && (g.Asked != 2000 || g.Gap50 <= 0) {
			t.Errorf("%s %d: %s; asked %v", g.Series, g.Size, &g.sample, g.Asked)
		}
	}
	if want := []string{"workers", "streams", "streams", "workers"}; !slices.Equal(order, want) {
		t.Errorf("measured %v, want %v", order, want)
	}
	if len(r.Absent) != 2 || !strings.Contains(r.Absent[0].Name, "workers 64") || r.Absent[0].Why != "no memory" {
		t.Errorf("left out: %v, want workers 64 of both rounds", r.Absent)
	}
}

func TestPoints(t *testing.T) {
	sizes := map[string][]int{}
	for _, p := range points("baton", 20_000, false) {
		sizes[p.series] = append(sizes[p.series], p.size)
		if p.series == "streams" && p.cell.Conns != p.size {
			t.Errorf("%d streams have %d connections", p.size, p.cell.Conns)
		}
	}
	for series, want := range map[string][]int{
		"workers": {2, 4, 16, 64}, "models": {1, 5, 20}, "frontends": {1, 2, 4, 8}, "streams": {500, 1000, 2000, 5000, 9000},
	} {
		if !slices.Equal(sizes[series], want) {
			t.Errorf("%s: %v, want %v", series, sizes[series], want)
		}
	}
	for files, want := range map[int][]int{1024: {500}, 6000: {500, 1000, 2000}, 1 << 20: {500, 1000, 2000, 5000, 10_000}} {
		if got := streams(files); !slices.Equal(got, want) {
			t.Errorf("with %d descriptors: %v streams, want %v", files, got, want)
		}
	}
	for _, k := range kinds {
		if len(sizes[k.name]) == 0 {
			t.Errorf("%s are shown and not measured", k.name)
		}
	}
}

func TestGrowthIsShown(t *testing.T) {
	r := growthReport{conditions: conditions{Date: time.Now(), Rounds: 3, Absent: []absent{{"workers 64, round 2", "no memory"}}}, Files: 20_000}
	for round, n := range []time.Duration{3, 1, 2} {
		for _, size := range []int{2, 64} {
			r.Growth = append(r.Growth, growth{
				Series: "workers", Size: size, Idle: .015, sample: sample{
					Round: round, Requests: 1000, Tokens: 64_000, Wall: time.Second, TTFT50: n * time.Millisecond,
					CPU: map[string]time.Duration{"up": n * time.Duration(size) * 100 * time.Millisecond}, Peak: map[string]int64{"up": 70 << 20},
				},
			})
		}
	}
	r.Growth = append(r.Growth, growth{Series: "streams", Size: 1000, Asked: 20_000, sample: sample{
		Requests: 990, Failed: 10, Tokens: 100_000, AtOnce: 980, Wall: 10 * time.Second, Gap50: 90 * time.Millisecond, Error: "the answer ended early",
		CPU: map[string]time.Duration{"up": 4 * time.Second}, Base: map[string]int64{"up": 50_000_000}, Peak: map[string]int64{"up": 150_000_000},
	}})
	var text strings.Builder
	r.markdown(&text)
	for _, want := range []string{
		"| 2 | 0.40 (0.20–0.60) | 2.0 (1.0–3.0) | 1000 | 15 | 70 | 0 |", "| 64 | 12.80 (6.40–19.20) |", "| 1000 | 40.0 | 143 | 100.0 | 980 | 0.0 | 10000 | 20000 | 90 | 10 |",
		"streams 1000, round 0: the answer ended early", "workers 64, round 2 was left out: no memory",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, &text)
		}
	}
	text.Reset()
	r.plot(&text)
	if panels, marks := strings.Count(text.String(), "<g "), strings.Count(text.String(), "<circle"); panels != 2 || marks != 3 {
		t.Errorf("%d panels and %d marks, want 2 and 3 in\n%s", panels, marks, &text)
	}
	for d := xml.NewDecoder(strings.NewReader(text.String())); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("the plot is no XML: %v\n%s", err, &text)
		}
	}
	if strings.Contains(text.String(), "NaN") || strings.Contains(text.String(), "Inf") || strings.Contains(text.String(), "%!") {
		t.Errorf("numbers in the plot are none:\n%s", &text)
	}
}

func TestFiguresAreShownAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "scale")
	r := &growthReport{Growth: []growth{{Series: "models", Size: 5, sample: sample{Requests: 10, Wall: time.Second, TTFT50: 7 * time.Millisecond}}}}
	if err := write(r, file); err != nil {
		t.Fatal(err)
	}
	tables, err := os.ReadFile(file + ".md")
	if err != nil || os.Remove(file+".md") != nil {
		t.Fatal(err)
	}
	if err := (&showCommand{File: file + ".json"}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := os.ReadFile(file + ".md"); err != nil || string(again) != string(tables) || !strings.Contains(string(again), "| 5 | 0.00 | 7.0 |") {
		t.Errorf("shown again: %v\n%s\nwant\n%s", err, again, tables)
	}
}

// Requests are spread over all endpoints and models of a router.
func TestPlanIsForAllEndpointsAndModels(t *testing.T) {
	r := &router{addr: "a:1", others: []string{"b:1"}, models: []string{"stub-1"}}
	plan := (&cell{Conns: 1, Tokens: 1, Prompt: 50}).plan(r, time.Second)
	if len(plan.Addrs) != 2 || len(plan.Bodies) != 2 || !strings.Contains(string(plan.Bodies[0]), `"model":"`+stub.Model+`"`) || !strings.Contains(string(plan.Bodies[1]), `"model":"stub-1"`) {
		t.Errorf("a plan for two endpoints and two models has %v and %q", plan.Addrs, plan.Bodies)
	}
}
