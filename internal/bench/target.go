package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Endpoint is the path that requests go to, without the leading /v1/.
type Endpoint string

// The endpoints that can be measured.
const (
	Completions Endpoint = "completions"
	Chat        Endpoint = "chat/completions"
)

// Target is the endpoint under test.
type Target struct {
	URL      string // without /v1, such as http://127.0.0.1:8000
	Endpoint Endpoint
	Model    string
	APIKey   string            // sent as a bearer token; "": none
	Headers  map[string]string // sent with each request

	// Dial opens the connections; nil: TCP. A network in memory lets a whole run happen in virtual
	// time (testing/synctest).
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// FreshConnections opens one connection for each request, as old benchmark clients do.
	FreshConnections bool
}

// discoverTime bounds the question for the model's name.
const discoverTime = 10 * time.Second

func (t *Target) validate() error {
	u, err := url.Parse(t.URL)
	switch {
	case err != nil:
		return fmt.Errorf("the target's URL: %w", err)
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("the target's URL is %q, want http://host:port", t.URL)
	case t.Endpoint != Completions && t.Endpoint != Chat:
		return fmt.Errorf("the endpoint is %q, want %s or %s", t.Endpoint, Completions, Chat)
	case t.Model == "":
		return errors.New("the target has no model name")
	}
	return nil
}

func (t *Target) url(path string) string {
	base := strings.TrimSuffix(strings.TrimRight(t.URL, "/"), "/v1")
	return base + "/v1/" + path
}

// transport speaks HTTP/1.1 without a limit of connections. Whoever calls it closes the idle ones.
func (t *Target) transport() *http.Transport {
	const idle = 1 << 16 // more than there are ports: a connection is never closed for being one too many
	dial := t.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				err = fmt.Errorf("%w: %w", errDial, err)
			}
			return conn, err
		},
		DisableKeepAlives:   t.FreshConnections,
		DisableCompression:  true, // a compressor would hold events back
		MaxIdleConns:        idle,
		MaxIdleConnsPerHost: idle,
		IdleConnTimeout:     4 * time.Second, // below the 5 s after which vLLM's server closes them: no request meets a closing one
	}
}

func (t *Target) sign(h http.Header) {
	for name, value := range t.Headers {
		h.Set(name, value)
	}
	if t.APIKey != "" {
		h.Set("Authorization", "Bearer "+t.APIKey)
	}
}

// FirstModel asks the target for the first model that it serves.
func FirstModel(ctx context.Context, t Target) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, discoverTime)
	defer cancel()
	address := t.url("models")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask for the models: %w", err)
	}
	t.sign(req.Header)
	transport := t.transport()
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for the models: %w", err)
	}
	defer resp.Body.Close() //nolint:errcheck // Read only.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return "", fmt.Errorf("read the models of %s: %w", address, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask for the models: %s answers %s: %s", address, resp.Status, clip(body))
	}
	var list struct {
		Data []struct {
			ID string `json:"id"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return "", fmt.Errorf("read the models of %s: %w", address, err)
	}
	if len(list.Data) == 0 || list.Data[0].ID == "" {
		return "", fmt.Errorf("%s lists no model; name one", address)
	}
	return list.Data[0].ID, nil
}
