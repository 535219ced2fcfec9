package relay

import (
	"errors"
	"fmt"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Config is what Sender and Receiver are set up with; both ends should use the same.
type Config struct {
	Window      int           `yaml:"window" help:"most bytes of one stream that a worker sends ahead of what the client has read"`
	MaxPayload  int           `yaml:"max_payload" help:"most bytes in one frame, such as one SSE event; a larger one fails its request"`
	MaxBatch    int           `yaml:"max_batch" help:"most bytes in one published batch; keep it below the server's max_payload"`
	MaxPending  int           `yaml:"max_pending" help:"most bytes that wait to be published by one process; what comes beyond is sent later"`
	AckInterval time.Duration `yaml:"ack_interval" help:"time between two acknowledgements of one stream by the frontend"`
	Probe       time.Duration `yaml:"probe" help:"a worker sends unacknowledged frames again after this time, then after twice as long, up to probe_max"`
	ProbeMax    time.Duration `yaml:"probe_max" help:"longest time between two probes of one stream"`
	GiveUp      time.Duration `yaml:"give_up" help:"a frontend that acknowledges nothing for so long counts as gone"`
	Linger      time.Duration `yaml:"linger" help:"longest time that a worker keeps the frames of a finished run for a frontend that does not acknowledge them"`
}

// SenderConfig and ReceiverConfig are the same settings, because the two ends must agree.
type (
	SenderConfig   = Config
	ReceiverConfig = Config
)

// DefaultConfig returns the settings that hold where nobody says otherwise.
func DefaultConfig() Config {
	return Config{
		Window:      256 << 10,
		MaxPayload:  256 << 10,
		MaxBatch:    512 << 10,
		MaxPending:  64 << 20,
		AckInterval: 200 * time.Millisecond,
		Probe:       time.Second,
		ProbeMax:    5 * time.Second,
		GiveUp:      15 * time.Second,
		Linger:      15 * time.Second,
	}
}

// room is what a batch needs besides payloads: its header with a long name and one frame's own.
const room = 1024 + wire.FrameOverhead

// Validate reports every fault, by YAML name.
func (c *Config) Validate() error {
	var err error
	fault := func(format string, args ...any) { err = errors.Join(err, fmt.Errorf(format, args...)) }
	if c.Window < 1 {
		fault("relay.window is %d, want 1 byte or more", c.Window)
	}
	if c.MaxPayload < 1 {
		fault("relay.max_payload is %d, want 1 byte or more", c.MaxPayload)
	}
	if c.MaxBatch < c.MaxPayload+room {
		fault("relay.max_batch is %d, want at least relay.max_payload and %d more", c.MaxBatch, room)
	}
	if c.MaxPending < c.MaxBatch {
		fault("relay.max_pending is %d, want at least relay.max_batch", c.MaxPending)
	}
	if c.AckInterval <= 0 {
		fault("relay.ack_interval is %s, want more than 0", c.AckInterval)
	}
	if c.Probe <= c.AckInterval {
		fault("relay.probe is %s, want more than relay.ack_interval", c.Probe)
	}
	if c.ProbeMax < c.Probe {
		fault("relay.probe_max is %s, want at least relay.probe", c.ProbeMax)
	}
	if c.GiveUp < 2*c.ProbeMax {
		fault("relay.give_up is %s, want at least twice relay.probe_max", c.GiveUp)
	}
	if c.Linger <= 0 {
		fault("relay.linger is %s, want more than 0", c.Linger)
	}
	return err
}
