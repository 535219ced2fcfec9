package auth

import (
	"net/http"
	"strings"
)

// Presented returns the key that a request's header holds: `Authorization: Bearer KEY` or, where
// the route takes it, Anthropic's x-api-key. Authorization wins. The error is a *Denied.
func Presented(h http.Header, anthropic bool) (string, error) {
	bearer, own := h.Values("Authorization"), h.Values("X-Api-Key")
	switch {
	case len(bearer) == 1:
		scheme, key, _ := strings.Cut(bearer[0], " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return "", ErrMalformed
		}
		return token(strings.Trim(key, " "))
	case len(bearer) > 1:
		return "", ErrMalformed
	case anthropic && len(own) == 1:
		return token(own[0])
	case anthropic && len(own) > 1:
		return "", ErrMalformed
	}
	return "", ErrNoKey
}

// token bounds what is hashed for strangers.
func token(key string) (string, error) {
	if key == "" || len(key) > maxKey || !visible(key) {
		return "", ErrMalformed
	}
	return key, nil
}
