// Package prefill is the first stage at an engine: it pulls prefill jobs by token budget, has the
// engine compute the prompt's KV cache and hands the resulting handle to the decode queue. It
// owns the handles it issued until they end. It knows no decode worker, no client and no NATS.
package prefill
