.DEFAULT_GOAL := help
bin := $(shell go env GOPATH)/bin
FUZZTIME ?= 20s
PEERS ?= peers

.PHONY: help run build test e2e-vllm reference lint fmt fuzz clients client-bench peers schemathesis vllm-cpu sim-check deploy-test image sbom ci
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## a whole deployment in one process, with simulated engines
	go run ./cmd/baton up

build: ## the static binary, bin/baton
	CGO_ENABLED=0 go build -trimpath -o bin/baton ./cmd/baton

test: ## every test, with the race detector
	go test -race -timeout 20m ./...

reference: ## the reference benchmark and others like it, in virtual time
	go run ./cmd/baton bench reference --virtual

clients: ## the OpenAI SDKs of Python and Node, and others, against real processes
	internal/clients/run

lint: ## what CI lints with
	$(bin)/golangci-lint run ./...

fmt: ## format every file
	$(bin)/gofumpt -l -w .

fuzz: ## each fuzz target for FUZZTIME
	@grep -rlE --include='*_test.go' '^func Fuzz' . | while read -r file; do \
		sed -nE 's/^func (Fuzz[A-Za-z0-9_]+).*/\1/p' "$$file" | while read -r name; do \
			go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$$(dirname "$$file")" || exit 1; \
		done || exit 1; \
	done

vllm-cpu: ## a real vLLM without a GPU, for tests; prints its folder
	@internal/vllmcpu/setup

e2e-vllm: ## the end-to-end suite on real vLLM engines without a GPU; ten minutes
	go test -tags e2e -count 1 -timeout 90m -v ./internal/e2evllm

peers: ## baton and other routers side by side; installs them on the first run
	go run ./internal/peers run --out $(PEERS)

client-bench: ## vLLM's benchmark client against baton up
	internal/clients/vllmbench/run

schemathesis: ## a running baton against its OpenAPI description
	internal/clients/schemathesis/run.sh

sim-check: ## the simulated engine against a public simulator; downloads it on the first run
	scripts/simcheck/run

deploy-test: ## the chart, compose file, units and image, against what baton and Kubernetes know
	cd deploy/test && go test ./...
	cd deploy/image && go test ./...

VERSION ?= v$(shell sed -n 's/^appVersion: \([^ ]*\).*/\1/p' deploy/helm/baton/Chart.yaml)
EPOCH ?= $(shell git log -1 --format=%ct)
image: ## bin/baton-image.tar, for docker load; needs no Docker
	CGO_ENABLED=0 GOOS=linux go build -trimpath -buildvcs=false \
		-ldflags='-s -w -buildid= -X github.com/baton-llm/baton/internal/telemetry.linked=$(VERSION)' -o bin/image/baton ./cmd/baton
	cd deploy/image && go run . -binary ../../bin/image/baton -o ../../bin/baton-image.tar -tag baton:$(VERSION:v%=%) -epoch $(EPOCH)

sbom: ## bin/baton.cdx.json: the modules in the binary, as CycloneDX
	CGO_ENABLED=0 go build -trimpath -o bin/baton ./cmd/baton
	go run github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0 bin -json -output bin/baton.cdx.json bin/baton

ci: ## all that must pass before a change goes in
	.ci/run
