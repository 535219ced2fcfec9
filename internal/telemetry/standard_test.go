package telemetry

import (
	"maps"
	"strings"
	"testing"
)

func TestStandardVariables(t *testing.T) {
	changed := func(f func(*TracingConfig)) TracingConfig {
		c := DefaultTracingConfig()
		f(&c)
		return c
	}
	for name, c := range map[string]struct {
		env  map[string]string
		set  map[string]string // sources that are no default
		want TracingConfig
		err  string
	}{
		"nothing": {want: DefaultTracingConfig()},
		"a collector": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
			want: changed(func(c *TracingConfig) { c.Endpoint = "http://collector:4318/v1/traces" }),
		},
		"one for traces": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://other:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://traces/x"},
			want: changed(func(c *TracingConfig) { c.Endpoint = "https://traces/x" }),
		},
		"name and share": {
			env: map[string]string{"OTEL_SERVICE_NAME": "llm", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
			want: changed(func(c *TracingConfig) {
				c.ServiceName, c.SampleRatio = "llm", 0.25
			}),
		},
		"baton's own settings win": {
			env:  map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SERVICE_NAME": "llm", "OTEL_TRACES_SAMPLER": "always_off"},
			set:  map[string]string{"tracing.endpoint": "baton.yaml:3", "tracing.service_name": "--tracing.service_name", "tracing.sample_ratio": "BATON_TRACING_SAMPLE_RATIO"},
			want: DefaultTracingConfig(),
		},
		"disabled":    {env: map[string]string{"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, want: DefaultTracingConfig()},
		"no exporter": {env: map[string]string{"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, want: DefaultTracingConfig()},
		"another protocol": {
			env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
			err: "OTEL_EXPORTER_OTLP_ENDPOINT", want: DefaultTracingConfig(),
		},
		"a sampler of others": {env: map[string]string{"OTEL_TRACES_SAMPLER": "jaeger_remote"}, err: "OTEL_TRACES_SAMPLER", want: changed(func(c *TracingConfig) { c.SampleRatio = 0 })},
	} {
		t.Run(name, func(t *testing.T) {
			sources := map[string]string{"tracing.endpoint": "default", "tracing.service_name": "default", "tracing.sample_ratio": "default"}
			maps.Copy(sources, c.set)
			got := DefaultTracingConfig()
			err := got.Standard(func(name string) (string, bool) { v, ok := c.env[name]; return v, ok }, sources)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("Standard = %v, want an error that names %q", err, c.err)
			}
			if got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if from := sources["tracing.endpoint"]; got.Endpoint != "" && !strings.HasPrefix(from, "OTEL_") {
				t.Errorf("the endpoint is said to come from %s", from)
			}
		})
	}
}
