package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/baton-llm/baton/internal/wire"
)

// tap keeps what is sent to engines, byte for byte.
type tap struct {
	mu    sync.Mutex
	conns []*tapped
}

type tapped struct {
	net.Conn

	tap  *tap
	addr string
	sent bytes.Buffer
}

// engineCall is one POST that reached an engine.
type engineCall struct {
	role wire.Role
	path string
	body string
}

func (t *tap) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns = append(t.conns, &tapped{Conn: conn, tap: t, addr: addr})
	return t.conns[len(t.conns)-1], nil
}

func (c *tapped) Write(p []byte) (int, error) {
	c.tap.mu.Lock()
	_, _ = c.sent.Write(p) // never fails
	c.tap.mu.Unlock()
	return c.Conn.Write(p)
}

// calls returns what the engines got for each id that a client sent, prefill first.
func (t *tap) calls(tb testing.TB, d *deployment) map[string][]engineCall {
	tb.Helper()
	roles := map[string]wire.Role{}
	for _, s := range d.engines {
		roles[s.ln.Addr().String()] = s.role
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := map[string][]engineCall{}
	for _, conn := range t.conns {
		role, ok := roles[conn.addr]
		if !ok {
			continue // one engine to another
		}
		for sent := bufio.NewReader(bytes.NewReader(conn.sent.Bytes())); ; {
			req, err := http.ReadRequest(sent)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				tb.Fatal(err)
			}
			body, err := io.ReadAll(req.Body)
			if err != nil {
				tb.Fatal(err)
			}
			id := req.Header.Get("X-Request-Id")
			if end := strings.LastIndex(id, "-"); req.Method == http.MethodPost && end > 0 { // the server appends digits
				calls[id[:end]] = append(calls[id[:end]], engineCall{role, req.URL.Path, string(body)})
			}
		}
	}
	for _, legs := range calls {
		slices.SortStableFunc(legs, func(a, b engineCall) int { return strings.Compare(string(b.role), string(a.role)) })
	}
	return calls
}
