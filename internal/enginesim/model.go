package enginesim

import "time"

// Model is the time model of one engine, for simulations that need only that.
type Model struct {
	cfg     Config
	profile *profile
}

// Part is what one iteration computes of one sequence, in tokens.
type Part struct{ Computed, New int }

// ModelByName returns the model of a profile; see Config.Profile.
func ModelByName(name string) (Model, error) {
	p, err := profileByName(name)
	if err != nil {
		return Model{}, err
	}
	return Model{cfg: DefaultConfig().of(p), profile: p}, nil
}

// KVTokens is the engine's KV cache.
func (m Model) KVTokens() int { return m.profile.KV }

// KVBytesPerToken is the size of one token in it.
func (m Model) KVBytesPerToken() int { return m.profile.BytesPerToken }

// Handover is how long a hand-over of a KV cache takes beside the transfer of its bytes.
func (m Model) Handover() time.Duration { return m.profile.Handover }

// Step is how long one iteration takes.
func (m Model) Step(parts []Part) time.Duration {
	var b batch
	for _, p := range parts {
		b.add(p.Computed, p.New)
	}
	return m.cfg.duration(m.profile, b)
}
