// Package natsd runs a NATS server with JetStream inside the process, for `baton up` and for
// tests. It is the only package that imports nats-server and knows nothing of baton's subjects.
package natsd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats-server/v2/server/ats"
)

// Config says where the server listens and how much it may hold.
type Config struct {
	Listen      string `yaml:"listen" help:"Address for NATS clients, host:port; empty: no port, this process only."`
	StoreDir    string `yaml:"store_dir" help:"Directory of JetStream; empty: a temporary one, removed at the end."`
	MaxMemory   int64  `yaml:"max_memory" help:"Most bytes that memory streams may reserve."`
	MaxStore    int64  `yaml:"max_store" help:"Most bytes that file streams may reserve."`
	MaxPayload  int32  `yaml:"max_payload" help:"Most bytes of one message."`
	NoJetStream bool   `yaml:"-"` // for tests of what happens without it
}

// DefaultConfig opens no port and keeps everything in memory or in a temporary directory.
func DefaultConfig() Config {
	return Config{MaxMemory: 8 << 30, MaxStore: 32 << 30, MaxPayload: 1 << 20}
}

// Validate reports every fault by the setting's name.
func (c Config) Validate() (err error) {
	if c.Listen != "" {
		if _, _, e := hostPort(c.Listen); e != nil {
			err = errors.Join(err, e)
		}
	}
	if c.MaxMemory < 1 {
		err = errors.Join(err, fmt.Errorf("nats_server.max_memory is %d, want 1 byte or more", c.MaxMemory))
	}
	if c.MaxStore < 1 {
		err = errors.Join(err, fmt.Errorf("nats_server.max_store is %d, want 1 byte or more", c.MaxStore))
	}
	if c.MaxPayload < 64<<10 || c.MaxPayload > 64<<20 {
		err = errors.Join(err, fmt.Errorf("nats_server.max_payload is %d, want 65536 to 67108864", c.MaxPayload))
	}
	return err
}

// Server is a running NATS server. Its methods are safe for concurrent use.
type Server struct {
	srv *server.Server
	tmp string // removed by Stop, if set
}

const startTimeout = 30 * time.Second

// Start runs a server and returns when it takes connections. The caller must Stop it.
func Start(cfg Config, log *slog.Logger) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("start NATS server: %w", err)
	}
	opts := &server.Options{
		ServerName:         "baton",
		DontListen:         cfg.Listen == "",
		NoSigs:             true,
		NoLog:              true,
		MaxPayload:         cfg.MaxPayload,
		JetStream:          !cfg.NoJetStream,
		JetStreamMaxMemory: cfg.MaxMemory,
		JetStreamMaxStore:  cfg.MaxStore,
		StoreDir:           cfg.StoreDir,
	}
	if cfg.Listen != "" {
		opts.Host, opts.Port, _ = hostPort(cfg.Listen)
	}
	s := &Server{}
	if opts.StoreDir == "" && opts.JetStream {
		dir, err := os.MkdirTemp("", "baton-nats-")
		if err != nil {
			return nil, fmt.Errorf("start NATS server: %w", err)
		}
		s.tmp, opts.StoreDir = dir, dir
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start NATS server: %w", err), s.removeTemp())
	}
	s.srv = srv
	events := &logger{log: log}
	srv.SetLoggerV2(events, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) || (opts.JetStream && !srv.JetStreamEnabled()) {
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("start NATS server: not ready: %s", events.lastFatal()), s.Stop(ctx))
	}
	return s, nil
}

// InProcessConn opens a connection that crosses no network; it makes Server a
// nats.InProcessConnProvider.
func (s *Server) InProcessConn() (net.Conn, error) { return s.srv.InProcessConn() }

// ClientURL is where other processes connect; meaningless if Config.Listen is empty.
func (s *Server) ClientURL() string { return s.srv.ClientURL() }

// Stop ends the server and returns when it has ended or ctx has. It may be called again.
func (s *Server) Stop(ctx context.Context) error {
	done := make(chan struct{})
	go func() { // ends with the server
		defer close(done)
		s.srv.Shutdown()
		s.srv.WaitForShutdown()
	}()
	select {
	case <-done:
		return s.removeTemp()
	case <-ctx.Done():
		return fmt.Errorf("stop NATS server: %w", context.Cause(ctx))
	}
}

func (s *Server) removeTemp() error {
	if s.tmp == "" {
		return nil
	}
	return os.RemoveAll(s.tmp)
}

// HoldClock starts the server's process-wide access-time ticker outside of any testing/synctest
// bubble. Without it the first server of a bubble starts the ticker inside, where it outlives the
// server and keeps the bubble from ending. A TestMain whose tests run a server in a bubble calls it
// first; release may be called once those tests are over.
func HoldClock() (release func()) {
	ats.Register()
	return sync.OnceFunc(ats.Unregister)
}

// DropPooledTimers empties the process's sync.Pools. The NATS client keeps timers in one, and a timer
// of one testing/synctest bubble crashes the next that takes it: call this before each bubble that
// holds a NATS connection, while no other test runs.
func DropPooledTimers() {
	runtime.GC() // moves what is pooled to the victim cache
	runtime.GC() // and frees it
}

func hostPort(listen string) (host string, port int, err error) {
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("nats_server.listen is %q, want host:port", listen)
	}
	port, err = strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("nats_server.listen is %q, want a port from 0 to 65535", listen)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}
