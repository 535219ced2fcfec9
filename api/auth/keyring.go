package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// pollEvery is how soon a change of the keys file holds.
	pollEvery = 3 * time.Second

	// ownTenant is whose the keys of api.keys are; they have no name of their own.
	ownTenant = "default"
)

// Keyring holds the keys that are valid now. Its methods are safe for concurrent use.
type Keyring struct {
	cfg  Config
	log  *slog.Logger
	keys atomic.Pointer[map[Digest]*Key]

	// Of New, and then of Run.
	tenants map[string]*tenant
	seen    Digest // of the file's text when it was last read, good or not; zero: it could not be read
}

// New reads the keys; Run keeps them up to date.
func New(cfg Config, log *slog.Logger) (*Keyring, error) {
	k := &Keyring{cfg: cfg, log: log, tenants: make(map[string]*tenant)}
	if cfg.KeysFile == "" {
		k.install(nil, nil)
		return k, nil
	}
	if _, err := k.reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Find returns what the presented key allows now. The error is a *Denied.
func (k *Keyring) Find(presented string) (*Key, error) {
	return find(*k.keys.Load(), presented, time.Now())
}

// Run looks every few seconds whether the keys file has changed, until ctx ends. A file that cannot
// be used is logged once and leaves the keys as they were.
func (k *Keyring) Run(ctx context.Context) error {
	if k.cfg.KeysFile == "" {
		<-ctx.Done()
		return ctx.Err()
	}
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	told := ""
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		changed, err := k.reload()
		switch {
		case err != nil && err.Error() != told:
			told = err.Error()
			k.log.WarnContext(ctx, "keys file not usable, the old keys stay", slog.Any("error", err))
		case changed:
			told = ""
			k.log.InfoContext(ctx, "keys file read again", slog.Int("keys", len(*k.keys.Load())))
		}
	}
}

// reload reads the file and does nothing if it is as it was.
func (k *Keyring) reload() (changed bool, err error) {
	text, err := readFile(k.cfg.KeysFile)
	if err != nil {
		k.seen = Digest{}
		return false, fmt.Errorf("read the keys file (api.keys_file): %w", err)
	}
	digest := Digest(sha256.Sum256(text))
	if digest == k.seen {
		return false, nil
	}
	k.seen = digest
	keys, limits, err := parse(text)
	if err != nil {
		return false, fmt.Errorf("keys file %s (api.keys_file): %w", k.cfg.KeysFile, err)
	}
	k.install(keys, limits)
	return true, nil
}

// install makes the file's keys and those of api.keys the valid ones. A key that is in both is the
// file's, which may restrict it.
func (k *Keyring) install(keys []*Key, limits map[string]bounds) {
	valid := make(map[Digest]*Key, len(keys)+len(k.cfg.Keys))
	for _, digest := range k.cfg.Keys {
		valid[digest] = &Key{Name: ownTenant, digest: digest}
	}
	for _, key := range keys {
		valid[key.digest] = key
	}
	present := make(map[string]*tenant)
	for _, key := range valid {
		key.tenant = present[key.Name]
		if key.tenant == nil {
			key.tenant = k.tenants[key.Name]
		}
		if key.tenant == nil {
			key.tenant = &tenant{name: key.Name}
		}
		present[key.Name] = key.tenant
	}
	now := time.Now()
	for name, t := range present {
		t.set(limits[name], now)
	}
	k.tenants = present
	k.keys.Store(&valid)
}
