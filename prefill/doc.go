// Package prefill is the first stage at an engine: it takes the jobs that a dispatcher has assigned to
// this worker, has the engine compute the prompt's KV cache and queues the resulting handle for the
// decode worker that the dispatcher named. It owns the handles it issued until they end. It knows no
// decode worker but by name, no client and no NATS.
package prefill
