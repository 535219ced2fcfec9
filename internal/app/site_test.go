package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"
)

// site is a deployment in virtual time whose workers are processes of their own.
type site struct {
	d       *deployment
	cfg     Config
	client  *http.Client
	base    string
	workers []*part // in the order of d.engines
}

// part is one worker process.
type part struct {
	*simulated

	proc   *process
	leave  func() // ends it as SIGTERM does, and returns when it has drained
	kill   func() // ends it without a word to anybody
	killed bool
}

// onSite runs f at a site of which the first workers run, and checks that nothing is held at the end.
// start starts the others.
func onSite(t *testing.T, cfg Config, first func(*simulated) bool, f func(t *testing.T, s *site)) {
	natsdtest.Bubble(t, func(t *testing.T) {
		m, err := newInMemory(t.Context(), &cfg, t.Output())
		if err != nil {
			t.Fatal(err)
		}
		d := m.deployment
		defer d.close()
		engines := newLayer(t.Context())
		for _, e := range d.engines {
			engines.run(func(ctx context.Context) error { return e.engine.Run(ctx, e.ln) })
		}
		transport := &http.Transport{DialContext: m.network.dial}
		s := &site{d: d, cfg: *d.proc.cfg, client: &http.Client{Transport: transport}, base: MemoryURL}
		for _, e := range d.engines {
			if first(e) {
				s.start(t, e)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ready, ended := make(chan struct{}), make(chan error, 1)
		go func() { ended <- d.proc.frontend(ctx, m.ln, func() { close(ready) }) }()
		<-ready

		defer func() {
			transport.CloseIdleConnections()
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("frontend = %v", err)
			}
			for _, p := range s.workers {
				p.leave()
			}
			if err := engines.stop(); err != nil {
				t.Errorf("engines = %v", err)
			}
		}()
		f(t, s)
		var registries []*prometheus.Registry
		for _, p := range s.workers {
			if !p.killed {
				registries = append(registries, p.proc.reg)
			}
		}
		nothingHeld(t, d, registries...)
	})
}

func (s *site) start(t *testing.T, e *simulated) *part {
	t.Helper()
	proc, err := open(t.Context(), s.d.proc.cfg, string(e.role), s.d.nats, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	proc.single = true // so that an operator may end its worker
	p := &part{simulated: e, proc: proc}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- proc.worker(ctx, e.worker, e.role, e.url(), s.d.network.dial, nil) }()
	var once sync.Once
	p.leave = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("%s = %v", e.worker, err)
			}
			proc.close()
		})
	}
	p.kill = func() {
		once.Do(func() {
			p.killed = true
			proc.bus.Close()
			cancel()
			<-ended
			proc.closeTracing()
		})
	}
	s.workers = append(s.workers, p)
	return p
}

// of returns the running workers of a role.
func (s *site) of(role wire.Role) (parts []*part) {
	for _, p := range s.workers {
		if p.role == role {
			parts = append(parts, p)
		}
	}
	return parts
}

// proven asks for a streamed answer and checks that it is the prompt's.
func (s *site) proven(t *testing.T, prompt string, tokens int) error {
	body := chatBody(s.cfg.Sim.Model, prompt, tokens)
	got, err := streamChat(t.Context(), s.client, s.base, body)
	if want := proof(t, body, tokens); err == nil && got != want {
		return fmt.Errorf("text %q, want %q", got, want)
	}
	return err
}

func everyone(*simulated) bool { return true }

// The decode worker whose room is reserved goes while the prompt is still being computed. The handle is
// then for nobody, and the request runs again.
func TestDecodeWorkerGoesBeforeItsHandleComes(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(*part)
		most time.Duration // of the whole request
	}{
		"dies":   {func(p *part) { p.kill() }, 6 * time.Second}, // silence for 3 s is death
		"leaves": {func(p *part) { p.leave() }, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := onePair()
			cfg.Up.Decode = 2
			cfg.Sim.Lease, cfg.Prefill.Lease = 10*time.Second, 10*time.Second
			decodes := 0
			onSite(t, cfg, func(e *simulated) bool {
				if e.role == wire.RoleDecode {
					decodes++
				}
				return e.role == wire.RolePrefill || decodes == 1
			}, func(t *testing.T, s *site) {
				begun, answer := time.Now(), make(chan error, 1)
				go func() { answer <- s.proven(t, longPrompt(1), 5) }()
				time.Sleep(200 * time.Millisecond) // of about 550 for the prompt
				for _, e := range s.d.engines {
					if e.role == wire.RoleDecode && e != s.of(wire.RoleDecode)[0].simulated {
						s.start(t, e)
						break
					}
				}
				c.end(s.of(wire.RoleDecode)[0])
				if err := <-answer; err != nil {
					t.Error(err)
				}
				if took := time.Since(begun); took > c.most {
					t.Errorf("the answer took %v, want less than %v", took, c.most)
				}
				// The handle that nobody reads holds its blocks until the lease is over.
				time.Sleep(s.cfg.Sim.Lease)
			})
		})
	}
}

