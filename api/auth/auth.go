// Package auth knows who may use the HTTP API and how much. It owns the API keys' file and its
// reload, the check of a presented key, and the limits of each tenant. It must not know routes,
// bodies or how a refusal looks on the wire: that is api's.
package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	hashPrefix = "sha256:"
	minKey     = 16  // characters; what is shorter can be guessed, the more so as the hash is fast
	maxKey     = 512 // characters that are looked at
	keyBytes   = 20  // of randomness in a generated key: nobody guesses 160 bits
)

// Digest is the SHA-256 of a key. Keys are random strings of high entropy, not passwords: there is
// nothing to guess offline that a slow hash would protect, and every request pays for the hash.
type Digest [sha256.Size]byte

// DigestOf hashes a key.
func DigestOf(key string) Digest { return sha256.Sum256([]byte(key)) }

// String is the form of the keys file, sha256:<hex>.
func (d Digest) String() string { return hashPrefix + hex.EncodeToString(d[:]) }

// parseDigest is the inverse of String. Its errors do not quote the text, which may be a key that
// was put in the wrong place.
func parseDigest(text string) (d Digest, err error) {
	digits, ok := strings.CutPrefix(text, hashPrefix)
	if !ok || len(digits) != hex.EncodedLen(len(d)) {
		return d, errors.New("hash is not sha256: and 64 hexadecimal digits (`baton keys hash` makes it)")
	}
	if _, err := hex.Decode(d[:], []byte(digits)); err != nil {
		return d, errors.New("hash is not all hexadecimal digits after its sha256: prefix")
	}
	return d, nil
}

// Generate makes a new key.
func Generate() string {
	var b [keyBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return "baton-" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// CheckKey says why a string cannot serve as a key, without quoting it.
func CheckKey(key string) error {
	switch {
	case len(key) < minKey:
		return fmt.Errorf("an API key of %d characters can be guessed, want %d or more", len(key), minKey)
	case len(key) > maxKey:
		return fmt.Errorf("an API key has %d characters, want at most %d", len(key), maxKey)
	case !visible(key):
		return errors.New("an API key has a blank or a character that is not ASCII")
	}
	return nil
}

// visible tells whether a text has only what may stand in a header's token.
func visible(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Key is what one API key allows. It never changes.
type Key struct {
	Name   string     // of the tenant; keys of one name share its limits
	Class  wire.Class // of requests that ask for none, and the best they may ask for
	models []string   // nil: every model

	digest   Digest
	disabled bool
	expires  time.Time // zero: never
	tenant   *tenant
}

// Serves tells whether the key may use the model.
func (k *Key) Serves(model string) bool { return k.models == nil || slices.Contains(k.models, model) }

// Enter lets one request in that is charged so many tokens until its end, or refuses it with a
// *Refusal. The lease must be ended.
func (k *Key) Enter(tokens int) (*Lease, error) { return k.tenant.enter(tokens, time.Now()) }

// Denied is why a request has no usable key. Its text is for the client.
type Denied struct {
	Reason string // as a metric label
	text   string
}

func (d *Denied) Error() string { return d.text }

// Why there is no usable key.
var (
	ErrNoKey     = &Denied{"no_key", "No API key was sent. Send it in the header `Authorization: Bearer KEY`."}
	ErrMalformed = &Denied{"malformed_key", "The header with the API key is malformed, want `Authorization: Bearer KEY`."}
	ErrUnknown   = &Denied{"unknown_key", "The API key is not known here."}
	ErrDisabled  = &Denied{"disabled_key", "The API key is disabled."}
	ErrExpired   = &Denied{"expired_key", "The API key has expired."}
)

// find returns the usable key of a presented text. The map's access time depends on the digest of
// what was presented; to use it, one would have to choose texts by their SHA-256, and would then
// learn of the digest and nothing of the key. The comparison takes the same time whatever differs.
func find(keys map[Digest]*Key, presented string, now time.Time) (*Key, error) {
	digest := DigestOf(presented)
	key, ok := keys[digest]
	switch {
	case !ok || subtle.ConstantTimeCompare(digest[:], key.digest[:]) != 1:
		return nil, ErrUnknown
	case key.disabled:
		return nil, ErrDisabled
	case !key.expires.IsZero() && !now.Before(key.expires):
		return nil, ErrExpired
	}
	return key, nil
}
