package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Ways in which a request can fail in a client's eyes.
const (
	failStatus   = "error status"
	failEvent    = "error event"
	failCut      = "cut"
	failHung     = "hung"
	failWrong    = "wrong answer"
	failFrontend = "no frontend"
)

// failure is why a request failed.
type failure struct{ kind, detail string }

func (f *failure) Error() string { return f.kind + ": " + f.detail }

func wrong(format string, args ...any) error {
	return &failure{failWrong, fmt.Sprintf(format, args...)}
}

var (
	errHung = errors.New("nothing was heard for too long")
	errLeft = errors.New("the client left")
	// errRefused: nothing was sent, so the request can go to another frontend.
	errRefused = errors.New("no connection")
)

// busy is a 429.
type busy struct{ after time.Duration }

func (b *busy) Error() string { return "refused for now" }

// exchange is one request at one frontend.
type exchange struct {
	*request
	patience time.Duration
	life     int                   // of the frontend, when it was chosen
	phase    *atomic.Int32         // of the run
	silences [phases]time.Duration // the longest of each phase in which nothing was heard
	heard    time.Time
	live     *atomic.Int64 // streams of the run of which something was seen
	begun    bool          // a byte of this one was
	watch    *time.Timer
}

// hear notes that something came.
func (x *exchange) hear() {
	now := time.Now()
	longest := &x.silences[x.phase.Load()]
	*longest = max(*longest, now.Sub(x.heard))
	x.heard = now
	x.watch.Reset(x.patience)
}

// send posts the request to a frontend and checks its answer. Errors: *failure, *busy, errRefused, errLeft.
func (x *exchange) send(ctx context.Context, client *http.Client, url string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	x.heard = time.Now()
	x.watch = time.AfterFunc(x.patience, func() { cancel(errHung) })
	defer x.watch.Stop()
	if x.cancel > 0 {
		leave := time.AfterFunc(x.cancel, func() { cancel(errLeft) })
		defer leave.Stop()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+x.path, bytes.NewReader(x.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Request-Id", x.id)
	err = x.exchange(client, req)
	var known *failure
	var network *net.OpError
	switch {
	case err == nil, errors.As(err, &known), errors.As(err, new(*busy)):
		return err
	case errors.Is(context.Cause(ctx), errHung):
		return &failure{failHung, fmt.Sprintf("nothing for %s", x.patience)}
	case ctx.Err() != nil:
		return errLeft
	case errors.As(err, &network) && network.Op == "dial":
		return errRefused
	}
	return &failure{failCut, err.Error()}
}

func (x *exchange) exchange(client *http.Client, req *http.Request) error {
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // Read only.
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		if err != nil {
			return err
		}
		if resp.StatusCode == http.StatusTooManyRequests {
			seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
			return &busy{time.Duration(max(1, seconds)) * time.Second}
		}
		return &failure{failStatus, fmt.Sprintf("%d: %s", resp.StatusCode, reason(text))}
	}
	x.hear()
	if x.stream {
		return x.readStream(req.Context(), resp.Body)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	x.hear()
	a := answer{want: x.want}
	if err := a.take(text); err != nil {
		return err
	}
	return a.whole(true)
}

// readStream reads server-sent events, strictly: each is one line of data and an empty line.
func (x *exchange) readStream(ctx context.Context, body io.Reader) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	a := answer{want: x.want, stream: true}
	for done := false; ; {
		line, err := lines.ReadString('\n')
		if errors.Is(err, io.EOF) && line == "" && done {
			return a.whole(x.usage)
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		x.hear()
		data, isData := strings.CutPrefix(strings.TrimRight(line, "\r\n"), "data: ")
		switch {
		case data == "":
			continue
		case !isData || done:
			return wrong("the line %.80q", line)
		case data == "[DONE]":
			done = true
			continue
		}
		if !x.begun {
			x.begun = true
			x.live.Add(1)
		}
		if err := a.take([]byte(data)); err != nil {
			return err
		}
		if x.pause > 0 && sleep(ctx, x.pause) {
			x.heard = time.Now()
		}
	}
}

// reason is the code and message of an OpenAI error.
func reason(text []byte) string {
	var e struct {
		Error struct {
			Code    any    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	if json.Unmarshal(text, &e) != nil || e.Error.Message == "" {
		return fmt.Sprintf("%.80q", text)
	}
	return fmt.Sprintf("%v: %.120s", e.Error.Code, e.Error.Message)
}
