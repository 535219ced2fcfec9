//go:build e2e

package e2evllm

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/natsd"
)

// site is a second deployment in front of the engines of the first, with a process for each part, so that
// parts can be held up one by one.
type site struct {
	*pair
	nats     string
	base     string // of the frontend
	frontend *process
	reader   *process // decode worker
	watched  map[string]string
}

// frozenTime is how long a part may be frozen without being taken for dead.
const frozenTime = 2 * time.Minute

// ownWorkers runs the cases that hold up a part of baton.
func ownWorkers(t *testing.T, p *pair) {
	cfg := natsd.DefaultConfig()
	cfg.Listen, cfg.StoreDir = "127.0.0.1:0", t.TempDir()
	server, err := natsd.Start(cfg, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), stopTime)
		defer cancel()
		_ = server.Stop(ctx)
	})
	s := &site{pair: p, nats: server.ClientURL(), watched: map[string]string{}}
	s.serve(t, "--schedule.mode", "split", "--schedule.short_prompt", "0")
	leaveInQueue(t, s)
	s.reader = s.work(t, "decode", p.decode)
	s.work(t, "prefill", p.prefill)
	s.ready(t)
	p.counts(t) // the prompt of the worker's own check holds a block for one lease

	for _, c := range []struct {
		name string
		run  func(*testing.T, *site)
	}{
		{"a client that leaves between prefill and decode", leaveBetween},
		{"a handle whose lease ends in the queue is prefilled anew", leaseEnds},
		{"a decode worker that is held up in the midst of an answer goes on", heldUp},
		{"prefill engine killed between handle and read", killPrefill},
		{"lending: whole requests on the decode engine", lending},
	} {
		t.Run(c.name, func(t *testing.T) {
			begun := time.Now()
			c.run(t, s)
			t.Logf("took %.0fs", time.Since(begun).Seconds())
		})
	}
}

var servingAt = regexp.MustCompile(`msg=serving .*addr=(\S+)`)

// serve starts the frontend, in the place of the last one.
func (s *site) serve(t *testing.T, args ...string) {
	t.Helper()
	s.frontend = start(t, "frontend", append([]string{
		"frontend", "--nats", s.nats, "--listen", "127.0.0.1:0", "--fleet.missed", fmt.Sprint(int(frozenTime.Seconds())), "--nats.decode_queue.ack_wait", "2s",
	}, args...)...)
	await(t, time.Minute, "the frontend serves", func() bool {
		text, _ := os.ReadFile(s.frontend.log)
		found := servingAt.FindSubmatch(text)
		if found != nil {
			s.base = "http://" + string(found[1])
		}
		return found != nil
	})
}

// ready waits until the frontend says that the model can be served.
func (s *site) ready(t *testing.T) {
	t.Helper()
	await(t, time.Minute, "the site is ready", func() bool {
		_, err := get(t.Context(), s.base+"/readyz")
		return err == nil
	})
}

// work starts a worker in front of an engine. Its metrics are read by role.
func (s *site) work(t *testing.T, role string, e *engine) *process {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String() // free again in a moment
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	s.watched[role] = "http://" + addr
	return start(t, role, role, "--nats", s.nats, "--engine", e.URL, "--worker.metrics", addr, "--nats.decode_queue.ack_wait", "2s", "--prefill.lease", lease.String())
}

// count reads one of baton's own metrics.
func (s *site) count(t *testing.T, base, name string) float64 {
	t.Helper()
	m, err := readMetrics(t.Context(), base)
	if err != nil {
		t.Fatal(err)
	}
	return m[name]
}

const (
	handles     = "baton_kv_handles_issued_total"
	released    = `baton_kv_handles_ended_total{end="released"}`
	handlesOver = `baton_kv_handles_ended_total{end="expired"}`
	heldJobs    = "baton_dispatch_held_jobs"
)

// result is what became of a request that ran beside the test.
type result struct {
	answer
	err error
}

// ask sends a request and returns at once.
func (s *site) ask(ctx context.Context, a ask) <-chan result {
	out := make(chan result, 1)
	go func() {
		got, err := post(ctx, s.base, a)
		out <- result{got, err}
	}()
	return out
}

// handed freezes the decode worker, asks, and returns once the handle is out.
func (s *site) handed(ctx context.Context, t *testing.T, a ask) (thaw func(), end <-chan result) {
	t.Helper()
	before := s.count(t, s.watched["prefill"], handles)
	thaw = s.reader.freeze(t)
	end = s.ask(ctx, a)
	await(t, 2*time.Minute, "the prefill engine has issued a handle", func() bool { return s.count(t, s.watched["prefill"], handles) > before })
	return thaw, end
}

// right holds the end of a request to the text of one engine.
func (s *site) right(t *testing.T, end <-chan result, want answer) answer {
	t.Helper()
	got := <-end
	t.Logf("status %d, %s, %q", got.status, got.way(), got.text())
	if got.err != nil || got.status != 200 || got.text() != want.text() {
		t.Errorf("%v, status %d, %q: %s; want %q", got.err, got.status, got.text(), got.raw, want.text())
	}
	return got.answer
}

