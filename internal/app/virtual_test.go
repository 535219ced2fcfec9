package app

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/pipenet"
	"golang.org/x/sync/errgroup"
)

// The whole pipeline, with the real NATS server, in virtual time: a burst of long prompts at a
// fixed split takes minutes of the engines' time and seconds of ours.
func TestBurstOfLongPromptsInVirtualTime(t *testing.T) {
	const requests, tokens = 100, 50
	natsd.DropPooledTimers()
	defer natsd.DropPooledTimers() // this bubble's timers must not reach the next test
	synctest.Test(t, func(t *testing.T) {
		cfg := DefaultConfig()
		cfg.Up.Prefill, cfg.Up.Decode = 1, 1
		cfg.Sim.Profile = "llama-70b-h100-tp4"
		cfg.Log.Level = 8
		mem := pipenet.New()
		d, err := newDeploymentOn(t.Context(), &cfg, t.Output(), network{
			listen: func(_, addr string) (net.Listener, error) { return mem.Listen(addr) }, dial: mem.Dial,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer d.close()
		ln, err := mem.Listen("frontend:8000")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- d.run(ctx, ln, func() { close(ready) }) }()
		<-ready

		transport := &http.Transport{DialContext: mem.Dial}
		client := &http.Client{Transport: transport}
		begun := time.Now()
		var g errgroup.Group
		for i := range requests {
			body := chatBody(cfg.Sim.Model, fmt.Sprintf("%d %s", i, strings.Repeat("x", 4*8192)), tokens)
			want := proof(t, body, tokens)
			g.Go(func() error {
				got, err := streamChat(t.Context(), client, "http://frontend:8000", body)
				if err == nil && got != want {
					err = fmt.Errorf("text %q, want %q", got, want)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		// One TP4 engine needs about 0.55 s for each of these prompts, and they come one after the other.
		if took := time.Since(begun); took < 30*time.Second || took > 2*time.Minute {
			t.Errorf("the burst took %v of virtual time", took)
		}
		nothingHeld(t, d)
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run = %v", err)
		}
	})
}
