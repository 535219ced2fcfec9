package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/baton-llm/baton/api/live"
)

const (
	adminTime = 10 * time.Second // for one call of the admin API
	mostState = 64 << 20         // bytes of its document
	mostError = 64 << 10         // bytes of one of its errors
)

// errNotThere is a 404.
var errNotThere = errors.New("HTTP 404")

// errNoKey is for who called without the key that is needed.
var errNoKey = errors.New("the frontend asks for the key of an operator: --admin-key or BATON_ADMIN_KEY, one of its api.admin_keys_file")

// Admin is one frontend's admin API (docs/ui.md). Its methods are safe for concurrent use.
type Admin struct {
	base   string
	key    string
	client *http.Client
}

// NewAdmin reaches the admin listener at address, which is host:port or an http or https URL. key may be empty; transport
// may be nil.
func NewAdmin(address, key string, transport http.RoundTripper) (*Admin, error) {
	if !strings.Contains(address, "://") {
		if strings.HasPrefix(address, ":") {
			address = "127.0.0.1" + address
		}
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("admin address %q, want host:port or a URL", address)
	}
	base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/ui"), "/")
	return &Admin{base: base, key: key, client: &http.Client{Timeout: adminTime, Transport: transport}}, nil
}

// State is what is now, by the words of the frontend that is asked.
func (a *Admin) State(ctx context.Context) (*live.State, error) {
	body, err := a.call(ctx, http.MethodGet, "/admin/v1/state", mostState)
	if errors.Is(err, errNotThere) {
		err = fmt.Errorf("%w; is this the admin listener (api.admin_listen) of a frontend? --admin", err)
	}
	if err != nil {
		return nil, err
	}
	var s live.State
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, fmt.Errorf("%s answers, but not as a frontend of baton: %w", a.base, err)
	}
	return &s, nil
}

// Cancel ends a request of the frontend.
func (a *Admin) Cancel(ctx context.Context, id string) error {
	_, err := a.call(ctx, http.MethodPost, "/admin/v1/requests/"+url.PathEscape(id)+"/cancel", mostError)
	if errors.Is(err, errNotThere) {
		err = fmt.Errorf("%w; another frontend may have it: --admin", err)
	}
	return err
}

// call makes one call and returns its answer of at most the given bytes; what is no answer of baton is an error that says what to do.
func (a *Admin) call(ctx context.Context, method, path string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, a.base+path, nil)
	if err != nil {
		return nil, err
	}
	if a.key != "" {
		req.Header.Set("Authorization", "Bearer "+a.key)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without method and URL, which the sentence has
		}
		return nil, fmt.Errorf("no frontend's admin listener answers at %s: %w; baton up prints its address (live view), and baton frontend has one where api.admin_listen is set: --admin", a.base, err)
	}
	defer resp.Body.Close() //nolint:errcheck // Read only.
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the answer of %s: %w", a.base, err)
	case resp.StatusCode == http.StatusOK:
		return body, nil
	case resp.StatusCode == http.StatusUnauthorized && a.key == "":
		return nil, fmt.Errorf("%s: %w", a.base, errNoKey)
	}
	var said struct {
		Error struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	status := fmt.Errorf("HTTP %d", resp.StatusCode)
	if resp.StatusCode == http.StatusNotFound {
		status = errNotThere
	}
	if json.Unmarshal(body, &said) == nil && said.Error.Message != "" {
		return nil, fmt.Errorf("%s: %s (%w)", a.base, said.Error.Message, status)
	}
	return nil, fmt.Errorf("%s%s: %w", a.base, path, status)
}
