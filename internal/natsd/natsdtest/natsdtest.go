// Package natsdtest runs NATS servers by their own configuration files, for tests of what only real
// servers do: users, permissions, certificates, files, clusters.
package natsdtest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// ready bounds each wait for a server.
const ready = 60 * time.Second

// Server is one server, or one that was.
type Server struct {
	srv  *server.Server
	conf string
	port int
}

// Start runs a server with the text of a configuration file, on a loopback port of its own unless conf
// says which. The test's end stops it.
func Start(t testing.TB, conf string) *Server {
	t.Helper()
	s := &Server{conf: conf, port: server.RANDOM_PORT}
	s.Restart(t)
	t.Cleanup(s.Stop)
	return s
}

// Restart runs the server again on the port that it had.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.begin(t)
	s.await(t)
}

func (s *Server) await(t testing.TB) {
	t.Helper()
	if !s.srv.ReadyForConnections(ready) {
		t.Fatal("NATS server is not ready")
	}
	s.port = s.srv.Addr().(*net.TCPAddr).Port
}

func (s *Server) begin(t testing.TB) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	if err := os.WriteFile(file, []byte(s.conf), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoSigs, opts.NoLog = "127.0.0.1", s.port, true, true
	if s.srv, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	s.srv.Start()
}

// Stop ends the server without a word to its clients; one that has ended stays so.
func (s *Server) Stop() {
	s.srv.Shutdown()
	s.srv.WaitForShutdown()
}

// URL is where clients connect.
func (s *Server) URL() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.port) }

// Cluster is servers that keep streams together.
type Cluster []*Server

// StartCluster runs n servers and returns when they are one.
func StartCluster(t testing.TB, n int) Cluster {
	t.Helper()
	routes := freeAddrs(t, n)
	cluster := make(Cluster, n)
	for i, at := range routes {
		cluster[i] = &Server{port: server.RANDOM_PORT, conf: fmt.Sprintf(`
			server_name: n%d
			jetstream { store_dir: %q, max_memory_store: 8GB, max_file_store: 32GB }
			cluster { name: baton, listen: %q, routes: ["nats://%s"] }`,
			i, t.TempDir(), at, strings.Join(routes, `", "nats://`))}
		cluster[i].begin(t)
		t.Cleanup(cluster[i].Stop)
	}
	for _, s := range cluster {
		s.await(t)
	}
	wait(t, "a leader of the cluster", func() bool {
		return slices.ContainsFunc(cluster, func(s *Server) bool { return s.srv.JetStreamIsLeader() && len(s.srv.JetStreamClusterPeers()) == n })
	})
	return cluster
}

// URLs is where clients connect, any of them.
func (c Cluster) URLs() string {
	urls := make([]string, len(c))
	for i, s := range c {
		urls[i] = s.URL()
	}
	return strings.Join(urls, ",")
}

// Leader waits for the server that leads a stream of the only account.
func (c Cluster) Leader(t testing.TB, stream string) (leader *Server) {
	t.Helper()
	wait(t, "a leader of "+stream, func() bool {
		i := slices.IndexFunc(c, func(s *Server) bool {
			return s.srv.Running() && s.srv.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream)
		})
		if i >= 0 {
			leader = c[i]
		}
		return i >= 0
	})
	return leader
}

// Running tells whether the server was started and not stopped.
func (s *Server) Running() bool { return s.srv.Running() }

// freeAddrs are n loopback addresses that nobody listens on.
func freeAddrs(t testing.TB, n int) (addrs []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close() // all are held until each is known
		addrs = append(addrs, ln.Addr().String())
	}
	return addrs
}

func wait(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(ready), time.NewTicker(10*time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("waited %v for %s", ready, what)
		}
	}
}
