package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/kvtransfer"
	"github.com/baton-llm/baton/router/schedule"
)

const (
	aboutEngines = "engines"
	// atOnce is how many engines are looked at at the same time.
	atOnce = 16
	// defaultLease is vLLM's own kv_lease_duration.
	defaultLease = 30 * time.Second
)

// urls are the engines that the operator names. Nobody says what they are for.
func (s *Subject) urls() map[string]wire.Role {
	urls := map[string]wire.Role{}
	for _, u := range s.Engines {
		urls[strings.TrimSuffix(u, "/")] = ""
	}
	return urls
}

// seen is one engine as it was seen.
type seen struct {
	url      string
	role     wire.Role // of its worker; empty: not known
	version  string
	models   []string
	root     string // name or path that its model was started with
	maxLen   int
	metrics  engine.Metrics
	settings *engine.Settings // nil: it does not tell
	findings Report
}

// engines looks at each engine, and at whether they fit each other.
func engines(ctx context.Context, r *Report, s *Subject, urls map[string]wire.Role, log *slog.Logger) {
	all := make([]*seen, 0, len(urls))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, url := range slices.Sorted(maps.Keys(urls)) {
		e := &seen{url: url, role: urls[url]}
		all = append(all, e)
		g.Go(func() error {
			looking, cancel := context.WithTimeout(ctx, engineTime)
			defer cancel()
			e.look(looking, s, log)
			return nil
		})
	}
	_ = g.Wait() // what fails is a finding
	for _, e := range all {
		for _, f := range e.findings.Findings() {
			r.add(f)
		}
	}
	alike(r, all)
}

func (e *seen) about() string { return "engine " + e.url }

func (e *seen) look(ctx context.Context, s *Subject, log *slog.Logger) {
	client := engine.New(e.url, s.Engine, s.Dial, nil, log)
	defer client.Close()
	r, about := &e.findings, e.about()
	if err := client.Health(ctx); err != nil {
		r.problem(about, "it is not healthy: "+err.Error(), "look at its log; start it, or give its worker the right URL (worker.engine)")
		return
	}
	models, err := client.Models(ctx)
	if err != nil || len(models) == 0 {
		r.problem(about, "it names no model: "+reason(err), "check engine.api_key, and the engine's log")
		return
	}
	e.card(models)
	e.version, _ = client.Version(ctx) // old ones have none
	if e.metrics, err = client.Metrics(ctx); err != nil {
		r.warn(about, "it has no metrics: "+err.Error(), "start it without --disable-log-stats")
	}
	if e.settings, err = client.Settings(ctx); err != nil {
		e.settings = nil
	}
	r.ok(about, e.describe())
	e.prompt(ctx, client)
	e.fit(s)
	e.counters()
}

// card reads what the engine says of its models.
func (e *seen) card(models []wire.Model) {
	for _, m := range models {
		e.models = append(e.models, m.ID)
	}
	var card struct {
		Root   string `json:"root"`
		MaxLen int    `json:"max_model_len"`
	}
	if json.Unmarshal(models[0].Card, &card) == nil {
		e.root, e.maxLen = card.Root, card.MaxLen
	}
}

func (e *seen) describe() string {
	said := []string{"serves " + strings.Join(e.models, ", ")}
	if e.version != "" {
		said[0] = "vLLM " + e.version + " " + said[0]
	}
	if e.role != "" {
		said = append(said, "for a worker of role "+string(e.role))
	}
	if e.maxLen > 0 {
		said = append(said, fmt.Sprintf("max_model_len %d", e.maxLen))
	}
	if m := e.metrics; m.BlockSize > 0 {
		said = append(said, fmt.Sprintf("KV cache of %d tokens in blocks of %d", m.CapacityTokens, m.BlockSize))
	}
	if c := e.settings; c != nil {
		said = append(said, fmt.Sprintf("max_num_batched_tokens %d", c.BatchTokens))
	}
	return strings.Join(said, ", ")
}

// prompt has the engine compute a prompt of one word, as for a hand-over where it hands over.
func (e *seen) prompt(ctx context.Context, client *engine.Client) {
	r, about := &e.findings, e.about()
	body, err := json.Marshal(map[string]any{"model": e.models[0], "prompt": "baton", "max_tokens": 1})
	if err != nil {
		panic(err) // strings and numbers
	}
	hands := e.role == wire.RolePrefill || e.role == wire.RoleBoth
	if hands {
		if body, err = (kvtransfer.NIXL{}).PreparePrefill(body); err != nil {
			panic(err) // it is the body above
		}
	}
	begun := time.Now()
	answer, err := client.Post(ctx, engine.Call{Path: "/v1/completions", RequestID: fmt.Sprintf("baton-doctor-%x", begun.UnixNano()), Body: body})
	var status *engine.StatusError
	switch {
	case errors.As(err, &status) && status.Status == http.StatusNotFound:
		return // a model that does not complete
	case err != nil:
		r.problem(about, fmt.Sprintf("it does not answer a prompt of one word within %s: %v", engineTime, err), "look at its log")
		return
	}
	r.ok(about, "answers a prompt of one word in "+short(time.Since(begun)))
	if !hands {
		return
	}
	if _, err := (kvtransfer.NIXL{}).HandleFrom(answer); err != nil {
		r.problem(about, "it has no KV connector, so its worker does not start, or every prompt is computed twice", "start it with "+e.transfer(0))
	}
}

// transfer is the flag that the engine must be started with; a lease of 0 is vLLM's own.
func (e *seen) transfer(lease time.Duration) string {
	extra := ""
	if lease > 0 {
		extra = fmt.Sprintf(`,"kv_connector_extra_config":{"kv_lease_duration":%d}`, int(math.Ceil(lease.Seconds())))
	}
	return fmt.Sprintf(`--kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":%q%s}'`, e.role.KVRole(), extra)
}

