package engine_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/engine"
	"github.com/baton-llm/baton/internal/pipenet"
	"github.com/baton-llm/baton/internal/wire"
)

// script is an engine that does to each connection what its part of the script says, and then closes it.
type script func(n int, conn net.Conn, in *bufio.Reader)

// scripted returns a client of an engine that follows s, and the count of connections that it has accepted.
func scripted(t *testing.T, s script, change func(*engine.Config)) (*engine.Client, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepted atomic.Int64
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			n := int(accepted.Add(1))
			conns.Go(func() {
				defer func() { _ = conn.Close() }()
				s(n, conn, bufio.NewReader(conn))
			})
		}
	})
	cfg := engine.DefaultConfig()
	if change != nil {
		change(&cfg)
	}
	c := engine.New("http://"+l.Addr().String(), cfg, nil, nil, quiet)
	t.Cleanup(func() { c.Close(); _ = l.Close(); conns.Wait() })
	return c, &accepted
}

// takeRequest reads one request with its body; false: the connection has ended.
func takeRequest(in *bufio.Reader) bool {
	req, err := http.ReadRequest(in)
	if err != nil {
		return false
	}
	_, err = io.Copy(io.Discard, req.Body)
	return err == nil
}

// always answers each request of a connection alike.
func always(answer string) script {
	return func(_ int, conn net.Conn, in *bufio.Reader) {
		for takeRequest(in) {
			_, _ = io.WriteString(conn, answer)
		}
	}
}

// closing answers one request and closes.
func closing(answer string) script {
	return func(_ int, conn net.Conn, in *bufio.Reader) {
		if takeRequest(in) {
			_, _ = io.WriteString(conn, answer)
		}
	}
}

func TestFormsOfAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		engine script
		want   string
		conns  int64 // that two calls take
	}{
		"length":              {always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), "ok", 1},
		"empty":               {always("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), "", 1},
		"chunks":              {always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n"), "ok", 1},
		"chunks and trailers": {always("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n"), "ok", 1},
		"until the end":       {closing("HTTP/1.1 200 OK\r\n\r\nok"), "ok", 2},
		"HTTP/1.0":            {closing("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"), "ok", 2},
		"HTTP/1.0 that stays": {always("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"), "ok", 1},
		"Connection: close":   {always("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"), "ok", 2},
		"after 1xx":           {always("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), "ok", 1},
		"more than said":      {always("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"), "ok", 2},
		"large":               {always("HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + strings.Repeat("x", 3_000_000)), strings.Repeat("x", 3_000_000), 1},
	} {
		t.Run(name, func(t *testing.T) {
			c, accepted := scripted(t, tc.engine, nil)
			for range 2 {
				if got, err := c.Post(bounded(t), call); err != nil || string(got) != tc.want {
					t.Fatalf("Post = %.100q, %v; want %.100q", got, err, tc.want)
				}
			}
			if n := accepted.Load(); n != tc.conns {
				t.Errorf("two calls took %d connections, want %d", n, tc.conns)
			}
		})
	}
}

func TestWhatIsNoAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"garbage":             "SSH-2.0-OpenSSH_9.6\r\n\r\n",
		"no status":           "HTTP/1.1 abc\r\n\r\n",
		"head cut":            "HTTP/1.1 200 OK\r\nContent-Le",
		"body cut":            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
		"chunks cut":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok",
		"length of words":     "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
		"line without an end": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 2<<20),
		"endless head":        "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", 300_000),
		"endless 1xx":         strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100_000),
		"nothing":             "",
	} {
		t.Run(name, func(t *testing.T) {
			c, accepted := scripted(t, closing(answer), nil)
			got, err := c.Post(bounded(t), call)
			if err == nil || engine.Failure(err).Reason != wire.EngineDown {
				t.Errorf("Post = %.100q, %v; want a connection that broke", got, err)
			}
			if n := accepted.Load(); n != 1 {
				t.Errorf("the call was made %d times", n)
			}
		})
	}
}

