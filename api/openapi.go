package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/baton-llm/baton/api/spec"
)

// openAPI serves the OpenAPI description of this server.
func openAPI(version string) http.HandlerFunc {
	text, err := spec.JSON(version)
	if err != nil {
		panic(fmt.Sprintf("api: %v", err)) // the text is part of the program
	}
	sum := sha256.Sum256(text)
	etag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", etag)
		w.Header().Set("Cache-Control", "max-age=300")
		if holds(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		writeJSON(w, http.StatusOK, text)
	}
}

// holds tells whether a list of entity tags names etag.
func holds(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimPrefix(strings.TrimSpace(tag), "W/")
		if tag == etag || tag == "*" {
			return true
		}
	}
	return false
}
