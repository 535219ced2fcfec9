// Package decode is the second stage at an engine: it pulls decode jobs while the engine has room,
// redeems each job's handle once and streams the answer to the router. A handle is never used
// twice nor past its lease: the engine would give another request's text with status 200. The
// package knows no prefill worker but by name, no client and no NATS.
package decode
