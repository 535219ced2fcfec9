package natsd_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/natsd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, cfg natsd.Config) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestServesInProcessWithoutAPort(t *testing.T) {
	s := start(t, natsd.DefaultConfig())
	conn, err := s.InProcessConn()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 4)
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(buf); err != nil || string(buf) != "INFO" {
		t.Errorf("server greets with %q, %v", buf, err)
	}
}

func TestListensWhereItIsTold(t *testing.T) {
	cfg := natsd.DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	if url := start(t, cfg).ClientURL(); !strings.HasPrefix(url, "nats://127.0.0.1:") || strings.HasSuffix(url, ":0") {
		t.Errorf("ClientURL = %q", url)
	}
}

func TestStopRemovesTheTemporaryDirectory(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s, err := natsd.Start(natsd.DefaultConfig(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("Stop left %v, %v", left, err)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	_, err := natsd.Start(natsd.Config{Listen: "nowhere"}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("Start succeeded")
	}
	for _, name := range []string{"nats_server.listen", "nats_server.max_memory", "nats_server.max_store", "nats_server.max_payload"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("error %q does not name %s", err, name)
		}
	}
}