const okAnswer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// A connection that the engine closed while it was idle, or on which it spoke unasked, is not used again.
func TestIdleConnectionThatIsNoLongerGood(t *testing.T) {
	for name, last := range map[string]string{"closed": "", "spoke": "HTTP/1.1 408 Request Timeout\r\n\r\n"} {
		t.Run(name, func(t *testing.T) {
			again, done := make(chan struct{}), make(chan struct{})
			c, accepted := scripted(t, func(n int, conn net.Conn, in *bufio.Reader) {
				if !takeRequest(in) {
					return
				}
				_, _ = io.WriteString(conn, okAnswer)
				if n == 1 {
					<-again
					_, _ = io.WriteString(conn, last)
					_ = conn.(*net.TCPConn).CloseWrite()
					close(done)
				}
				_, _ = in.ReadByte() // until the client leaves
			}, nil)
			for i := range 2 {
				if _, err := c.Post(bounded(t), call); err != nil {
					t.Fatalf("call %d: %v", i, err)
				}
				if i == 0 {
					close(again)
					<-done
				}
			}
			if n := accepted.Load(); n != 2 {
				t.Errorf("two calls took %d connections, want 2", n)
			}
		})
	}
}

// A connection that closes under a request may have carried it to the engine: only what changes nothing is sent again.
func TestRequestsAreNotMadeTwice(t *testing.T) {
	var requests atomic.Int64
	c, accepted := scripted(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		if takeRequest(in) {
			requests.Add(1)
			_, _ = io.WriteString(conn, okAnswer)
		}
		if takeRequest(in) { // and close
			requests.Add(1)
		}
	}, nil)
	for range 2 {
		_, _ = c.Post(bounded(t), call)
	}
	if n := requests.Load(); n != 2 || accepted.Load() != 1 {
		t.Errorf("two posts reached the engine %d times, on %d connections; want 2, on 1", n, accepted.Load())
	}
	for range 2 {
		if err := c.Health(bounded(t)); err != nil {
			t.Errorf("Health = %v, want another try on a new connection", err)
		}
	}
}

// In memory a write to a closed connection brings nothing over, so that even a post is sent anew.
func TestPostThatWasNotSentIsSentAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := pipenet.New()
		l, err := mem.Listen("engine:80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }), IdleTimeout: time.Second}
		go func() { _ = server.Serve(l) }()
		defer func() { _ = server.Close() }()
		c := engine.New("http://engine", engine.DefaultConfig(), mem.Dial, nil, quiet)
		defer c.Close()
		for range 3 {
			if got, err := c.Post(t.Context(), call); err != nil || string(got) != "ok" {
				t.Fatalf("Post = %q, %v", got, err)
			}
			time.Sleep(2 * time.Second)
		}
	})
}

// An answer that comes before the engine has taken the body is the call's.
func TestEarlyAnswers(t *testing.T) {
	const refused = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge"
	for name, size := range map[string]int{"small": 1000, "large": 16 << 20} {
		for how, after := range map[string]func(in *bufio.Reader){
			"closing":     func(*bufio.Reader) {},
			"not reading": nil,
			"reading on":  func(in *bufio.Reader) { _, _ = io.Copy(io.Discard, in) },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				answered := make(chan struct{})
				c, _ := scripted(t, func(_ int, conn net.Conn, in *bufio.Reader) {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					_, _ = io.WriteString(conn, refused)
					if after != nil {
						after(in)
					} else {
						<-answered
					}
				}, nil)
				_, err := c.Post(bounded(t), engine.Call{Path: "/v1/completions", Body: bytes.Repeat([]byte("x"), size)})
				close(answered)
				if f := engine.Failure(err); f.Status != 413 || string(f.Body) != "large" {
					t.Errorf("Post = %v, want the engine's 413", err)
				}
			})
		}
	}
}

