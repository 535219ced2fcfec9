// Package worker holds what the prefill and the decode stage do alike: pull jobs while there is
// room, run each in a goroutine that the pull loop owns, fetch a request's body, tell the router
// of a failure, and drain. It knows neither stage, no engine and no policy.
package worker
