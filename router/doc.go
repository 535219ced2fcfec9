// Package router takes a request from admission to its one final state: it decides which queue
// the request goes to, remembers it while it is in flight, joins the frames that workers send into
// one answer, tries again what failed before the answer began, and cancels what nobody wants.
//
// An admitted request is queued, prefilling, handed, decoding, and at last exactly one of done,
// failed and cancelled. A request that does not split goes from queued to decoding. What drives it
// is the goroutine that called Do; there is none of its own.
//
// The package knows no HTTP, no NATS and nothing of what is in a body.
package router
