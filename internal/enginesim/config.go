package enginesim

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
)

// The roles of an engine.
const (
	rolePrefill = "prefill" // issues handles, as kv_producer
	roleDecode  = "decode"  // reads handles, as kv_consumer
	roleBoth    = "both"    // as kv_both
)

// Config is one simulated engine.
type Config struct {
	Model                string        `yaml:"model" help:"name of the model that the simulated engine serves"`
	Profile              string        `yaml:"profile" help:"time model: fast, llama-8b-h100-tp1, llama-70b-h100-tp4, llama-70b-h100-tp8 and others"`
	TimeScale            float64       `yaml:"time_scale" help:"simulated seconds per real second; leases stay real"`
	Role                 string        `yaml:"role" help:"prefill (kv_producer), decode (kv_consumer) or both"`
	MaxBatchTokens       int           `yaml:"max_batch_tokens" help:"most tokens computed in one iteration (max_num_batched_tokens)"`
	LongPrefillThreshold int           `yaml:"long_prefill_threshold" help:"most tokens of one prompt in one iteration; 0: no such limit"`
	MaxSeqs              int           `yaml:"max_seqs" help:"most sequences that run at once (max_num_seqs)"`
	KVTokens             int           `yaml:"kv_tokens" help:"tokens that the KV cache holds; 0: the profile's"`
	BlockSize            int           `yaml:"block_size" help:"tokens in one KV block"`
	MaxModelLen          int           `yaml:"max_model_len" help:"most tokens of prompt and answer together; the KV cache may lower it"`
	Lease                time.Duration `yaml:"lease" help:"how long a prefilled KV cache waits for its reader, in real time (kv_lease_duration)"`
	TransferGBps         float64       `yaml:"transfer_gbps" help:"gigabytes per second that an engine sends, and that it receives; 0: at once"`
	HandoverLatency      time.Duration `yaml:"handover_latency" help:"added to the transfer of each KV cache, in simulated time; 0: the profile's"`
	HostTime             time.Duration `yaml:"host_time" help:"of each iteration beside its operators, in simulated time; 0: the profile's"`
	Efficiency           float64       `yaml:"efficiency" help:"an iteration's time as a multiple of its operators'; 0: the profile's"`
	Unfused              bool          `yaml:"unfused" help:"compute an iteration's prompts and its decodes one after the other"`
	KVBytesPerToken      int           `yaml:"kv_bytes_per_token" help:"bytes of KV cache per token; 0: the profile's"`
	SideChannel          string        `yaml:"side_channel" help:"address that other engines read KV caches at; handles name its host, so it must not be a wildcard"`
	Reasoning            int           `yaml:"reasoning" help:"tokens of reasoning that a chat's answer begins with; 0: the model does not reason"`
	APIKey               string        `yaml:"api_key" help:"key that clients of /v1 must bring as a bearer token; empty: none" secret:"true"`
	Faults               Faults        `yaml:"faults"`
}

// DefaultConfig is a pleasant engine: about 15 ms per token and 20,000 prompt tokens per second.
func DefaultConfig() Config {
	return Config{
		Model:          "meta-llama/Meta-Llama-3.1-70B-Instruct",
		Profile:        "fast",
		TimeScale:      1,
		Role:           roleBoth,
		MaxBatchTokens: 2048,
		MaxSeqs:        1024,
		BlockSize:      16,
		MaxModelLen:    131072,
		Lease:          30 * time.Second,
		TransferGBps:   25,
		SideChannel:    "127.0.0.1:0",
	}
}

// Validate reports every fault by its YAML name.
func (c Config) Validate() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(c.Model == "", "sim.model is empty, want a name")
	if _, err := profileByName(c.Profile); err != nil {
		errs = append(errs, fmt.Errorf("sim.profile: %w", err))
	}
	fault(!(c.TimeScale > 0), "sim.time_scale is %v, want more than 0", c.TimeScale)
	roles := []string{rolePrefill, roleDecode, roleBoth}
	fault(!slices.Contains(roles, c.Role), "sim.role is %q, want one of %s", c.Role, strings.Join(roles, ", "))
	fault(c.MaxBatchTokens < 1, "sim.max_batch_tokens is %d, want 1 or more", c.MaxBatchTokens)
	fault(c.LongPrefillThreshold < 0, "sim.long_prefill_threshold is %d, want 0 or more", c.LongPrefillThreshold)
	fault(c.MaxSeqs < 1, "sim.max_seqs is %d, want 1 or more", c.MaxSeqs)
	fault(c.BlockSize < 1, "sim.block_size is %d, want 1 or more", c.BlockSize)
	fault(c.KVTokens < 0 || c.KVTokens > 0 && c.KVTokens < 2*c.BlockSize, "sim.kv_tokens is %d, want 0 or two blocks or more", c.KVTokens)
	fault(c.MaxModelLen < 2, "sim.max_model_len is %d, want 2 or more", c.MaxModelLen)
	fault(c.Lease < 6*time.Millisecond, "sim.lease is %s, want 6ms or more", c.Lease)
	fault(!(c.TransferGBps >= 0), "sim.transfer_gbps is %v, want 0 or more", c.TransferGBps)
	fault(c.HandoverLatency < 0, "sim.handover_latency is %s, want 0 or more", c.HandoverLatency)
	fault(c.HostTime < 0, "sim.host_time is %s, want 0 or more", c.HostTime)
	fault(!(c.Efficiency >= 0), "sim.efficiency is %v, want 0 or more", c.Efficiency)
	fault(c.KVBytesPerToken < 0, "sim.kv_bytes_per_token is %d, want 0 or more", c.KVBytesPerToken)
	fault(c.Reasoning < 0, "sim.reasoning is %d, want 0 or more", c.Reasoning)
	host, _, err := net.SplitHostPort(c.SideChannel)
	fault(err != nil || host == "" || host == "0.0.0.0" || host == "::", "sim.side_channel is %q, want a host that other engines reach, and a port", c.SideChannel)
	return errors.Join(append(errs, c.Faults.validate())...)
}

// of fills in what the profile decides.
func (c Config) of(p *profile) Config {
	c.KVTokens = cmp.Or(c.KVTokens, p.KV)
	c.KVBytesPerToken = cmp.Or(c.KVBytesPerToken, p.BytesPerToken)
	c.HandoverLatency = cmp.Or(c.HandoverLatency, p.Handover)
	c.HostTime = cmp.Or(c.HostTime, p.HostTime)
	c.Efficiency = cmp.Or(c.Efficiency, p.Efficiency)
	c.MaxModelLen = min(c.MaxModelLen, c.KVTokens/c.BlockSize*c.BlockSize)
	return c
}
