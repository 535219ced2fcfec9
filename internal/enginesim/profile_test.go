package enginesim

import (
	"testing"
	"time"
)

func TestTimeOfAnIteration(t *testing.T) {
	const decodes = 64
	var prompts, both batch
	prompts.add(0, 1024)
	both.add(0, 1024)
	for range decodes {
		both.add(8191, 1)
	}

	for name, c := range map[string]struct {
		change func(c *Config)
		work   batch
		ms     float64
	}{
		// 66.96 for 1024 tokens and 0.41 for their attention, 3.85 for 64 more (17.12 alone), and 14.10
		// to read 64 caches of 8192 tokens.
		"a prompt":                {func(*Config) {}, prompts, 67.37},
		"a prompt with decodes":   {func(*Config) {}, both, 85.33},
		"one after the other":     {func(c *Config) { c.Unfused = true }, both, 98.60},
		"with host time":          {func(c *Config) { c.HostTime = 80 * time.Millisecond }, both, 165.33},
		"less efficient":          {func(c *Config) { c.Efficiency = 2 }, both, 170.65},
		"as the profile has it":   {func(c *Config) { c.Efficiency, c.HostTime = 0, 0 }, both, 91.59},
		"unfused, but no decodes": {func(c *Config) { c.Unfused = true }, prompts, 67.37},
	} {
		cfg := DefaultConfig()
		cfg.Profile, cfg.Efficiency, cfg.HostTime = "llama-70b-h100-tp4", 1, time.Nanosecond
		c.change(&cfg)
		e, err := New(cfg, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := float64(e.cfg.duration(e.profile, c.work)) / 1e6; got < c.ms-0.02 || got > c.ms+0.02 {
			t.Errorf("%s takes %.2f ms, want %.2f", name, got, c.ms)
		}
	}
}

// Capacities and hand-overs are the profile's where the settings say nothing.
func TestProfileFillsIn(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Profile = "llama-8b-h100-tp1"
	e, err := New(cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := e.cfg; got.KVTokens != 438_000 || got.KVBytesPerToken != 131072 || got.HandoverLatency != 175*time.Millisecond {
		t.Errorf("the engine has %d tokens of %d bytes and hand-overs of %v", got.KVTokens, got.KVBytesPerToken, got.HandoverLatency)
	}
	cfg.KVTokens, cfg.HandoverLatency = 1600, time.Second
	if e, err = New(cfg, Options{}); err != nil || e.cfg.KVTokens != 1600 || e.cfg.HandoverLatency != time.Second {
		t.Errorf("settings are not kept: %+v, %v", e.cfg, err)
	}
}