// fit compares what the engine does with what its worker and the law count on.
func (e *seen) fit(s *Subject) {
	r, about := &e.findings, e.about()
	if e.role == wire.RoleDecode && !e.metrics.Connector {
		r.warn(about, "its metrics show no KV connector; without one it computes every prompt a second time", "start it with "+e.transfer(0))
	}
	if e.metrics.PrefixCaching == "False" {
		r.warn(about, "prefix caching is off, so prompts that begin alike are computed from their beginnings each time", "start it without --no-enable-prefix-caching")
	}
	if c := e.settings; c != nil {
		e.batches(s, c)
	} else {
		r.ok(about, "it does not tell max_num_batched_tokens and kv_lease_duration (vLLM does with VLLM_SERVER_DEV_MODE=1 alone): docs/engines.md has what they should be")
	}
	hands := e.role == wire.RolePrefill || e.role == wire.RoleBoth
	lease := defaultLease
	if c := e.settings; c != nil && c.Lease > 0 {
		lease = c.Lease
	}
	switch short := hands && s.Lease > lease; {
	case short && e.settings != nil:
		r.problem(about, fmt.Sprintf("it frees KV caches after %s, and workers count on prefill.lease, %s: one that is read too late gives another request's text", lease, s.Lease), "start it with "+e.transfer(s.Lease))
	case short:
		r.warn(about, fmt.Sprintf("prefill.lease is %s, longer than vLLM's own lease of %s, and it does not tell its: a KV cache that is read too late gives another request's text", s.Lease, lease), "start it with "+e.transfer(s.Lease))
	}
}

// batches tells of iterations that are too long for answers beside them, or that the law does not fill.
func (e *seen) batches(s *Subject, c *engine.Settings) {
	r, about := &e.findings, e.about()
	answers := e.role == wire.RoleDecode || e.role == wire.RoleBoth
	prompts := s.Mode != schedule.Split || e.role == wire.RoleBoth // that are computed beside answers
	if answers && prompts && s.Batch > 0 && c.BatchTokens > 2*s.Batch {
		r.warn(about, fmt.Sprintf("max_num_batched_tokens is %d: in mode %s prompts are computed beside answers here, which wait for each iteration", c.BatchTokens, s.Mode),
			fmt.Sprintf("start it with --max-num-batched-tokens %d --long-prefill-token-threshold %d", s.Batch, s.Chunk))
	}
	if e.role == wire.RolePrefill && c.BatchTokens > s.Window {
		r.warn(about, fmt.Sprintf("max_num_batched_tokens is %d, and a worker is given no more prompts while it has %d tokens to compute (schedule.prefill_window)", c.BatchTokens, s.Window),
			fmt.Sprintf("--schedule.prefill_window %d for the frontends, or a smaller batch", c.BatchTokens))
	}
}

// counters tells what has gone wrong since the engine was started.
func (e *seen) counters() {
	r, about := &e.findings, e.about()
	if n := e.metrics.ReadLate; n > 0 {
		r.problem(about, fmt.Sprintf("%d of its KV caches were read after their lease: those answers were wrong", n), "set prefill.lease to the engine's kv_lease_duration or less; docs/engines.md, Troubleshooting")
	}
	if n := e.metrics.FailedTransfers; n > 0 {
		r.warn(about, fmt.Sprintf("it could not read %d KV caches", n), "its log says why; docs/engines.md, Troubleshooting")
	}
	if n := e.metrics.Expired; n > 0 {
		r.warn(about, fmt.Sprintf("%d of its KV caches were read by nobody within their lease", n), "more decode workers, or a longer prefill.lease, if that goes on")
	}
}

// alike compares the engines of each model: what engines check before they hand KV caches over, and what both legs
// of a request are checked by.
func alike(r *Report, all []*seen) {
	byModel := map[string][]*seen{}
	for _, e := range all {
		for _, m := range e.models {
			byModel[m] = append(byModel[m], e)
		}
	}
	if len(byModel) > 1 {
		r.ok(aboutEngines, "models: "+strings.Join(slices.Sorted(maps.Keys(byModel)), ", "))
	}
	for _, model := range slices.Sorted(maps.Keys(byModel)) {
		same := byModel[model]
		if len(same) < 2 {
			continue
		}
		differ := false
		for _, c := range []struct {
			what string
			of   func(*seen) string
			fix  string
		}{
			{"vLLM's version", func(e *seen) string { return e.version }, "run the same version everywhere: others refuse each other's KV caches"},
			{"the model's path", func(e *seen) string { return e.root }, "start all with the same model text, to the letter: others refuse each other's KV caches"},
			{"the block size", func(e *seen) string { return number(e.metrics.BlockSize) }, "start all with the same --block-size"},
			{"max_model_len", func(e *seen) string { return number(e.maxLen) }, "start all with the same --max-model-len: both legs of a request are checked by it"},
		} {
			values := map[string][]string{}
			for _, e := range same {
				if v := c.of(e); v != "" {
					values[v] = append(values[v], e.url)
				}
			}
			if len(values) < 2 {
				continue
			}
			differ = true
			var said []string
			for _, v := range slices.Sorted(maps.Keys(values)) {
				said = append(said, fmt.Sprintf("%s at %s", v, strings.Join(values[v], ", ")))
			}
			r.problem(aboutEngines, fmt.Sprintf("%s of %s differs: %s", c.what, model, strings.Join(said, "; ")), c.fix)
		}
		if !differ {
			r.ok(aboutEngines, fmt.Sprintf("the %d of %s are alike", len(same), model))
		}
	}
}

// number is empty for what is not known.
func number(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func reason(err error) string {
	if err == nil {
		return "its list is empty"
	}
	return err.Error()
}
