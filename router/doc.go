// Package router takes a request from admission to its one final state: it queues the request,
// remembers it while it is in flight, joins the frames that workers send into one answer, tries again
// what failed, has an answer that broke off continued, and cancels what nobody wants. Where a request
// runs is not its business: dispatchers decide (router/dispatch), by the law in router/schedule.
//
// An admitted request is queued, prefilling, handed, decoding, and at last exactly one of done,
// failed and cancelled. One that a single worker does wholly goes from queued to decoding. What drives
// it is the goroutine that called Do; there is none of its own.
//
// The package knows no HTTP, no NATS and nothing of what is in a body (router/resume does).
package router
