package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// TracingConfig is the YAML section tracing.
type TracingConfig struct {
	Endpoint    string  `yaml:"endpoint" help:"OTLP/HTTP collector, as host:port or URL; empty turns tracing off"`
	ServiceName string  `yaml:"service_name" help:"service.name of the spans"`
	Insecure    bool    `yaml:"insecure" help:"speak plain HTTP to a collector given as host:port"`
	SampleRatio float64 `yaml:"sample_ratio" help:"share of the requests without a sampled parent that is traced, 0 to 1"`
}

// DefaultTracingConfig has tracing off; once an endpoint is set, every request is traced.
func DefaultTracingConfig() TracingConfig {
	return TracingConfig{ServiceName: "baton", SampleRatio: 1}
}

// Validate reports every fault, by YAML name.
func (c TracingConfig) Validate() (err error) {
	if !(c.SampleRatio >= 0 && c.SampleRatio <= 1) { // in this form NaN is refused too
		err = errors.Join(err, fmt.Errorf("tracing.sample_ratio is %v, want 0 to 1", c.SampleRatio))
	}
	if c.Endpoint == "" {
		return err
	}
	if c.ServiceName == "" {
		err = errors.Join(err, errors.New("tracing.service_name is empty, want a name"))
	}
	if _, fault := c.target(); fault != nil {
		err = errors.Join(err, fault)
	}
	return err
}

// target turns the endpoint into the exporter's option.
func (c TracingConfig) target() (otlptracehttp.Option, error) {
	if !strings.Contains(c.Endpoint, "://") {
		return otlptracehttp.WithEndpoint(c.Endpoint), nil
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, fmt.Errorf("tracing.endpoint is %q, want host:port or an http(s) URL", c.Endpoint)
	}
	return otlptracehttp.WithEndpointURL(c.Endpoint), nil
}

// Tracing makes the tracer provider: one that does nothing when no endpoint is set. It does not
// wait for the collector; spans that cannot be delivered are dropped. The caller ends with
// shutdown, which sends what is buffered and gives up when its context ends.
func Tracing(ctx context.Context, cfg TracingConfig) (trace.TracerProvider, func(context.Context) error, error) {
	if cfg.Endpoint == "" {
		return noop.NewTracerProvider(), func(context.Context) error { return nil }, nil
	}
	target, err := cfg.target()
	if err != nil {
		return nil, nil, err
	}
	options := []otlptracehttp.Option{target}
	if cfg.Insecure {
		options = append(options, otlptracehttp.WithInsecure())
	}
	exporter, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		return nil, nil, fmt.Errorf("make the trace exporter for %s: %w", cfg.Endpoint, err)
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(cfg.SampleRatio))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", cfg.ServiceName),
			attribute.String("service.version", Version()),
		)),
	)
	return provider, provider.Shutdown, nil
}
