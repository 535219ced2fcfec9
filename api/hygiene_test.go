package api

import (
	"bufio"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/baton-llm/baton/router"
)

// echoing answers each request with a new answer of the given payloads.
func echoing(payloads ...string) *fakeRouter {
	return &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) { return newScript(nil, payloads...), nil }}
}

const chatStream = "data: {\"a\":1}\n\ndata: [DONE]\n\n" // of echoing(`{"a":1}`)

func TestFormsOfOneRequest(t *testing.T) {
	chunked := "Transfer-Encoding: chunked\r\n\r\n"
	head := "POST " + chatPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	for name, sent := range map[string]string{
		"plain":                 post(chatSSE),
		"absolute target":       strings.Replace(post(chatSSE), " /v1", " http://x/v1", 1),
		"query":                 strings.Replace(post(chatSSE), " HTTP/1.1", "?model=other&stream=false HTTP/1.1", 1),
		"odd case of a name":    strings.Replace(post(chatSSE), "Content-Length", "cONTENT-lENGTH", 1),
		"media type with more":  strings.Replace(post(chatSSE), "application/json", "Application/JSON; charset=utf-8", 1),
		"no media type":         strings.Replace(post(chatSSE), "Content-Type: application/json\r\n", "", 1),
		"compression asked for": post(chatSSE, "Accept-Encoding: gzip, br, zstd"),
		"upgrade offered":       post(chatSSE, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"),
		"chunks":                head + chunked + "5\r\n" + chatSSE[:5] + "\r\n" + chunkSize(len(chatSSE)-5) + "\r\n" + chatSSE[5:] + "\r\n0\r\n\r\n",
		"chunks with extension": head + chunked + chunkSize(len(chatSSE)) + ";a=b;c=\"d\"\r\n" + chatSSE + "\r\n0\r\n\r\n",
		"trailers":              head + "Trailer: X-Vllm-Priority\r\n" + chunked + chunkSize(len(chatSSE)) + "\r\n" + chatSSE + "\r\n0\r\nX-Vllm-Priority: 1\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := echoing(`{"a":1}`)
			h := start(t, r, oneModel, nil)
			c := h.connect(t)
			c.send(sent)
			resp, text := c.answer("POST")
			if resp.StatusCode != http.StatusOK || text != chatStream || resp.Header.Get("Content-Encoding") != "" {
				t.Errorf("answer is %d %q in coding %q", resp.StatusCode, text, resp.Header.Get("Content-Encoding"))
			}
			if got := r.last.Load(); string(got.Body) != chatSSE || got.Path != chatPath {
				t.Errorf("the router got %q on %q", got.Body, got.Path)
			}
		})
	}
}

// HTTP/1.0 has no chunks: the end of the connection is the end of the stream.
func TestHTTP10(t *testing.T) {
	h := start(t, echoing(`{"a":1}`), oneModel, nil)
	for _, more := range []string{"X-A: b", "Connection: keep-alive"} {
		c := h.connect(t)
		c.send(strings.Replace(post(chatSSE, more), "HTTP/1.1", "HTTP/1.0", 1))
		resp, text := c.answer("POST")
		if resp.StatusCode != http.StatusOK || text != chatStream || len(resp.TransferEncoding) > 0 {
			t.Errorf("answer is %d %q, coded %q", resp.StatusCode, text, resp.TransferEncoding)
		}
		if rest := c.rest(); rest != "" {
			t.Errorf("%q follows", rest)
		}
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	h := start(t, echoing(`{"a":1}`), oneModel, nil)
	c := h.connect(t)
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }
	c.send(post(chatSSE) + get("/version") + post(chatBody) + get("/nothing") + get("/v1/models/m"))
	for _, want := range []struct {
		method, text string
		status       int
	}{
		{"POST", chatStream, 200},
		{"GET", `{"version":"v1"}`, 200},
		{"POST", `{"a":1}`, 200},
		{"GET", `{"error":`, 404},
		{"GET", `{"id":"m"`, 200},
	} {
		if resp, text := c.answer(want.method); resp.StatusCode != want.status || !strings.HasPrefix(text, want.text) {
			t.Errorf("answer is %d %q, want %d %q", resp.StatusCode, text, want.status, want.text)
		}
	}
}

