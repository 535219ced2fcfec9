package auth

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Keys of the tests, and their hashes for files.
const (
	acmeKey  = "acme-key-0123456789"
	otherKey = "other-key-0123456789"
	batchKey = "batch-key-0123456789"
)

func hashes(text string) string {
	return strings.NewReplacer(
		"ACME", DigestOf(acmeKey).String(), "OTHER", DigestOf(otherKey).String(), "BATCH", DigestOf(batchKey).String(),
	).Replace(text)
}

// logged is a log that one goroutine writes and another reads.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
}

// keysFile writes a keys file in which ACME, OTHER and BATCH stand for hashes, and returns its name.
func keysFile(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys.yaml")
	rewrite(t, name, text)
	return name
}

func rewrite(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(hashes(text)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, cfg Config, log *slog.Logger) *Keyring {
	t.Helper()
	k, err := New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func usable(t *testing.T, k *Keyring, presented string) *Key {
	t.Helper()
	key, err := k.Find(presented)
	if err != nil {
		t.Fatalf("a good key is refused: %v", err)
	}
	return key
}
