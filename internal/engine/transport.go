package engine

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/lend"
)

const (
	// uvicorn closes connections that were idle for 5 s; a request sent just then would be lost.
	idleConnTimeout = 4 * time.Second
	maxIdleConns    = 4096
	maxHeaderBytes  = 1 << 20
)

type dialer = func(ctx context.Context, network, addr string) (net.Conn, error)

// transport makes calls to one engine over HTTP/1.1. Unlike net/http's it has no goroutines: a call sends and reads on
// its caller's, which is what most of a token's cost here is otherwise. It is safe for concurrent use.
type transport struct {
	cfg    Config
	dial   dialer
	secure *tls.Config // nil: the connections are plain
	base   string      // of every URL
	path   string      // of base
	addr   string
	host   string // as requests name it
	auth   string // empty: none
	pool   pool
	fault  error // of base; nil: none
}

// request is what is sent. Its body does not change until the answer is closed.
type request struct {
	method, path string
	fields       [][2]string // of the head; one without a value is left out
	body         []byte
}

func newTransport(base string, cfg Config, secure *tls.Config, dial dialer) *transport {
	t := &transport{cfg: cfg, dial: dial, base: base}
	u, err := url.Parse(base)
	if err != nil {
		t.fault = err
		return t
	}
	port := u.Port()
	switch u.Scheme {
	case "http":
		port = cmp.Or(port, "80")
	case "https":
		port = cmp.Or(port, "443")
		t.secure = secure.Clone()
		t.secure.ServerName = u.Hostname()
	default:
		t.fault = fmt.Errorf("unsupported protocol scheme %q", u.Scheme)
	}
	t.addr, t.host, t.path = net.JoinHostPort(u.Hostname(), port), u.Host, u.EscapedPath()
	if cfg.APIKey != "" {
		t.auth = "Bearer " + cfg.APIKey
	} else if u.User != nil {
		password, _ := u.User.Password()
		from := http.Request{Header: http.Header{}}
		from.SetBasicAuth(u.User.Username(), password)
		t.auth = from.Header.Get("Authorization")
	}
	return t
}

// call sends a request and returns its answer, whatever its status. Errors: ErrTimeout, the context's cause, or what the
// network says.
func (t *transport) call(ctx context.Context, r request) (*answer, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	buf := lend.Get()
	defer lend.Put(buf)
	var err error
	if *buf, err = t.appendHead(*buf, r); err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	until := time.Now().Add(t.cfg.FirstByteTimeout)
	for {
		c := t.pool.get(until)
		reused := c != nil
		if c == nil {
			if c, err = t.open(ctx, until); err != nil {
				return nil, cause(ctx, err)
			}
		}
		stop := context.AfterFunc(ctx, c.abort)
		res, err := c.exchange(buf, r.body)
		if err == nil {
			a := &answer{ctx: ctx, stop: stop, conn: c, pool: &t.pool, idle: t.cfg.IdleTimeout, body: newBody(c, res)}
			a.status, a.length, a.contentType = res.StatusCode, res.ContentLength, res.Header.Get("Content-Type")
			if a.body.end {
				a.release()
			}
			return a, nil
		}
		stop()
		c.close()
		if ctx.Err() != nil || !reused || !c.mayRepeat(r.method, err) {
			return nil, cause(ctx, err)
		}
	}
}

// cause says why a call ended, where the network may only know that the connection was closed.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (t *transport) open(ctx context.Context, until time.Time) (*conn, error) {
	raw, err := t.connect(ctx, until)
	if err != nil {
		return nil, t.late(until, fmt.Errorf("%w: %w", errConnect, err))
	}
	secure := raw
	if t.secure != nil {
		ctx, cancel := context.WithDeadline(ctx, t.soon(until))
		defer cancel()
		client := tls.Client(raw, t.secure)
		if err := client.HandshakeContext(ctx); err != nil {
			_ = raw.Close()
			return nil, t.late(until, fmt.Errorf("TLS handshake: %w", err))
		}
		secure = client
	}
	c := newConn(secure, raw)
	c.start(until)
	return c, nil
}

func (t *transport) connect(ctx context.Context, until time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, t.soon(until))
	defer cancel()
	return t.dial(ctx, "tcp", t.addr)
}

// soon is when a step of opening a connection must be done.
func (t *transport) soon(until time.Time) time.Time {
	if at := time.Now().Add(t.cfg.ConnectTimeout); at.Before(until) {
		return at
	}
	return until
}

func (t *transport) late(until time.Time, err error) error {
	if !time.Now().Before(until) {
		return ErrTimeout
	}
	return err
}

func (t *transport) appendHead(dst []byte, r request) ([]byte, error) {
	if t.fault != nil {
		return dst, t.fault
	}
	dst = append(append(dst, r.method...), ' ')
	if path := r.path; strings.HasPrefix(path, "/") && isPlain(path) && isPlain(t.path) {
		dst = append(append(dst, t.path...), path...)
	} else {
		u, err := url.Parse(t.base + path)
		if err != nil {
			return dst, err
		}
		dst = append(dst, u.RequestURI()...)
	}
	dst = append(append(dst, " HTTP/1.1\r\nHost: "...), t.host...)
	dst = append(dst, "\r\nUser-Agent: Go-http-client/1.1\r\n"...)
	if r.method == http.MethodPost {
		dst = append(dst, "Content-Length: "...)
		dst = append(strconv.AppendInt(dst, int64(len(r.body)), 10), "\r\n"...)
	}
	for _, f := range r.fields {
		if f[1] == "" {
			continue
		}
		if strings.ContainsFunc(f[1], func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return dst, errors.New("invalid value of the header " + f[0])
		}
		dst = append(append(append(append(dst, f[0]...), ": "...), f[1]...), "\r\n"...)
	}
	if t.auth != "" {
		dst = append(append(append(dst, "Authorization: "...), t.auth...), "\r\n"...)
	}
	return append(dst, "\r\n"...), nil
}

// isPlain tells of a path and query that stand in a request as they are. Others are the business of net/url.
func isPlain(path string) bool {
	for _, c := range []byte(path) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("/_-.~?=&", c) >= 0:
		default:
			return false
		}
	}
	return true
}