// leaveInQueue leaves while there is no worker: the last one has just ended, and its model is still known.
func leaveInQueue(t *testing.T, s *site) {
	worker := s.work(t, "decode", s.decode)
	await(t, time.Minute, "the frontend knows the model", func() bool {
		text, err := get(t.Context(), s.base+"/v1/models")
		return err == nil && regexp.MustCompile(`"`+model+`"`).MatchString(text)
	})
	worker.stop(t)
	before := s.counts(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	end := s.ask(ctx, completion("Nobody waits for the end of this", 10))
	await(t, time.Minute, "the request is in the queue", func() bool { return s.count(t, s.base, heldJobs) == 1 })
	leave()
	if got := <-end; got.err == nil {
		t.Fatalf("the request was answered: %s", got.raw)
	}
	await(t, time.Minute, "the queue is empty", func() bool { return s.count(t, s.base, heldJobs) == 0 })
	s.freed(t, before)
	for i, e := range []*engine{s.prefill, s.decode} {
		if n := e.metrics(t)[prompts] - before[i][prompts]; n != 0 {
			t.Errorf("%s got %v prompt tokens of a request that was given up in the queue", e.Name, n)
		}
	}
}

// leaveBetween leaves when the prompt is computed and no decode worker has taken the handle.
func leaveBetween(t *testing.T, s *site) {
	before := s.counts(t)
	ended := s.count(t, s.watched["prefill"], released)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	thaw, end := s.handed(ctx, t, completion(sentence("Cloud %d is white. ", 40), 50))
	if s.prefill.metrics(t)[kvUsage] == 0 {
		t.Error("the prefill engine holds no block for the handle")
	}
	leave()
	if got := <-end; got.err == nil {
		t.Fatalf("the request was answered: %s", got.raw)
	}
	thaw()
	s.freed(t, before)
	await(t, freeTime, "the ledger has the handle as released", func() bool { return s.count(t, s.watched["prefill"], released) == ended+1 })
}

// leaseEnds holds the decode worker up until the lease is over and the engine has given the blocks to other
// prompts: their text would come back if the handle was used.
func leaseEnds(t *testing.T, s *site) {
	a := completion("1, 2, 3, 4, 5, 6,", 12)
	want := s.reference(t, a)
	over := s.count(t, s.watched["prefill"], handlesOver)
	unread := s.prefill.metrics(t)[expired]
	thaw, end := s.handed(t.Context(), t, a)
	await(t, 2*lease, "the engine's lease has ended", func() bool { return s.prefill.metrics(t)[expired] > unread })
	for i := range 3 {
		posted(t, s.prefill.URL, completion(sentence(fmt.Sprintf("River %d-%%d is long. ", i), 20), 1))
	}
	thaw()
	got := s.right(t, end, want)
	t.Logf("handles expired: %v", s.count(t, s.watched["prefill"], handlesOver)-over)
	if got.header.Get("X-Baton-Attempts") == "1" {
		t.Errorf("%s: want a second attempt", got.way())
	}
	if n := s.prefill.metrics(t)[late]; n != 0 {
		t.Errorf("the prefill engine counts %v reads after the end of a lease", n)
	}
}

// heldUp holds the decode worker up in the midst of an answer, for longer than its queue waits for a sign of life.
// Its job has left the queue and comes to nobody else: a handle is read once.
func heldUp(t *testing.T, s *site) {
	a := completion("1, 2, 3, 4,", 60)
	a.body = a.body.with("ignore_eos", true)
	want := s.reference(t, a)
	end := s.ask(t.Context(), a)
	await(t, 2*time.Minute, "the decode engine answers", func() bool { return s.decode.metrics(t)[running] > 0 })
	thaw := s.reader.freeze(t)
	held := time.NewTimer(6 * time.Second) // three times what the queue waits
	<-held.C
	thaw()
	s.right(t, end, want)
	s.counts(t)
}

// lending has prompts run whole on the decode engine: short ones, and a long one while the prefill worker
// has another.
func lending(t *testing.T, s *site) {
	s.frontend.stop(t)
	s.serve(t, "--schedule.mode", "elastic", "--schedule.short_prompt", "16", "--schedule.prefill_window", "64", "--schedule.slo.tpot", "10s")
	s.ready(t)
	short := completion("1, 2, 3,", 8)
	got := s.right(t, s.ask(t.Context(), short), s.reference(t, short))
	if got.header.Get("X-Baton-Why") != "short" {
		t.Errorf("%s, want whole (short)", got.way())
	}
	asks := []ask{completion(sentence("Line %d is written. ", 120), 8), completion(sentence("Tree %d is green. ", 120), 8)}
	wants := []answer{s.reference(t, asks[0]), s.reference(t, asks[1])}
	ends := []<-chan result{s.ask(t.Context(), asks[0]), s.ask(t.Context(), asks[1])}
	ways := map[string]int{}
	for i, end := range ends {
		got := s.right(t, end, wants[i])
		ways[got.header.Get("X-Baton-Why")]++
	}
	if ways["lend"] != 1 || ways["split"] != 1 {
		t.Errorf("two long prompts at once went %v, want one split and one lent", ways)
	}
}
