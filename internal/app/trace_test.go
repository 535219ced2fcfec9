package app

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/wire"
)

// traced is a deployment in memory whose spans, and what engines are told of them, are kept.
type traced struct {
	*inMemory

	client *http.Client

	mu      sync.Mutex
	parents []string // traceparents that engines got
}

// spansOf runs f with a deployment and returns the spans that it made.
func spansOf(t *testing.T, cfg Config, f func(s *traced)) (*traced, tracetest.SpanStubs) {
	t.Helper()
	m, err := newInMemory(t.Context(), &cfg, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	spans := tracetest.NewInMemoryExporter()
	m.proc.tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	s := &traced{inMemory: m, client: &http.Client{Transport: &http.Transport{DialContext: m.network.dial}}}
	dial := m.network.dial
	m.network.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		return &listened{conn, s}, err
	}
	err = m.serve(t.Context(), func(context.Context) error {
		f(s)
		nothingHeld(t, m.deployment)
		s.client.CloseIdleConnections()
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return s, spans.GetSpans()
}

// listened keeps the traceparents of requests that are written to a connection.
type listened struct {
	net.Conn

	to *traced
}

var traceparentLine = regexp.MustCompile(`(?m)^Traceparent: (\S+)\r$`)

func (l *listened) Write(p []byte) (int, error) {
	for _, m := range traceparentLine.FindAllSubmatch(p, -1) {
		l.to.mu.Lock()
		l.to.parents = append(l.to.parents, string(m[1]))
		l.to.mu.Unlock()
	}
	return l.Conn.Write(p)
}

// tree writes spans below each other, one a line, in the order in which they began.
func tree(spans tracetest.SpanStubs, root trace.SpanID) string {
	slices.SortStableFunc(spans, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	var out strings.Builder
	var below func(parent trace.SpanID, depth int)
	below = func(parent trace.SpanID, depth int) {
		for i := range spans {
			if s := &spans[i]; s.Parent.SpanID() == parent {
				fmt.Fprintf(&out, "%s%s, %s", strings.Repeat("  ", depth), s.Name, s.SpanKind)
				if s.Status.Code == codes.Error {
					fmt.Fprintf(&out, ", %s", of(s, "error.type"))
				}
				out.WriteString("\n")
				below(s.SpanContext.SpanID(), depth+1)
			}
		}
	}
	below(root, 0)
	return out.String()
}

// of is the value of a span's attribute as text; empty: it has none.
func of(s *tracetest.SpanStub, key attribute.Key) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}

const (
	clientTrace  = "0af7651916cd43dd8448eb211c80319c"
	clientSpan   = "b7ad6b7169203331"
	clientParent = "00-" + clientTrace + "-" + clientSpan + "-01"
)

func (s *traced) ask(t *testing.T, body string, want int) {
	t.Helper()
	if status, text := ask(t, s.client, MemoryURL+"/v1/chat/completions", body, "Traceparent", clientParent); status != want {
		t.Errorf("answer is %d %s, want %d", status, text, want)
	}
}

func TestOneRequestIsOneTrace(t *testing.T) {
	cfg := splitting(quick())
	s, spans := spansOf(t, cfg, func(s *traced) { s.ask(t, chatBody(s.proc.cfg.Sim.Model, "hello", 5), 200) })
	root, _ := trace.SpanIDFromHex(clientSpan)
	want := `POST /v1/chat/completions, server
  chat ` + cfg.Sim.Model + `, client
    queue, producer
      prefill, consumer
        POST /v1/chat/completions, client
        handover, internal
          decode, consumer
            POST /v1/chat/completions, client
`
	if d := diff.Diff(want, tree(spans, root)); d != "" {
		t.Errorf("trace (-want +got):\n%s", d)
	}
	var calls []string
	for i := range spans {
		span := &spans[i]
		if span.SpanContext.TraceID().String() != clientTrace {
			t.Errorf("span %s is of another trace than the client's", span.Name)
		}
		if span.SpanKind == trace.SpanKindClient && strings.HasPrefix(span.Name, "POST") {
			calls = append(calls, "00-"+clientTrace+"-"+span.SpanContext.SpanID().String()+"-01")
		}
		if !strings.HasPrefix(span.Name, "chat ") {
			continue
		}
		for key, want := range map[attribute.Key]string{
			"gen_ai.operation.name": "chat", "gen_ai.provider.name": "vllm", "gen_ai.request.model": cfg.Sim.Model,
			"gen_ai.request.stream": "true", "gen_ai.request.max_tokens": "5", "gen_ai.usage.output_tokens": "5",
			"baton.outcome": "done", "baton.attempts": "1", "baton.place": "split",
		} {
			if got := of(span, key); got != want {
				t.Errorf("%s is %q, want %q", key, got, want)
			}
		}
		for _, key := range []attribute.Key{"gen_ai.usage.input_tokens", "gen_ai.response.time_to_first_chunk", "baton.request_id"} {
			if of(span, key) == "" {
				t.Errorf("the request's span has no %s", key)
			}
		}
	}
	slices.Sort(calls)
	slices.Sort(s.parents)
	if d := diff.Diff(calls, s.parents); d != "" {
		t.Errorf("the engines were told other spans than those of their calls (-want +got):\n%s", d)
	}
}

func TestBothTriesAreInTheTrace(t *testing.T) {
	cfg := splitting(quick())
	cfg.Up = Up{Prefill: 1, Decode: 1}
	cfg.Sim.Lease, cfg.Prefill.Lease = 3*time.Second, 3*time.Second
	_, spans := spansOf(t, cfg, func(s *traced) {
		s.faults(wire.RoleDecode, enginesim.Faults{Status: 500, Every: 1})
		s.ask(t, chatBody(s.proc.cfg.Sim.Model, "hello", 5), 500)
	})
	root, _ := trace.SpanIDFromHex(clientSpan)
	try := `    queue, producer
      prefill, consumer
        POST /v1/chat/completions, client
        handover, internal
          decode, consumer, engine_error
            POST /v1/chat/completions, client, engine_error
`
	want := "POST /v1/chat/completions, server, engine_error\n  chat " + cfg.Sim.Model + ", client, engine_error\n" + strings.Repeat(try, cfg.Router.Attempts)
	if d := diff.Diff(want, tree(spans, root)); d != "" {
		t.Errorf("trace (-want +got):\n%s", d)
	}
	var tries []string
	for i := range spans {
		if spans[i].Name == "decode" {
			tries = append(tries, cmp.Or(of(&spans[i], "baton.attempt"), "none"))
		}
	}
	if d := diff.Diff([]string{"1", "2", "3"}, tries); d != "" {
		t.Errorf("attempts (-want +got):\n%s", d)
	}
}
