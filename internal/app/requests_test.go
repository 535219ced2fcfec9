package app

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/api/live"
	"github.com/baton-llm/baton/internal/operator"
)

func adminOf(t *testing.T, address, key string) *operator.Admin {
	t.Helper()
	admin, err := operator.NewAdmin(address, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	return admin
}

// An operator sees a request while its answer comes, ends it, and sees how it ended.
func TestRequestsAreListedAndCancelled(t *testing.T) {
	cfg := quick()
	cfg.Up.UI = "127.0.0.1:0"
	cfg.Sim.TimeScale = 1
	base, d := startUp(t, cfg)
	admin := adminOf(t, d.ui(), "")
	answer := make(chan error, 1)
	go func() {
		_, err := streamChat(t.Context(), http.DefaultClient, base, chatBody(cfg.Sim.Model, "tell", 4000))
		answer <- err
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	// until returns the one request that fits, as soon as ok says so.
	until := func(f operator.RequestFilter, ok func(*live.Request) bool) *live.Request {
		t.Helper()
		for tick := time.NewTicker(50 * time.Millisecond); ; {
			s, err := admin.State(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if found := f.Select(&s.Requests); len(found) == 1 && ok(&found[0]) {
				tick.Stop()
				return &found[0]
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("nothing fits %+v; there are %+v", f, s.Requests)
			}
		}
	}
	r := until(operator.RequestFilter{State: "decoding"}, func(r *live.Request) bool { return r.SentTokens > 0 })
	until(operator.RequestFilter{Worker: r.Worker, Class: "interactive", Model: cfg.Sim.Model}, func(*live.Request) bool { return true })
	s, err := admin.State(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, none := range []operator.RequestFilter{{State: "queued"}, {Class: "batch"}, {Tenant: "x"}, {Model: "x"}, {Worker: "x"}, {Ended: true}} {
		if found := none.Select(&s.Requests); len(found) != 0 {
			t.Errorf("%+v fits %+v", none, found)
		}
	}
	if err := admin.Cancel(ctx, r.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err == nil {
		t.Error("the client of a cancelled request got its whole answer")
	}
	ended := until(operator.RequestFilter{Ended: true, State: "cancelled"}, func(e *live.Request) bool { return e.ID == r.ID })
	if ended.SentTokens == 0 || ended.SentTokens >= 4000 {
		t.Errorf("a cancelled request sent %d tokens", ended.SentTokens)
	}
	if err := admin.Cancel(ctx, r.ID); err == nil || !strings.Contains(err.Error(), r.ID) || !strings.Contains(err.Error(), "another frontend") {
		t.Errorf("cancel of what is over = %v", err)
	}
	if _, err := adminOf(t, base, "").State(ctx); err == nil || !strings.Contains(err.Error(), "api.admin_listen") {
		t.Errorf("the clients' listener = %v", err)
	}
}

func TestOperatorsShowTheirKey(t *testing.T) {
	d, key := startUpWithOperatorsKey(t)
	away := gateTo(t, d, "X-Forwarded-For").URL
	for presented, want := range map[string]string{"": "BATON_ADMIN_KEY", "wrong-key-0123456789": "HTTP 401", key: ""} {
		_, err := adminOf(t, away, presented).State(t.Context())
		if got := err == nil; got != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("with the key %q: %v, want %q", presented, err, want)
		}
	}
}