func TestContinueIsSaidOnlyForABodyThatIsWanted(t *testing.T) {
	h := start(t, echoing(`{"a":1}`), oneModel, func(c *Config) { c.MaxBody = 1000 })
	c := h.connect(t)
	c.send(head("Expect: 100-continue", "Content-Length: "+decimal(len(chatSSE))))
	if line, err := c.in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("line is %q, %v", line, err)
	}
	if line, err := c.in.ReadString('\n'); err != nil || line != "\r\n" {
		t.Fatalf("line is %q, %v", line, err)
	}
	c.send(chatSSE)
	if resp, text := c.answer("POST"); resp.StatusCode != http.StatusOK || text != chatStream {
		t.Errorf("answer is %d %q", resp.StatusCode, text)
	}
	for want, sent := range map[int]string{
		413: head("Expect: 100-continue", "Content-Length: 1001"),
		415: strings.Replace(head("Expect: 100-continue", "Content-Length: 10"), "application/json", "text/plain", 1),
		417: head("Expect: something", "Content-Length: 10"),
	} {
		c := h.connect(t)
		c.send(sent)
		if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != want {
			t.Errorf("answer is %+v, %v, want %d", resp, err, want)
		}
	}
}

// net/http refuses what is not a request, in its own words and before any handler; see docs/http.md.
func TestHeadersAreBounded(t *testing.T) {
	r := echoing(`{"a":1}`)
	h := start(t, r, oneModel, func(c *Config) { c.MaxHeader = 8 << 10 })
	for name, more := range map[string]string{
		"one long": "X-Long: " + strings.Repeat("x", 20<<10),
		"many":     strings.TrimSuffix(strings.Repeat("X-Many: x\r\n", 2000), "\r\n"),
	} {
		c := h.connect(t)
		c.send(post(chatBody, more))
		if resp, err := http.ReadResponse(c.in, nil); err != nil || resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge || !resp.Close || r.calls.Load() != 0 {
			t.Errorf("%s: answer is %+v, %v, and the router was called %d times", name, resp, err, r.calls.Load())
		}
	}
	if got := h.raw(t, post(chatBody, "X-Fits: "+strings.Repeat("x", 7<<10), "Connection: close")); !strings.HasPrefix(got, "HTTP/1.1 200 ") {
		t.Errorf("a header within the limit gets %.100q", got)
	}
}

func TestPaths(t *testing.T) {
	r := echoing(`{"a":1}`)
	h := start(t, r, fakeFleet{{ID: "m"}, {ID: "org/name"}, {ID: "a b%"}}, nil)
	for _, c := range []struct {
		method, target string
		status         int
		allow          string
	}{
		{"GET", "/v1/models/org%2Fname", 200, ""},
		{"GET", "/v1/models/org%2fname", 200, ""},
		{"GET", "/v1/models/org/name", 200, ""},
		{"GET", "/v1/models/a%20b%25", 200, ""},
		{"GET", "/v1/models/org%252Fname", 404, ""},
		{"GET", "/v1/models/", 404, ""},
		{"GET", "/v1/models//m", 404, ""},
		{"HEAD", "/v1/models", 200, ""},
		{"HEAD", "/nothing", 404, ""},
		{"GET", "/", 404, ""},
		{"GET", "/v1%2Fmodels", 404, ""},
		{"GET", "//v1/models", 404, ""},
		{"GET", "/v1/../v1/models", 404, ""},
		{"POST", chatPath + "/", 404, ""},
		{"POST", "//v1/chat/completions", 404, ""},
		{"POST", "/v1/chat%2Fcompletions", 404, ""},
		{"POST", "/v1/chat/complet%69ons", 404, ""},
		{"POST", "/v1/chat/completions%00", 404, ""},
		{"POST", "/v1/chat/completions;a=b", 404, ""},
		{"PUT", chatPath, 405, "POST"},
		{"TRACE", chatPath, 405, "POST"},
		{"BREW", chatPath, 405, "POST"},
		{"DELETE", "/v1/models/org%2Fname", 405, "GET, HEAD"},
		{"BREW", "/nothing", 404, ""},
		{"OPTIONS", "/nothing", 404, ""},
	} {
		conn := h.connect(t)
		conn.send(c.method + " " + c.target + " HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
		resp, text := conn.answer(c.method)
		if resp.StatusCode != c.status || resp.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s is %d, Allow %q, want %d, %q", c.method, c.target, resp.StatusCode, resp.Header.Get("Allow"), c.status, c.allow)
		}
		if resp.StatusCode >= 400 && c.method != "HEAD" && !strings.HasPrefix(text, `{"error":{"message":"`) {
			t.Errorf("%s %s is refused with %q", c.method, c.target, text)
		}
		if c.method == "HEAD" && text != "" {
			t.Errorf("HEAD %s has the body %q", c.target, text)
		}
	}
	if n := r.calls.Load(); n != 0 {
		t.Errorf("the router was called %d times", n)
	}
}

