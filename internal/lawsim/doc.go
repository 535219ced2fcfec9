// Package lawsim plays loads against the scheduling law and engines that cost nothing: discrete events,
// simulated time, hundreds of requests in milliseconds. It knows what makes the time of a request (the engines' batches,
// memory and links, and what the law knows when), and nothing of HTTP, NATS or failures.
package lawsim
