// Package e2evllm holds the end-to-end suite: baton's own binary in front of two real vLLM engines that hand
// KV caches over NIXL. It has only tests, behind the build tag e2e, as they take minutes and an environment of
// 3 GB: `make e2e-vllm` runs all of them, `go test -tags e2e -short` the smoke that CI runs. The suite knows
// baton from outside alone: its command line, its files, HTTP and metrics.
package e2evllm
