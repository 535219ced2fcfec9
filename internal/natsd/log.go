package natsd

import (
	"fmt"
	"log/slog"
	"sync/atomic"
)

// logger passes the server's own lines on; the server formats them, so they are data here.
type logger struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
}

func (l *logger) Noticef(format string, v ...any) {
	l.log.Debug("nats server", slog.String("event", fmt.Sprintf(format, v...)))
}

func (l *logger) Warnf(format string, v ...any) {
	l.log.Warn("nats server", slog.String("event", fmt.Sprintf(format, v...)))
}

func (l *logger) Errorf(format string, v ...any) {
	l.log.Error("nats server", slog.String("event", fmt.Sprintf(format, v...)))
}

// Fatalf does not end the process: Start finds the server not ready and reports the line.
func (l *logger) Fatalf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	l.fatal.Store(&line)
	l.log.Error("nats server", slog.String("event", line))
}

func (l *logger) Debugf(string, ...any) {}
func (l *logger) Tracef(string, ...any) {}

func (l *logger) lastFatal() string {
	if line := l.fatal.Load(); line != nil {
		return *line
	}
	return "no reason given"
}
