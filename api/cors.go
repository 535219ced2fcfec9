package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/rs/cors"
)

// preflightAge is how long a browser may remember what it may do here.
const preflightAge = time.Hour

// allowOrigins lets web pages of the origins call, keys and all, and read every header of the
// answers. Without origins it does nothing, so that no browser lets a page in. It must stand
// outside of whatever asks for a key: a preflight cannot carry one.
func allowOrigins(origins []string) func(http.Handler) http.Handler {
	if len(origins) == 0 {
		return func(next http.Handler) http.Handler { return next }
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowedHeaders: []string{"*"}, // SDKs send a dozen of their own
		ExposedHeaders: []string{"*"}, // which stands for all, as the answers allow no cookies
		MaxAge:         int(preflightAge.Seconds()),
	}).Handler
}

// checkOrigins reports every fault.
func checkOrigins(origins []string) (err error) {
	for _, origin := range origins {
		if origin == "*" {
			continue
		}
		u, fault := url.Parse(origin)
		if fault != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host || (u.Scheme != "http" && u.Scheme != "https") {
			err = errors.Join(err, fmt.Errorf("api.cors_origins has %q, want scheme://host[:port] or *", origin))
		}
	}
	return err
}
