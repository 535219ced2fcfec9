package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/baton-llm/baton/router"
)

// overH2 is a client that speaks HTTP/2 without TLS, from the first byte on and over one
// connection as long as that lasts.
func (h *harness) overH2(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: h.dial, Protocols: new(http.Protocols), MaxConnsPerHost: 1}
	transport.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestManyStreamsShareOneConnection(t *testing.T) {
	const streams = 200
	var all sync.WaitGroup
	all.Add(streams)
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) {
		all.Done()
		all.Wait() // none is answered before all are here
		return newScript(nil, `{"a":1}`), nil
	}}
	h := start(t, r, oneModel, nil)
	client := h.overH2(t)
	first, err := client.Do(h.request(t, "GET", "/version", "")) // so that there is a connection to share
	if err != nil {
		t.Fatal(err)
	}
	readAll(t, first)
	var wg sync.WaitGroup
	for range streams {
		wg.Go(func() {
			resp, err := client.Do(h.request(t, "POST", chatPath, chatSSE))
			if err != nil {
				t.Error(err)
				return
			}
			if text := readAll(t, resp); text != chatStream || resp.ProtoMajor != 2 {
				t.Errorf("answer is %s %q", resp.Proto, text)
			}
		})
	}
	wg.Wait()
	if n := h.gauge(t, "baton_http_connections"); n != 1 {
		t.Errorf("the client has %v connections, want 1", n)
	}
}

// What ends one stream leaves the others and the connection alone.
func TestAStreamEndsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := &fakeRouter{do: func(_ context.Context, req *router.Request) (Answer, error) {
			a := newScript(nil, `{"a":1}`)
			if bytes.Contains(req.Body, []byte("panic")) {
				return panicking{a}, nil
			}
			a.hold = release
			return a, nil
		}}
		h := startVirtual(t, r, oneModel, func(c *Config) { c.MaxBody = 1 << 20 })
		client := h.overH2(t)
		long, err := client.Do(h.request(t, "POST", chatPath, chatSSE))
		if err != nil {
			t.Fatal(err)
		}

		for want, body := range map[int]io.ReadCloser{
			413: io.NopCloser(strings.NewReader(chatText(1<<20 + 1))),
			408: stalling(chatBody),
			400: io.NopCloser(strings.NewReader("{")),
		} {
			req := h.request(t, "POST", chatPath, "x")
			req.ContentLength, req.Body = -1, body
			resp, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if text := readAll(t, resp); resp.StatusCode != want || !strings.HasPrefix(text, `{"error":`) {
				t.Errorf("answer is %d %q, want %d", resp.StatusCode, text, want)
			}
		}
		broken, err := client.Do(h.request(t, "POST", chatPath, strings.Replace(chatSSE, "a secret", "panic", 1)))
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(broken.Body); err == nil {
			t.Errorf("a stream whose handler panicked looks whole: %q", text)
		}
		_ = broken.Body.Close()

		close(release)
		if text := readAll(t, long); text != chatStream {
			t.Errorf("the first stream is %q", text)
		}
		if n := h.gauge(t, "baton_http_connections"); n != 1 {
			t.Errorf("the client has %v connections, want still 1", n)
		}
	})
}

// stalling is a body that goes on after text, but not before it is closed.
func stalling(text string) io.ReadCloser {
	out, in := io.Pipe()
	go func() { _, _ = io.WriteString(in, text) }()
	return out
}

func TestStreamsOverH2MayTakeHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := startVirtual(t, slowly(4, 3*time.Hour), oneModel, nil)
		client := h.overH2(t)
		for _, body := range []string{chatSSE, chatBody} {
			begun := time.Now()
			resp, err := client.Do(h.request(t, "POST", chatPath, body))
			if err != nil {
				t.Fatal(err)
			}
			if text := readAll(t, resp); time.Since(begun) != 15*time.Hour || strings.Count(text, `{"a":1}`) != 4 {
				t.Errorf("after %v the answer is %q, want 15h", time.Since(begun), text)
			}
		}
	})
}