// A client that ends its side has left: nothing else tells so while a request waits in a queue.
func TestClientThatEndsItsSide(t *testing.T) {
	queued := make(chan struct{}, 1)
	r := &fakeRouter{do: func(ctx context.Context, req *router.Request) (Answer, error) {
		if req.Streaming {
			a := newScript(nil, `{"a":1}`)
			a.hold = make(chan struct{}) // for ever
			return a, nil
		}
		queued <- struct{}{}
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}}
	h := start(t, r, oneModel, nil)

	c := h.connect(t)
	c.send("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
	c.halfClose()
	if resp, text := c.answer("GET"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(text, `{"object":"list"`) {
		t.Errorf("what needs no queue is %d %q", resp.StatusCode, text)
	}

	c = h.connect(t)
	c.send(post(chatBody))
	<-queued
	c.halfClose()
	if rest := c.rest(); rest != "" {
		t.Errorf("a queued request whose client ended its side gets %q", rest)
	}
	h.counted(t, chatPath, "499")

	c = h.connect(t)
	c.send(post(chatSSE))
	if _, err := c.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	c.halfClose()
	if rest := c.rest(); !strings.Contains(rest, `data: {"a":1}`) || strings.HasSuffix(rest, "0\r\n\r\n") {
		t.Errorf("a stream whose client ended its side is %q, which looks whole", rest)
	}

	c = h.connect(t)
	c.send(strings.TrimSuffix(post(chatSSE), chatSSE[10:]))
	c.halfClose()
	if rest := c.rest(); rest != "" {
		t.Errorf("half a body gets %q", rest)
	}
	if n := r.calls.Load(); n != 2 {
		t.Errorf("the router was called %d times", n)
	}
}

func TestPanicAfterTheFirstByteBreaksTheAnswer(t *testing.T) {
	h := start(t, answering(panicking{newScript(nil, `{"a":1}`)}), oneModel, nil)
	c := h.connect(t)
	c.send(post(chatSSE) + "GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
	rest := c.rest()
	if strings.HasSuffix(rest, "0\r\n\r\n") || strings.Contains(rest, "[DONE]") || strings.Contains(rest, "v1") || strings.Contains(rest, "boom") {
		t.Errorf("answer is %q, which looks whole", rest)
	}
	h.counted(t, chatPath, "500")
	if !strings.Contains(h.log.String(), "handler panicked") {
		t.Error("the panic is not logged")
	}
}

// panicking breaks after its payloads.
type panicking struct{ *script }

func (p panicking) Next(ctx context.Context) ([]byte, error) {
	if len(p.payloads) == 0 {
		panic("boom")
	}
	return p.script.Next(ctx)
}

func TestThousandsOfConnectionsAtOnce(t *testing.T) {
	const clients = 2000
	var all sync.WaitGroup
	all.Add(clients)
	r := &fakeRouter{do: func(context.Context, *router.Request) (Answer, error) {
		all.Done()
		all.Wait() // none is answered before all are here
		return newScript(nil, `{"a":1}`), nil
	}}
	h := start(t, r, oneModel, nil)
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			conn, err := h.dial(t.Context(), "tcp", h.addr)
			if err != nil {
				t.Error(err)
				all.Done()
				return
			}
			defer func() { _ = conn.Close() }()
			_, _ = conn.Write([]byte(post(chatSSE)))
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if text := readAll(t, resp); text != chatStream {
				t.Errorf("answer is %q", text)
			}
		})
	}
	wg.Wait()
}

func TestConnectionsAreBounded(t *testing.T) {
	h := start(t, failing(errors.New("called")), oneModel, func(c *Config) { c.MaxConnections = 2 })
	get := "GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
	first, other, third := h.connect(t), h.connect(t), h.connect(t)
	for _, c := range []*client{first, other} {
		c.send(get)
		c.answer("GET")
	}
	h.metric(t, "baton_http_connections", 2)
	third.send(get)
	_ = first.Close() // or the third would wait for ever
	if resp, _ := third.answer("GET"); resp.StatusCode != http.StatusOK {
		t.Errorf("answer is %s", resp.Status)
	}
	h.metric(t, "baton_http_connections", 2)
}
