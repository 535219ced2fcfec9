package promcheck

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
)

const (
	root   = "../.."
	manual = root + "/docs/operations.md"
	page   = "https://github.com/baton-llm/baton/blob/main/docs/operations.md#"
)

var queries = parser.NewParser(parser.Options{})

// added are the labels that Prometheus adds to what it scrapes.
var added = []string{"instance", "job"}

// series says which labels, and which of their values, each exported name has.
type series map[string]map[string][]string

var sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? `)

var pair = regexp.MustCompile(`([a-z_A-Z]+)="((?:[^"\\]|\\.)*)"`)

func (s series) read(t *testing.T, url string) {
	t.Helper()
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		m := sample.FindStringSubmatch(lines.Text())
		if m == nil {
			continue
		}
		if s[m[1]] == nil {
			s[m[1]] = map[string][]string{}
		}
		for _, p := range pair.FindAllStringSubmatch(m[2], -1) {
			if !slices.Contains(s[m[1]][p[1]], p[2]) {
				s[m[1]][p[1]] = append(s[m[1]][p[1]], p[2])
			}
		}
	}
}

// deployment is `baton up` as a process, whose engines fail now and then.
func deployment(t *testing.T) (url string, engines []string, name string) {
	t.Helper()
	dir := t.TempDir()
	binary, ready := filepath.Join(dir, "baton"), filepath.Join(dir, "ready.json")
	build := exec.Command("go", "build", "-o", binary, "./cmd/baton")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	up := exec.Command(binary, "up", "--listen", "127.0.0.1:0", "--up.ready_file", ready, "--prefill", "1", "--decode", "2",
		"--sim.time_scale", "20", "--sim.lease", "3s", "--prefill.lease", "3s", "--sim.faults.status", "500", "--sim.faults.every", "7", "--log.level", "error")
	var logs strings.Builder
	up.Stdout, up.Stderr = &logs, &logs
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- up.Wait() }()
	t.Cleanup(func() {
		_ = up.Process.Signal(syscall.SIGTERM)
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("baton up = %v\n%s", err, logs.String())
			}
		case <-time.After(20 * time.Second):
			_ = up.Process.Kill()
			t.Error("baton up does not end")
		}
	})
	deadline := time.Now().Add(30 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(ready)
		var is struct {
			URL, Model string
			Engines    []struct{ URL string }
		}
		if err == nil && json.Unmarshal(text, &is) == nil {
			for _, e := range is.Engines {
				engines = append(engines, e.URL)
			}
			return is.URL, engines, is.Model
		}
		if !errors.Is(err, os.ErrNotExist) && err != nil || time.Now().After(deadline) {
			t.Fatalf("not ready: %v", err)
		}
		select {
		case err := <-ended:
			t.Fatalf("baton up ended: %v\n%s", err, logs.String())
		case <-tick.C:
		}
	}
}

// exported is what there is to ask for after some traffic.
func exported(t *testing.T) series {
	t.Helper()
	url, engines, name := deployment(t)
	var g sync.WaitGroup
	for i := range 40 {
		g.Go(func() {
			body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"%d %s"}],"max_tokens":8,"stream":%v}`,
				name, i, strings.Repeat("why ", 40*i), i%4 != 0)
			resp, err := http.Post(url+"/v1/chat/completions", "application/json", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
		})
	}
	g.Wait()
	s := series{}
	for _, from := range append(engines, url) {
		s.read(t, from)
	}
	if len(s) < 100 {
		t.Fatalf("only %d names are exported", len(s))
	}
	return s
}

// check parses a query and holds its names, labels and values to what is exported.
func (s series) check(t *testing.T, query, doc string) {
	t.Helper()
	expr, err := queries.ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return
	}
	known := slices.Clone(added)
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		v, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		if s[v.Name] == nil {
			t.Errorf("%s: nothing exports %s", query, v.Name)
			return nil
		}
		for label := range s[v.Name] {
			known = append(known, label)
		}
		for _, m := range v.LabelMatchers {
			if m.Name == labels.MetricName || slices.Contains(added, m.Name) {
				continue
			}
			values, has := s[v.Name][m.Name]
			if !has {
				t.Errorf("%s: %s has no label %s", query, v.Name, m.Name)
			}
			// A value that has not come up in this traffic is one that the manual knows.
			if m.Type == labels.MatchEqual && !slices.Contains(values, m.Value) && !strings.Contains(doc, "`"+m.Value+"`") {
				t.Errorf("%s: no %s has %s %q", query, v.Name, m.Name, m.Value)
			}
		}
		return nil
	})
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok {
			for _, label := range a.Grouping {
				if !slices.Contains(known, label) {
					t.Errorf("%s: groups by %s, which nothing has", query, label)
				}
			}
		}
		return nil
	})
}

func TestDashboardsAndAlertsAskForWhatThereIs(t *testing.T) {
	text, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	doc, s := string(text), exported(t)
	files, err := filepath.Glob(root + "/deploy/grafana/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	uids := map[string]bool{}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) { s.dashboard(t, file, doc, uids) })
	}
	t.Run("alerts", func(t *testing.T) { s.alerts(t, root+"/deploy/prometheus/alerts.yaml", doc) })
}

// variables stand for what Grafana puts in.
var variables = strings.NewReplacer("$__rate_interval", "5m", "$model", ".*")

func (s series) dashboard(t *testing.T, file, doc string, uids map[string]bool) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		UID, Title string
		Templating struct {
			List []struct{ Name, Type, Query string }
		}
		Panels []struct {
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	if board.UID == "" || uids[board.UID] || board.Title == "" || len(board.Panels) == 0 {
		t.Errorf("uid %q is empty or taken, or there is no title or panel", board.UID)
	}
	uids[board.UID] = true
	for _, v := range board.Templating.List {
		if m := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(v.Query); v.Type == "query" && (m == nil || s[m[1]][m[2]] == nil) {
			t.Errorf("variable %s: %s gives nothing", v.Name, v.Query)
		}
	}
	for i, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			s.check(t, variables.Replace(target.Expr), doc)
		}
		for _, q := range board.Panels[:i] {
			a, b := p.GridPos, q.GridPos
			if a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H {
				t.Errorf("panels %q and %q overlap", p.Title, q.Title)
			}
		}
	}
}

func (s series) alerts(t *testing.T, file, doc string) {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(text, false, model.UTF8Validation, queries, slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if len(errs) > 0 {
		return
	}
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			s.check(t, r.Expr, doc)
			anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], page)
			if !ok || !slices.Contains(anchors(doc), anchor) {
				t.Errorf("%s: the runbook %q is no section of the manual", r.Alert, r.Annotations["runbook_url"])
			}
			if r.Annotations["summary"] == "" || r.Labels["severity"] == "" || r.For == 0 {
				t.Errorf("%s has no summary, severity or patience", r.Alert)
			}
		}
	}
}

var heading = regexp.MustCompile(`(?m)^#+ (.+)$`)

// anchors are the names by which a page of GitHub links to its headings.
func anchors(doc string) (names []string) {
	for _, m := range heading.FindAllStringSubmatch(doc, -1) {
		names = append(names, strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9 -]`).ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return names
}
