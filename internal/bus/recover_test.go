package bus_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// This test runs in real time: the client's reconnection needs a real network.
func TestBusSurvivesARestartOfAServerThatForgetsAll(t *testing.T) {
	listen := func(addr string) (url string, stop func()) {
		cfg := natsd.DefaultConfig()
		cfg.Listen = addr
		s, err := natsd.Start(cfg, quiet)
		if err != nil {
			t.Fatal(err)
		}
		return s.ClientURL(), func() {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			if err := s.Stop(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	natsd.DropPooledTimers()
	url, stop := listen("127.0.0.1:0")
	cfg := bus.DefaultConfig()
	cfg.URL = url
	reg := prometheus.NewRegistry()
	b, err := bus.Connect(t.Context(), cfg, "test", nil, reg, quiet)
	if err != nil {
		stop()
		t.Fatal(err)
	}
	defer b.Close()
	f := &fixture{T: t, bus: b, reg: reg}
	f.publish(job("m", 1))
	if err := f.one("m").Done(t.Context()); err != nil {
		t.Error(err)
	}
	forgotten := job("m", 3)
	at := f.publish(forgotten)
	stop()
	_, stop = listen(strings.TrimPrefix(url, "nats://"))
	defer stop()
	f.publish(job("m", 2))
	if d := f.one("m"); d.Job.Stream != 2 {
		t.Errorf("got job %d, want 2", d.Job.Stream)
	}
	lost, err := b.Prefill().Lost(t.Context(), map[string]uint64{forgotten.MsgID(): at.Seq})
	if err != nil || len(lost) != 1 {
		t.Errorf("Lost = %v, %v; want the job that the server has forgotten", lost, err)
	}
	ref, err := b.PutBody(t.Context(), []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := b.GetBody(t.Context(), ref); err != nil || string(got) != "body" {
		t.Errorf("GetBody = %q, %v", got, err)
	}
}

// With files, what is queued is there again after a restart, and the connection comes back by itself.
func TestQueuedJobsSurviveARestartOfAServerWithFiles(t *testing.T) {
	natsd.DropPooledTimers()
	server := natsdtest.Start(t, fmt.Sprintf("jetstream { store_dir: %q, max_file_store: 32GB }", t.TempDir()))
	cfg := bus.DefaultConfig()
	cfg.URL, cfg.Storage = server.URL(), bus.File
	b, err := bus.Connect(t.Context(), cfg, "test", nil, prometheus.NewRegistry(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	f := &fixture{T: t, bus: b}
	for i := range uint64(3) {
		f.publish(job("m", i+1))
	}
	ref, err := b.PutBody(t.Context(), []byte("body"))
	if err != nil {
		t.Fatal(err)
	}
	before := b.Connection()
	server.Stop()
	server.Restart(t)
	for i := range uint64(3) {
		if d := f.one("m"); d.Job.Stream != i+1 || d.Done(t.Context()) != nil {
			t.Errorf("job %d came in place of %d, or is not done", d.Job.Stream, i+1)
		}
	}
	if got, err := b.GetBody(t.Context(), ref); err != nil || string(got) != "body" {
		t.Errorf("GetBody = %q, %v", got, err)
	}
	if b.Connection() == before {
		t.Error("the connection counts as the one before the restart")
	}
	if r, err := b.Prefill().Publish(t.Context(), job("m", 2)); err != nil || !r.Duplicate {
		t.Errorf("Publish of a try that was published before the restart = %+v, %v, want a duplicate", r, err)
	}
}

func TestWhoBreaksOffAFetchKeepsNothing(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		for i := range uint64(4) {
			f.publish(job("m", i+1))
		}
		for d, err := range f.bus.Prefill().Fetch(f.Context(), "m", 4, time.Minute) {
			if err != nil {
				f.Fatal(err)
			}
			if err := d.Done(f.Context()); err != nil {
				f.Error(err)
			}
			break
		}
		begin := time.Now()
		if got := f.fetch(f.bus, "m", 3, time.Minute); len(got) != 3 || time.Since(begin) > 31*time.Second {
			f.Errorf("fetched %d jobs in %v, want the other 3 no later than ack_wait", len(got), time.Since(begin))
		}
	})
}

func TestFetchEndsWithItsContext(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		ctx, cancel := context.WithTimeout(f.Context(), 3*time.Second)
		defer cancel()
		begin := time.Now()
		for d, err := range f.bus.Prefill().Fetch(ctx, "m", 1, time.Hour) {
			f.Errorf("Fetch yielded %v, %v", d, err)
		}
		if took := time.Since(begin); took > 3*time.Second {
			f.Errorf("Fetch took %v after a context of 3s", took)
		}
	})
}

func TestFetchSaysWhatFailedUntilTheEnd(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		if err := f.server.Stop(f.Context()); err != nil {
			f.Fatal(err)
		}
		var last error
		for _, err := range f.bus.Prefill().Fetch(f.Context(), "m", 1, 10*time.Second) {
			last = err
		}
		if last == nil {
			f.Error("Fetch from a dead server ended without an error")
		}
	})
}

// The server ends a fetch, after its last job. If the client did, jobs that are on their way would be
// lost until ack_wait is over.
func TestFetchTakesJobsUntilItsLastMoment(t *testing.T) {
	inBubble(t, nil, func(f *fixture) {
		published := make(chan struct{})
		time.AfterFunc(990*time.Millisecond, func() {
			defer close(published)
			f.publish(job("m", 1))
		})
		begun := time.Now()
		got := f.fetch(f.bus, "m", 10, time.Second)
		if took := time.Since(begun); len(got) != 1 || took > 1500*time.Millisecond {
			f.Errorf("fetched %d jobs in %v, want the one that came just before the end", len(got), took)
		}
		<-published
	})
}

// The answer that is awaited when the server goes will not come: who waited for it asks again, instead of waiting until
// its time is over.
func TestRequestIsMadeAgainWhenItsConnectionIsLost(t *testing.T) {
	natsd.DropPooledTimers()
	server := natsdtest.Start(t, fmt.Sprintf("jetstream { store_dir: %q, max_file_store: 32GB }", t.TempDir()))
	cfg := bus.DefaultConfig()
	cfg.URL, cfg.Storage, cfg.RequestTimeout = server.URL(), bus.File, time.Hour
	b, err := bus.Connect(t.Context(), cfg, "asks", nil, prometheus.NewRegistry(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	nc, err := nats.Connect(server.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	asked := make(chan struct{})
	first := true
	_, err = nc.Subscribe("question", func(m *nats.Msg) {
		if first {
			first = false
			close(asked)
			return
		}
		if err := m.Respond([]byte("answer")); err != nil {
			t.Error(err)
		}
	})
	if err != nil || nc.Flush() != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	got := make(chan string, 1)
	go func() {
		data, err := b.Request(ctx, "question", nil)
		got <- fmt.Sprint(string(data), err)
	}()
	<-asked
	server.Stop()
	server.Restart(t)
	if g := <-got; g != "answer<nil>" {
		t.Errorf("Request = %s, want the answer to a second one", g)
	}
}
