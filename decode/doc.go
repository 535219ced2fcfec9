// Package decode is the stage that makes answers at an engine: from a handle, which it redeems once, or
// by doing a whole request, and streams them to the router. A handle is never used twice nor past its
// lease: the engine would give another request's text with status 200. The package knows no prefill
// worker but by name, no client and no NATS.
package decode
