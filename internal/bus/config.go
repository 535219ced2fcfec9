package bus

import (
	"errors"
	"fmt"
	"time"
)

// Storage is where the server keeps streams.
type Storage string

// Storages. Memory survives the death of any baton process but not that of the NATS server.
const (
	Memory Storage = "memory"
	File   Storage = "file"
)

// QueueConfig bounds one work queue.
type QueueConfig struct {
	MaxMsgs    int64         `yaml:"max_msgs" help:"Most jobs in the queue, delivered ones included; more are refused."`
	MaxBytes   int64         `yaml:"max_bytes" help:"Most bytes in the queue; 0: by storage."`
	MaxAge     time.Duration `yaml:"max_age" help:"A job older than this is dropped, whoever holds it."`
	AckWait    time.Duration `yaml:"ack_wait" help:"A job whose worker is silent for this long goes to another."`
	MaxDeliver int           `yaml:"max_deliver" help:"Most deliveries of one job."`
}

// Config says how to reach NATS and what baton keeps there.
type Config struct {
	URL             string        `yaml:"url" help:"NATS servers, comma-separated; unused with the embedded server."`
	Name            string        `yaml:"name" help:"Name of this process in subjects, as permissions know it; empty: its role. Processes of one name are not kept apart."`
	Creds           string        `yaml:"creds" help:"Credentials file."`
	NKey            string        `yaml:"nkey" help:"NKey seed file."`
	User            string        `yaml:"user" help:"User name."`
	Password        string        `yaml:"password" secret:"true" help:"Password of the user."`
	Token           string        `yaml:"token" secret:"true" help:"Authentication token."`
	TLSCA           string        `yaml:"tls_ca" help:"File of CA certificates that sign the server's."`
	TLSCert         string        `yaml:"tls_cert" help:"File of the client certificate."`
	TLSKey          string        `yaml:"tls_key" help:"File of the client certificate's key."`
	ConnectTimeout  time.Duration `yaml:"connect_timeout" help:"Most time from start to a working JetStream."`
	RequestTimeout  time.Duration `yaml:"request_timeout" help:"Most time of one request to JetStream or another process."`
	CloseTimeout    time.Duration `yaml:"close_timeout" help:"Most time to send what is buffered at the end."`
	PendingMessages int           `yaml:"pending_messages" help:"Most messages one subscription may lag behind."`
	PendingBytes    int           `yaml:"pending_bytes" help:"Most bytes one subscription may lag behind."`
	Storage         Storage       `yaml:"storage" help:"Where the server keeps queues and bodies: memory or file."`
	Replicas        int           `yaml:"replicas" help:"Servers that hold each queue: 1, 3 or 5."`
	Prefill         QueueConfig   `yaml:"prefill_queue" help:"The prefill queue."`
	Decode          QueueConfig   `yaml:"decode_queue" help:"The decode queue."`
	BodyTTL         time.Duration `yaml:"body_ttl" help:"A large body is dropped after this long."`
	BodyMaxBytes    int64         `yaml:"body_max_bytes" help:"Most bytes of large bodies; 0: by storage."`
}

// DefaultConfig suits one NATS server without authentication.
func DefaultConfig() Config {
	queue := QueueConfig{MaxAge: 2 * time.Hour, AckWait: 30 * time.Second, MaxDeliver: 5}
	prefill, decode := queue, queue
	prefill.MaxDeliver = 50 // each dispatcher that ends while a job waits counts as a delivery of it
	// What a dead dispatcher held waits for so long. It is longer than the fleet's patience with the silent.
	prefill.AckWait = 10 * time.Second
	prefill.MaxMsgs, decode.MaxMsgs = 100_000, 20_000
	return Config{
		URL:             "nats://127.0.0.1:4222",
		ConnectTimeout:  30 * time.Second,
		RequestTimeout:  5 * time.Second,
		CloseTimeout:    5 * time.Second,
		PendingMessages: 1 << 18,
		PendingBytes:    256 << 20,
		Storage:         Memory,
		Replicas:        1,
		Prefill:         prefill,
		Decode:          decode,
		BodyTTL:         2 * time.Hour,
	}
}

// Validate reports every fault by the setting's name.
func (c Config) Validate() (err error) {
	bad := func(format string, args ...any) { err = errors.Join(err, fmt.Errorf(format, args...)) }
	if c.URL == "" {
		bad("nats.url is empty")
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		bad("nats.tls_cert and nats.tls_key: want both or neither")
	}
	if c.Storage != Memory && c.Storage != File {
		bad("nats.storage is %q, want memory or file", c.Storage)
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		bad("nats.replicas is %d, want 1, 3 or 5", c.Replicas)
	}
	if c.PendingMessages < 1 {
		bad("nats.pending_messages is %d, want 1 or more", c.PendingMessages)
	}
	if c.PendingBytes < 1<<20 {
		bad("nats.pending_bytes is %d, want 1048576 or more", c.PendingBytes)
	}
	if c.BodyMaxBytes < 0 {
		bad("nats.body_max_bytes is %d, want 0 or more", c.BodyMaxBytes)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"connect_timeout", c.ConnectTimeout},
		{"request_timeout", c.RequestTimeout},
		{"close_timeout", c.CloseTimeout},
		{"body_ttl", c.BodyTTL},
	} {
		if d.value <= 0 {
			bad("nats.%s is %v, want more than 0", d.name, d.value)
		}
	}
	return errors.Join(err, c.Prefill.validate("nats.prefill_queue"), c.Decode.validate("nats.decode_queue"))
}

func (c QueueConfig) validate(name string) (err error) {
	bad := func(format string, args ...any) { err = errors.Join(err, fmt.Errorf(name+format, args...)) }
	if c.MaxMsgs < 1 {
		bad(".max_msgs is %d, want 1 or more", c.MaxMsgs)
	}
	if c.MaxBytes < 0 {
		bad(".max_bytes is %d, want 0 or more", c.MaxBytes)
	}
	if c.AckWait < 300*time.Millisecond {
		bad(".ack_wait is %v, want 300ms or more", c.AckWait)
	}
	if c.MaxDeliver < 1 {
		bad(".max_deliver is %d, want 1 or more", c.MaxDeliver)
	}
	if c.MaxAge < c.duplicates() {
		bad(".max_age is %v, want %v (ack_wait × max_deliver and some) or more", c.MaxAge, c.duplicates())
	}
	return err
}

// duplicates is how long the server remembers message ids: longer than a job that nobody keeps
// alive can be redelivered, so that a job published again is never a second one.
func (c QueueConfig) duplicates() time.Duration {
	return c.AckWait*time.Duration(c.MaxDeliver) + 30*time.Second
}

// maxBytes resolves 0 to what suits the storage.
func (c Config) maxBytes(configured, memory, file int64) int64 {
	switch {
	case configured > 0:
		return configured
	case c.Storage == File:
		return file
	default:
		return memory
	}
}
