package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/kvtransfer"
)

// engineCheck looks at an engine that others run, before its worker takes jobs. errUnfit: the worker must
// not run in front of it; other errors: ask again later.
type engineCheck func(ctx context.Context, c *checked) error

// checked is the engine that is looked at.
type checked struct {
	client    *engine.Client
	url       string
	role      wire.Role
	model     string
	connector kvtransfer.Connector
	lease     time.Duration // that the worker counts on
	log       *slog.Logger
}

var errUnfit = errors.New("the engine is unfit for its worker")

const (
	checkTime = time.Minute // of one check: a prompt of a few tokens, maybe behind a full batch
	// defaultLease is vLLM's own kv_lease_duration. Engines older than it keep blocks for longer.
	defaultLease = 30 * time.Second
)

// checkEngine tells an engine without a KV connector: requests would be prefilled twice, with right answers
// at half the speed. A prefill engine shows its connector by a prompt of one word; its blocks stay for one
// lease. A decode engine shows it by its metrics.
func checkEngine(ctx context.Context, c *checked) error {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	if c.role == wire.RoleDecode {
		return c.decode(ctx)
	}
	return c.prefill(ctx)
}

func (c *checked) decode(ctx context.Context) error {
	m, err := c.client.Metrics(ctx)
	if err != nil || !m.Connector {
		c.log.WarnContext(ctx, "engine shows no KV connector in its metrics; without one it prefills every prompt a second time",
			slog.String("engine", c.url), slog.String("start_with", c.start(0)), slog.Any("error", err))
		return nil
	}
	c.log.InfoContext(ctx, "engine checked", slog.String("engine", c.url), slog.String("model", c.model))
	return nil
}

func (c *checked) prefill(ctx context.Context) error {
	body, err := json.Marshal(map[string]any{"model": c.model, "prompt": "baton", "max_tokens": 1})
	if err != nil {
		return err
	}
	leg, err := c.connector.PreparePrefill(body)
	if err != nil {
		return err
	}
	answer, err := c.client.Post(ctx, engine.Call{Path: "/v1/completions", RequestID: "baton-check-" + newID("", c.role), Body: leg})
	var status *engine.StatusError
	if errors.As(err, &status) && status.Status < http.StatusInternalServerError {
		c.log.WarnContext(ctx, "engine refused the prompt that tells whether it has a KV connector", slog.String("engine", c.url), slog.Any("error", err))
		return nil
	}
	if err != nil {
		c.log.WarnContext(ctx, "engine not checked yet", slog.String("engine", c.url), slog.Any("error", err))
		return err
	}
	_, err = c.connector.HandleFrom(answer)
	if err != nil && !errors.Is(err, kvtransfer.ErrNoHandle) { // what cannot be read tells of no connector, missing or not
		c.log.WarnContext(ctx, "engine not checked yet", slog.String("engine", c.url), slog.Any("error", err))
		return err
	}
	if err != nil {
		return fmt.Errorf("%w: %s answers a prefill without a KV handle, so requests would be prefilled twice: start it with %s: %w", errUnfit, c.url, c.start(0), err)
	}
	c.log.InfoContext(ctx, "engine checked", slog.String("engine", c.url), slog.String("model", c.model))
	if c.lease > defaultLease {
		c.log.WarnContext(ctx, "prefill.lease is longer than vLLM keeps blocks by itself, and an engine does not tell; a handle that is used too late gives wrong text",
			slog.String("engine", c.url), slog.Duration("lease", c.lease), slog.String("start_with", c.start(c.lease)))
	}
	return nil
}

// start is the flag that the engine must be started with; a lease of 0 is vLLM's own.
func (c *checked) start(lease time.Duration) string {
	extra := ""
	if lease > 0 {
		extra = fmt.Sprintf(`,"kv_connector_extra_config":{"kv_lease_duration":%d}`, int(math.Ceil(lease.Seconds())))
	}
	return fmt.Sprintf(`--kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":%q%s}'`, c.role.KVRole(), extra)
}
