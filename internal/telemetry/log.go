package telemetry

import (
	"fmt"
	"io"
	"log/slog"
)

// LogConfig is the YAML section log.
type LogConfig struct {
	Level  slog.Level `yaml:"level" help:"least level that is logged: debug, info, warn or error"`
	Format string     `yaml:"format" help:"form of a log line: text or json"`
}

// DefaultLogConfig logs info and above as text.
func DefaultLogConfig() LogConfig {
	return LogConfig{Level: slog.LevelInfo, Format: "text"}
}

// Validate reports what is wrong, by YAML name.
func (c LogConfig) Validate() error {
	switch c.Format {
	case "text", "json":
		return nil
	default:
		return fmt.Errorf("log.format is %q, want text or json", c.Format)
	}
}

// Logger writes one line per record to w, in cfg's form. It may be used from many goroutines at
// once; each line is one Write.
func Logger(cfg LogConfig, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