// A prefill worker dies with prompts in its engine and others assigned to it.
func TestPrefillWorkerDies(t *testing.T) {
	cfg := onePair()
	cfg.Up.Prefill = 2
	cfg.Sim.Lease, cfg.Prefill.Lease = 10*time.Second, 10*time.Second
	onSite(t, cfg, everyone, func(t *testing.T, s *site) {
		var g errgroup.Group
		for i := range 20 {
			g.Go(func() error { return s.proven(t, longPrompt(i), 5) })
		}
		time.Sleep(1200 * time.Millisecond)
		begun := time.Now()
		s.of(wire.RolePrefill)[0].kill()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 20*time.Second { // one engine needs 0.55 s for each
			t.Errorf("the rest took %v", took)
		}
		time.Sleep(s.cfg.Sim.Lease)
	})
}

// One worker of each kind ends as on SIGTERM while requests of all lengths come and go. Nobody notices.
func TestWorkersDrainUnderLoad(t *testing.T) {
	for name, mode := range map[string]func(Config) Config{
		"split":   splitting,
		"elastic": func(c Config) Config { c.Schedule = DefaultConfig().Schedule; return c },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mode(onePair())
			cfg.Up.Prefill, cfg.Up.Decode, cfg.Up.Drain = 2, 2, 2*time.Minute
			onSite(t, cfg, everyone, func(t *testing.T, s *site) {
				var g errgroup.Group
				for i := range 80 {
					prompt := longPrompt(i)
					if i%3 == 0 {
						prompt = fmt.Sprint("short ", i)
					}
					g.Go(func() error {
						if err := s.proven(t, prompt, 50); err != nil {
							return fmt.Errorf("request %d: %w", i, err)
						}
						return nil
					})
					if i == 30 {
						g.Go(func() error { s.of(wire.RoleDecode)[0].leave(); return nil })
					}
					if i == 50 {
						g.Go(func() error { s.of(wire.RolePrefill)[0].leave(); return nil })
					}
					time.Sleep(100 * time.Millisecond)
				}
				if err := g.Wait(); err != nil {
					t.Error(err)
				}
				synctest.Wait() // a client has its last byte before its request is counted
				if n := metric(t, s.d.proc.reg, "baton_requests_total", "done"); n != 80 {
					t.Errorf("%v requests are done, want 80", n)
				}
			})
		})
	}
}

// Requests of all kinds, some of whose clients leave at any moment: at the end nobody holds anything.
func TestNothingIsLeftOfManyRequests(t *testing.T) {
	cfg := onePair()
	cfg.Schedule = DefaultConfig().Schedule
	cfg.Up.Prefill, cfg.Up.Decode = 2, 2
	cfg.Sim.Lease, cfg.Prefill.Lease = 10*time.Second, 10*time.Second
	onSite(t, cfg, everyone, func(t *testing.T, s *site) {
		const requests = 300
		rng := rand.New(rand.NewPCG(1, 2))
		var g errgroup.Group
		left := 0
		for i := range requests {
			prompt := fmt.Sprintf("%d %s", i, strings.Repeat("x", 4*rng.IntN(6000)))
			body := chatBody(s.cfg.Sim.Model, prompt, 1+rng.IntN(60))
			switch i % 4 {
			case 1:
				body = strings.Replace(body, `"stream":true`, `"stream":false`, 1)
			case 2:
				body = strings.Replace(body, `"stream":true`, `"stream":false,"n":2`, 1)
			}
			class := []string{"interactive", "standard", "batch"}[rng.IntN(3)]
			leaves, patience := rng.IntN(3) == 0, time.Duration(rng.IntN(20_000))*time.Millisecond
			if leaves {
				left++
			}
			g.Go(func() error {
				ctx := t.Context()
				if leaves {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, patience)
					defer cancel()
				}
				status, err := s.post(ctx, body, class)
				if leaves && errors.Is(err, context.DeadlineExceeded) {
					return nil
				}
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("status %d", status)
				}
				if err != nil {
					return fmt.Errorf("request %d: %w", i, err)
				}
				return nil
			})
			time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		reg := s.d.proc.reg
		done, cancelled := metric(t, reg, "baton_requests_total", "done"), metric(t, reg, "baton_requests_total", "cancelled")
		if int(done+cancelled) != requests || int(cancelled) > left || cancelled < 10 {
			t.Errorf("%v requests are done and %v cancelled, want %d in all", done, cancelled, requests)
		}
		if n := metric(t, reg, "baton_requests_in_flight", ""); n != 0 {
			t.Errorf("%v requests are still in flight", n)
		}
		// An abort that crosses the engine's answer leaves blocks until the lease is over.
		time.Sleep(s.cfg.Sim.Lease)
	})
}

// post sends one request and reads the whole answer.
func (s *site) post(ctx context.Context, body, class string) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Baton-Class", class)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
