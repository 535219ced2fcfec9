package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Version returns the engine's own version.
func (c *Client) Version(ctx context.Context) (string, error) {
	body, err := c.get(ctx, "version", "/version")
	if err != nil {
		return "", err
	}
	var said struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return "", fmt.Errorf("read version: %w: %w", errProtocol, err)
	}
	return said.Version, nil
}

// Settings is what an engine was started with. What it does not say is 0 or empty.
type Settings struct {
	Model       string        // as it was named at the start
	BatchTokens int           // max_num_batched_tokens
	Chunk       int           // long_prefill_token_threshold
	Connector   string        // kv_connector
	KVRole      string        // kv_role
	Lease       time.Duration // kv_lease_duration; 0: the engine's own
}

// Settings asks for the engine's settings; nil, without an error, from one that does not tell them. vLLM does only with
// VLLM_SERVER_DEV_MODE=1, under which it also serves what is not for everybody.
func (c *Client) Settings(ctx context.Context) (*Settings, error) {
	body, err := c.get(ctx, "settings", "/server_info?config_format=json")
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return nil, nil //nolint:nilnil // both are said above
	}
	if err != nil {
		return nil, err
	}
	var said struct {
		Config struct {
			Model struct {
				Name string `json:"model"`
			} `json:"model_config"`
			Scheduler struct {
				BatchTokens int `json:"max_num_batched_tokens"`
				Chunk       int `json:"long_prefill_token_threshold"`
			} `json:"scheduler_config"`
			Transfer struct {
				Connector string `json:"kv_connector"`
				Role      string `json:"kv_role"`
				Extra     struct {
					Lease float64 `json:"kv_lease_duration"` // seconds
				} `json:"kv_connector_extra_config"`
			} `json:"kv_transfer_config"`
		} `json:"vllm_config"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return nil, fmt.Errorf("read settings: %w: %w", errProtocol, err)
	}
	s := said.Config
	return &Settings{
		Model: s.Model.Name, BatchTokens: s.Scheduler.BatchTokens, Chunk: s.Scheduler.Chunk, Connector: s.Transfer.Connector, KVRole: s.Transfer.Role,
		Lease: time.Duration(s.Transfer.Extra.Lease * float64(time.Second)),
	}, nil
}
