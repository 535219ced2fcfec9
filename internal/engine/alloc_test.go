package engine_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/baton-llm/baton/internal/engine"
)

const (
	jsonHead  = "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-type: application/json\r\n"
	eventHead = "HTTP/1.1 200 OK\r\ndate: Mon, 01 Jan 2024 00:00:00 GMT\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
	token     = `data: {"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":" token","logprobs":null,"finish_reason":null}]}` + "\n\n"
	tokens    = 64
)

// frugal is a client of a server that answers each request with the pieces in turn, one write each, and allocates
// nothing: what is counted is the client's.
func frugal(tb testing.TB, pieces ...string) *engine.Client {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	var answer [][]byte
	for _, p := range pieces {
		answer = append(answer, []byte(p))
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answerAll(conn, answer)
		}
	}()
	c := engine.New("http://"+l.Addr().String(), engine.DefaultConfig(), nil, nil, quiet)
	tb.Cleanup(func() { c.Close(); _ = l.Close() })
	return c
}

func answerAll(conn net.Conn, pieces [][]byte) {
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 8<<10)
	for {
		for n := 0; !bytes.HasSuffix(buf[:n], call.Body); {
			m, err := conn.Read(buf[n:])
			if err != nil {
				return
			}
			n += m
		}
		for _, p := range pieces {
			if _, err := conn.Write(p); err != nil {
				return
			}
		}
	}
}

func chunk(s string) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[len(s)>>4], digits[len(s)&15]}) + "\r\n" + s + "\r\n"
}

func tokenStream(tb testing.TB) *engine.Client {
	pieces := []string{eventHead}
	for range tokens {
		pieces = append(pieces, chunk(token))
	}
	return frugal(tb, append(pieces, chunk("data: [DONE]\n\n")+"0\r\n\r\n")...)
}

func answerClient(tb testing.TB) *engine.Client {
	return frugal(tb, jsonHead+"content-length: 300\r\n\r\n"+strings.Repeat("x", 300))
}

func post(tb testing.TB, c *engine.Client) {
	if _, err := c.Post(tb.Context(), call); err != nil {
		tb.Fatal(err)
	}
}

func readTokens(tb testing.TB, c *engine.Client) {
	s, err := c.Stream(tb.Context(), call)
	if err != nil {
		tb.Fatal(err)
	}
	n := 0
	for ; err == nil; n++ {
		_, err = s.Next()
	}
	if n != tokens+1 || !errors.Is(err, io.EOF) {
		tb.Fatalf("%d events, then %v", n-1, err)
	}
	_ = s.Close()
}

// What a call costs the collector is a budget: the head of its answer, the answer, and its end with its context.
func TestCallsAllocateLittle(t *testing.T) {
	answers, streams := answerClient(t), tokenStream(t)
	for name, tc := range map[string]struct {
		run  func()
		most float64
	}{
		"post":   {func() { post(t, answers) }, 24},
		"stream": {func() { readTokens(t, streams) }, 34}, // of 64 tokens, none of which adds to it
	} {
		if n := testing.AllocsPerRun(200, tc.run); n > tc.most {
			t.Errorf("a %s makes %.0f allocations, want at most %.0f", name, n, tc.most)
		}
	}
}

func BenchmarkPost(b *testing.B) {
	c := answerClient(b)
	b.ReportAllocs()
	for b.Loop() {
		post(b, c)
	}
}

func BenchmarkStream(b *testing.B) {
	c := tokenStream(b)
	b.ReportAllocs()
	for b.Loop() {
		readTokens(b, c)
	}
}

// BenchmarkOpenStreams tells what one stream that waits for its next token keeps.
func BenchmarkOpenStreams(b *testing.B) {
	const open = 500
	c := frugal(b, eventHead+chunk(token))
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		goroutines := runtime.NumGoroutine()
		var streams []*engine.Stream
		for range open {
			s, err := c.Stream(b.Context(), call)
			if err == nil {
				_, err = s.Next()
			}
			if err != nil {
				b.Fatal(err)
			}
			streams = append(streams, s)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		// The server's side of each has a goroutine and a buffer of 8 KiB.
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/open-(8<<10), "heap-B/stream")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/open, "stack-B/stream")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/open-1, "goroutines/stream")
		for _, s := range streams {
			_ = s.Close()
		}
	}
}

// Tokens that came while nobody looked are there at once, so that they are passed on at once.
func TestTokensThatCameTogetherAreReadTogether(t *testing.T) {
	all := strings.Repeat(chunk(token), tokens) + chunk("data: [DONE]\n\n") + "0\r\n\r\n"
	c := frugal(t, eventHead+all)
	s, err := c.Stream(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	for n := range tokens {
		if _, err := s.Next(); err != nil || !s.More() {
			t.Fatalf("after token %d of %d: %v, more is %v", n+1, tokens, err, s.More())
		}
	}
}
