package auth

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

func TestKeysOfTheFileAndOfTheSetting(t *testing.T) {
	file := keysFile(t, `# who may do what
keys:
  - name: acme
    hash: ACME
    class: standard
    models: [small, org/large]
  - {name: other, hash: OTHER, disabled: true}
`)
	k := open(t, Config{KeysFile: file, Keys: Secrets{DigestOf(batchKey), DigestOf(otherKey)}}, slog.New(slog.DiscardHandler))
	acme := usable(t, k, acmeKey)
	if acme.Name != "acme" || acme.Class != wire.Standard || !acme.Serves("org/large") || acme.Serves("large") {
		t.Errorf("acme's key is %+v", acme)
	}
	if own := usable(t, k, batchKey); own.Name != "default" || own.Class != wire.Interactive || !own.Serves("anything") {
		t.Errorf("the setting's key is %+v", own)
	}
	if _, err := k.Find(otherKey); !errors.Is(err, ErrDisabled) {
		t.Errorf("a key that the file disables and the setting names: %v, want ErrDisabled", err)
	}
	for _, wrong := range []string{"", acmeKey + "x", acmeKey[1:], DigestOf(acmeKey).String()} {
		if _, err := k.Find(wrong); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v, want ErrUnknown", wrong, err)
		}
	}
}

func TestKeyExpires(t *testing.T) {
	file := keysFile(t, "keys: [{name: a, hash: ACME, expires: 2000-01-02}, {name: b, hash: OTHER, expires: '2000-01-01T13:00:00+01:00'}]")
	synctest.Test(t, func(t *testing.T) { // begins with the year 2000
		k := open(t, Config{KeysFile: file}, slog.New(slog.DiscardHandler))
		time.Sleep(12*time.Hour - time.Nanosecond)
		usable(t, k, otherKey)
		time.Sleep(time.Nanosecond)
		if _, err := k.Find(otherKey); !errors.Is(err, ErrExpired) {
			t.Errorf("at noon: %v, want ErrExpired", err)
		}
		usable(t, k, acmeKey)
		time.Sleep(12 * time.Hour)
		if _, err := k.Find(acmeKey); !errors.Is(err, ErrExpired) {
			t.Errorf("on the second of January: %v, want ErrExpired", err)
		}
	})
}

func TestReload(t *testing.T) {
	file := keysFile(t, "keys: [{name: acme, hash: ACME, limits: {requests_per_minute: 2}}, {name: gone, hash: BATCH}]")
	synctest.Test(t, func(t *testing.T) {
		var log logged
		k := open(t, Config{KeysFile: file}, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- k.Run(ctx) }()
		polled := func() { // the file is read again, and nothing runs while it is written next
			time.Sleep(pollEvery)
			synctest.Wait()
		}
		enter := func() error {
			_, err := usable(t, k, acmeKey).Enter(1)
			return err
		}
		for range 2 {
			if err := enter(); err != nil {
				t.Fatal(err)
			}
		}
		polled()
		if log.String() != "" {
			t.Errorf("the file is as it was, and the log says %s", log.String())
		}

		rewrite(t, file, "keys:\n- name: acme\n  hash: ACME\n  limit: {}\n")
		for range 5 {
			polled()
		}
		if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "line 4: ") {
			t.Errorf("the log of a broken file is %s, want one warning with the line", text)
		}
		usable(t, k, batchKey)

		log.Reset()
		rewrite(t, file, "keys: [{name: acme, hash: OTHER, limits: {requests_per_minute: 2}}, {name: acme, hash: ACME}, {name: new, hash: BATCH}]")
		polled()
		usable(t, k, otherKey)
		if name := usable(t, k, batchKey).Name; name != "new" {
			t.Errorf("the key of another tenant is still %s's", name)
		}
		if !strings.Contains(log.String(), "keys=3") {
			t.Errorf("the log of a new file is %s", log.String())
		}
		var refusal *Refusal
		if err := enter(); !errors.As(err, &refusal) || refusal.RetryAfter != 9*time.Second {
			t.Errorf("21 s after two requests at two a minute: %v, want 9 s to wait", err)
		}

		log.Reset()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			polled()
		}
		if strings.Count(log.String(), "level=WARN") != 1 {
			t.Errorf("the log of a file that is gone is %s, want one warning", log.String())
		}
		usable(t, k, acmeKey)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run = %v", err)
		}
	})
}

func TestNewRefusesAFileThatCannotBeUsed(t *testing.T) {
	for name, file := range map[string]string{"missing": t.TempDir() + "/none.yaml", "a folder": t.TempDir(), "a fault": keysFile(t, "keys: 3")} {
		if _, err := New(Config{KeysFile: file}, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: New = %v, want an error that names the file", name, err)
		}
	}
}

func TestRunWithoutAFileEndsWithItsContext(t *testing.T) {
	k := open(t, Config{Keys: Secrets{DigestOf(acmeKey)}}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := k.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v", err)
	}
}
