// Package worker holds what the prefill and the decode stage do alike: take the jobs that dispatchers
// assign, wait for room, run each in a goroutine that the stage owns, report how far they are, fetch a
// request's body, tell the router of a failure, and drain. It knows neither stage, no engine and no
// policy.
package worker
