package engine

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/rawjson"
	"github.com/baton-llm/baton/internal/wire"

	"go.opentelemetry.io/otel/trace/noop"
)

const (
	probeTime  = 10 * time.Second
	probeBytes = 16 << 20
)

// Models returns what the engine serves, with its own description of each.
func (c *Client) Models(ctx context.Context) ([]wire.Model, error) {
	body, err := c.get(ctx, "models", "/v1/models")
	if err != nil {
		return nil, err
	}
	list, err := rawjson.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("read models: %w: %w", errProtocol, err)
	}
	data, _ := list.Get("data")
	var models []wire.Model
	for card, err := range data.Array() {
		if err != nil {
			return nil, fmt.Errorf("read models: %w: %w", errProtocol, err)
		}
		o, err := card.Object()
		if err != nil {
			return nil, fmt.Errorf("read models: %w: %w", errProtocol, err)
		}
		id, _ := o.Get("id")
		name, err := id.String()
		if err != nil {
			return nil, fmt.Errorf("read a model's id: %w: %w", errProtocol, err)
		}
		models = append(models, wire.Model{ID: name, Card: bytes.Clone(card)})
	}
	return models, nil
}

// Health is nil if the engine says that it can serve.
func (c *Client) Health(ctx context.Context) error {
	_, err := c.get(ctx, "health", "/health")
	return err
}

// Metrics is what an engine says about its load. What it does not say is 0.
type Metrics struct {
	Running        int     // requests in the engine's batch
	Waiting        int     // requests in the engine's own queue
	KVUsage        float64 // of the KV cache's blocks, 0 to 1; the fullest, if the engine has several caches
	CapacityTokens int     // tokens that fit into the KV cache
	Connector      bool    // it has a connector that hands KV caches over, and counts what goes over it
	BlockSize      int     // tokens of one KV block
	PrefixCaching  string  // as the engine prints it: True or False

	FailedTransfers int // KV caches that it could not read
	Expired         int // KV caches of its own that nobody read within their lease
	ReadLate        int // KV caches of its own that were read after it: their answers are wrong
}

// Metrics asks the engine for its load.
func (c *Client) Metrics(ctx context.Context) (Metrics, error) {
	body, err := c.get(ctx, "metrics", "/metrics")
	if err != nil {
		return Metrics{}, err
	}
	return parseMetrics(string(body)), nil
}

func (c *Client) get(ctx context.Context, kind, path string) (body []byte, err error) {
	start := time.Now()
	defer func() { c.ended(ctx, kind, "", start, err, noop.Span{}) }()
	ctx, cancel := context.WithTimeoutCause(ctx, probeTime, ErrTimeout)
	defer cancel()
	a, err := c.do(ctx, request{method: http.MethodGet, path: path})
	if err != nil {
		return nil, err
	}
	defer a.close()
	return a.readAll(probeBytes)
}

// parseMetrics reads the few series that it knows of Prometheus's text format; an engine with
// several cores has one of each per core.
func parseMetrics(text string) Metrics {
	var m Metrics
	for line := range strings.Lines(text) {
		name, labels, value, ok := splitSample(strings.TrimSpace(line))
		if !ok {
			continue
		}
		m.Connector = m.Connector || strings.HasPrefix(name, "vllm:nixl_")
		switch name {
		case "vllm:num_requests_running":
			m.Running += int(value)
		case "vllm:num_requests_waiting":
			m.Waiting += int(value)
		case "vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc": // the second is its older name
			m.KVUsage = max(m.KVUsage, value)
		case "vllm:cache_config_info":
			blocks, _ := strconv.Atoi(label(labels, "num_gpu_blocks")) // "None" until the engine knows
			size, _ := strconv.Atoi(label(labels, "block_size"))
			m.CapacityTokens += max(blocks, 0) * max(size, 0)
			m.BlockSize, m.PrefixCaching = max(size, 0), label(labels, "enable_prefix_caching")
		case "vllm:nixl_num_failed_transfers_total":
			m.FailedTransfers += int(value)
		case "vllm:nixl_num_kv_expired_reqs_total":
			m.Expired += int(value)
		case "vllm:nixl_num_notifications_after_expiry_total":
			m.ReadLate += int(value)
		}
	}
	return m
}

func splitSample(line string) (name, labels string, value float64, ok bool) {
	if strings.HasPrefix(line, "#") {
		return "", "", 0, false
	}
	name, rest := line, ""
	if i := strings.IndexAny(line, "{ "); i >= 0 {
		name, rest = line[:i], line[i:]
	}
	if strings.HasPrefix(rest, "{") {
		end := strings.LastIndexByte(rest, '}')
		if end < 0 {
			return "", "", 0, false
		}
		labels, rest = rest[1:end], rest[end+1:]
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return "", "", 0, false
	}
	value, err := strconv.ParseFloat(fields[0], 64)
	// Counts of 1e15 and more, NaN and infinities are no counts.
	return name, labels, value, err == nil && value >= 0 && value < 1e15
}

// label finds one label's value. Values with escapes are not the ones that are asked for.
func label(labels, name string) string {
	for labels != "" {
		key, rest, ok := strings.Cut(labels, `="`)
		if !ok {
			return ""
		}
		end := 0
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(rest) {
			return ""
		}
		if strings.Trim(key, ", ") == name {
			return rest[:end]
		}
		labels = rest[end+1:]
	}
	return ""
}
