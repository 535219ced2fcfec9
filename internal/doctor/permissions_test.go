package doctor_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/doctor"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/baton-llm/baton/internal/telemetry"
	"github.com/baton-llm/baton/internal/wire"
)

// guarded lets in the users of baton; a password is the user's name.
func guarded(t *testing.T) *natsdtest.Server {
	t.Helper()
	for _, role := range bus.Users() {
		t.Setenv("NATS_"+strings.ToUpper(string(role))+"_PASSWORD", string(role))
	}
	var conf strings.Builder
	if err := bus.PrintPermissions(&conf, "", ""); err != nil {
		t.Fatal(err)
	}
	return natsdtest.Start(t, fmt.Sprintf("%s\njetstream { store_dir: %q, max_memory_store: 8GB }", conf.String(), t.TempDir()))
}

func as(s *natsdtest.Server, user, role wire.Role) doctor.Subject {
	cfg := bus.DefaultConfig()
	cfg.URL, cfg.User, cfg.Password = s.URL(), string(user), string(user)
	return doctor.Subject{NATS: cfg, Fleet: fleet.DefaultConfig(), Role: role, Listen: 10 * time.Millisecond}
}

// Trying what a role may do leaves everything at the server as it is.
func TestPermissionsAreTriedWithoutEffect(t *testing.T) {
	s := guarded(t)
	frontend := as(s, wire.RoleFrontend, wire.RoleFrontend)
	b, err := bus.Connect(t.Context(), frontend.NATS, "frontend", nil, telemetry.Registry(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Prefill().Publish(t.Context(), &wire.PrefillJob{Request: wire.Request{ID: "1", Model: "m", Attempt: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.PutBody(t.Context(), []byte("body")); err != nil {
		t.Fatal(err)
	}
	before := standings(t, b)
	for _, role := range bus.Users() {
		says(t, doctor.Examine(t.Context(), as(s, role, role)), doctor.OK, "this user may do what the role "+string(role)+" needs", "")
	}
	if after := standings(t, b); after != before {
		t.Errorf("the streams were\n%s\nand are\n%s", before, after)
	}
}

func standings(t *testing.T, b *bus.Bus) string {
	t.Helper()
	all, err := b.Standings(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, s := range all {
		fmt.Fprintln(&said, s.Stream, s.Messages, s.Bytes, s.MaxMessages, s.MaxBytes, s.Subjects)
	}
	return said.String()
}

func TestMissingPermissionsAreNamed(t *testing.T) {
	s := guarded(t)
	report := doctor.Examine(t.Context(), as(s, wire.RoleDecode, wire.RoleFrontend))
	says(t, report, doctor.Problem, "publish to baton.prefill.>", "baton nats permissions frontend")
	report = doctor.Examine(t.Context(), as(s, wire.RolePrefill, wire.RoleDecode))
	says(t, report, doctor.Problem, "subscribe to baton.assign.decode.*", "baton nats permissions decode")
	for _, f := range report.Findings() {
		if strings.Contains(f.Found, "publish to "+wire.HelloSubject) {
			t.Errorf("what is allowed counts as denied: %s", f.Found)
		}
	}
	unknown := as(s, "nobody", bus.Operator)
	unknown.NATS.ConnectTimeout = time.Second
	says(t, doctor.Examine(t.Context(), unknown), doctor.Problem, "the server does not know this process", "")
}

// An account without room for the queues is found before a frontend fails there.
func TestAccountTooSmallForTheQueues(t *testing.T) {
	s := natsdtest.Start(t, fmt.Sprintf(`
		accounts { A { jetstream: { max_mem: 1GB, max_file: 1GB }, users: [ { user: operator, password: operator } ] } }
		jetstream { store_dir: %q, max_memory_store: 8GB }`, t.TempDir()))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	says(t, doctor.Examine(ctx, as(s, bus.Operator, bus.Operator)), doctor.Problem, "the queues to be made reserve 3 GiB, and the account has 1 GiB left in memory", "nats.body_max_bytes")
}