// A reader that stops stalls its own stream, which is cut in time, and no other.
func TestReaderThatStopsOverH2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := endless{newScript(nil)}
		r := &fakeRouter{}
		r.do = func(context.Context, *router.Request) (Answer, error) {
			if r.calls.Load() == 1 {
				return stalled, nil
			}
			return newScript(nil, `{"a":1}`), nil
		}
		h := startVirtual(t, r, oneModel, func(c *Config) { c.WriteTimeout = time.Hour })
		client := h.overH2(t)
		resp, err := client.Do(h.request(t, "POST", chatPath, chatSSE))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		begun := time.Now()
		for range 3 {
			other, err := client.Do(h.request(t, "POST", chatPath, chatSSE))
			if err != nil {
				t.Fatal(err)
			}
			if text := readAll(t, other); text != chatStream {
				t.Errorf("beside it the answer is %q", text)
			}
		}
		<-stalled.closed
		if took := time.Since(begun); took != time.Hour {
			t.Errorf("the answer is closed after %v, want 1h", took)
		}
	})
}

// frames is an HTTP/2 connection that says what no client library would.
type frames struct {
	t *testing.T
	*http2.Framer
	conn io.Writer
}

func (h *harness) frames(t *testing.T) *frames {
	t.Helper()
	c := h.connect(t)
	c.send(http2.ClientPreface)
	f := &frames{t: t, Framer: http2.NewFramer(c, bufio.NewReader(c)), conn: c}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// ask sends a request's header on a stream; fields alternates names and values.
func (f *frames) ask(stream uint32, end bool, fields ...string) {
	f.t.Helper()
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i+1 < len(fields); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			f.t.Fatal(err)
		}
	}
	if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndStream: end, EndHeaders: true}); err != nil {
		f.t.Fatal(err)
	}
}

// refused reports what ended the stream: the status of an answer, or an error code.
func (f *frames) refused(stream uint32) (status string, code http2.ErrCode) {
	f.t.Helper()
	dec := hpack.NewDecoder(4096, func(field hpack.HeaderField) {
		if field.Name == ":status" {
			status = field.Value
		}
	})
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			f.t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			if _, err := dec.Write(frame.HeaderBlockFragment()); err != nil {
				f.t.Fatal(err)
			}
			if frame.StreamID == stream {
				return status, 0
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return "", frame.ErrCode
			}
		case *http2.GoAwayFrame:
			return "", frame.ErrCode
		}
	}
}

func TestConnectionHeadersMeanNothingOverH2(t *testing.T) {
	r := failing(errors.New("called"))
	h := start(t, r, oneModel, nil)
	for name, fields := range map[string][]string{
		"transfer-encoding":   {"transfer-encoding", "chunked"},
		"connection":          {"connection", "keep-alive"},
		"keep-alive":          {"keep-alive", "timeout=5"},
		"proxy-connection":    {"proxy-connection", "close"},
		"upgrade":             {"upgrade", "h2c"},
		"te":                  {"te", "chunked"},
		"upper case":          {"X-Upper", "a"},
		"line break in value": {"x-a", "a\r\ntransfer-encoding: chunked"},
		"two lengths":         {"content-length", "4", "content-length", "5"},
	} {
		t.Run(name, func(t *testing.T) {
			f := h.frames(t)
			f.ask(1, false, append([]string{":method", "POST", ":scheme", "http", ":authority", "x", ":path", chatPath, "content-type", "application/json"}, fields...)...)
			_ = f.WriteData(1, true, []byte(chatBody)) // the stream may be gone
			if status, code := f.refused(1); status != "400" && code != http2.ErrCodeProtocol {
				t.Errorf("status is %q, code %v, want 400 or a protocol error", status, code)
			}
		})
	}
	t.Run("body longer than its length", func(t *testing.T) {
		f := h.frames(t)
		f.ask(1, false, ":method", "POST", ":scheme", "http", ":authority", "x", ":path", chatPath, "content-length", "4")
		_ = f.WriteData(1, true, []byte(chatBody))
		if status, code := f.refused(1); !strings.HasPrefix(status, "4") && code != http2.ErrCodeProtocol {
			t.Errorf("status is %q, code %v, want an error", status, code)
		}
	})
	if n := r.calls.Load(); n != 0 {
		t.Errorf("the router was called %d times", n)
	}
}