func TestLargeBodiesArriveWholeAndConnectionsStay(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789"), 1<<20)
	var sizes, opened atomic.Int64
	c, accepted := scripted(t, func(_ int, conn net.Conn, in *bufio.Reader) {
		opened.Add(1)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			got, _ := io.ReadAll(req.Body)
			if bytes.Equal(got, body) {
				sizes.Add(1)
			}
			_, _ = io.WriteString(conn, okAnswer)
		}
	}, nil)
	for range 3 {
		if _, err := c.Post(bounded(t), engine.Call{Path: "/v1/completions", Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if sizes.Load() != 3 || accepted.Load() != 1 {
		t.Errorf("%d of 3 bodies came whole, on %d connections; want 3, on 1", sizes.Load(), accepted.Load())
	}
}

// Whatever a call waits for, the end of its context ends it and the connection.
func TestCancelInEachPhase(t *testing.T) {
	left := errors.New("client left")
	for name, tc := range map[string]struct {
		size   int
		engine func(conn net.Conn, in *bufio.Reader) // up to where the call is given up
	}{
		"large body is sent": {64 << 20, func(_ net.Conn, in *bufio.Reader) { _, _ = in.ReadByte() }},
		"head is awaited":    {10, func(_ net.Conn, in *bufio.Reader) { takeRequest(in) }},
		"head is cut": {10, func(conn net.Conn, in *bufio.Reader) {
			takeRequest(in)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-")
		}},
		"body is awaited": {10, func(conn net.Conn, in *bufio.Reader) {
			takeRequest(in)
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(bounded(t))
			defer cancel(nil)
			gone := make(chan struct{})
			c, _ := scripted(t, func(_ int, conn net.Conn, in *bufio.Reader) {
				tc.engine(conn, in)
				cancel(left)
				_, _ = io.Copy(io.Discard, in)
				close(gone)
			}, nil)
			if _, err := c.Post(ctx, engine.Call{Path: "/", Body: make([]byte, tc.size)}); !errors.Is(err, left) {
				t.Errorf("Post = %v, want the context's cause", err)
			}
			select {
			case <-gone:
			case <-bounded(t).Done():
				t.Error("the engine never saw that the call was given up")
			}
		})
	}
	t.Run("connection opens", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(bounded(t))
		defer cancel(nil)
		c := engine.New("http://engine", engine.DefaultConfig(), func(ctx context.Context, _, _ string) (net.Conn, error) {
			cancel(left)
			<-ctx.Done()
			return nil, ctx.Err()
		}, nil, quiet)
		if _, err := c.Post(ctx, call); !errors.Is(err, left) {
			t.Errorf("Post = %v, want the context's cause", err)
		}
	})
}

// The idle timeout counts from the last byte, neither from the stream's begin nor while nobody reads, however seldom the
// connection hears of it.
func TestIdleTimeoutIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const idle, pause = 10 * time.Second, 9 * time.Second
		mem := pipenet.New()
		l, err := mem.Listen("engine:80")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range 5 {
				events(w, "data: 1\n\n")
				time.Sleep(pause)
			}
			<-r.Context().Done()
		})}
		go func() { _ = server.Serve(l) }()
		defer func() { _ = server.Close() }()
		cfg := engine.DefaultConfig()
		cfg.IdleTimeout = idle
		c := engine.New("http://engine", cfg, mem.Dial, nil, quiet)
		defer c.Close()
		s, err := c.Stream(t.Context(), engine.Call{Path: call.Path})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		for range 5 {
			if _, err := s.Next(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		began := time.Now()
		if _, err := s.Next(); !errors.Is(err, engine.ErrTimeout) || time.Since(began) != idle {
			t.Errorf("Next = %v after %v, want ErrTimeout after %v", err, time.Since(began), idle)
		}
	})
}

// What would end a request's line or a header early is refused, and what a URL may not hold is escaped.
func TestRequestsCannotBeForged(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.RequestURI) }, nil)
	for path, want := range map[string]string{"/a?b=c": "/a?b=c", "/a b/é": "/a%20b/%C3%A9", "/%2F": "/%2F", "/a#b": "/a", "": "/"} {
		if got, err := c.Post(bounded(t), engine.Call{Path: path}); err != nil || string(got) != want {
			t.Errorf("Post of %q asks for %q, %v; want %q", path, got, err, want)
		}
	}
	for _, bad := range []engine.Call{{Path: "/ HTTP/1.1\r\nX: y\r\n"}, {Path: "/", RequestID: "a\r\nX: y"}} {
		if got, err := c.Post(bounded(t), bad); err == nil {
			t.Errorf("Post of %+v = %q, want an error", bad, got)
		}
	}
}
