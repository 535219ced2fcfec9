package telemetry

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Standard takes over what OpenTelemetry's own variables say of traces and no setting of baton does: endpoint, protocol,
// service name and sampler. sources says by path where each setting came from, which Standard brings up to date. The
// exporter itself reads the rest of OTEL_EXPORTER_OTLP_* (headers, certificates, compression, timeout), OTEL_BSP_* and
// OTEL_RESOURCE_ATTRIBUTES.
func (c *TracingConfig) Standard(env func(string) (string, bool), sources map[string]string) error {
	get := func(name string) string {
		value, _ := env(name)
		return strings.TrimSpace(value)
	}
	take := func(path, name string, set func(value string) error) error {
		value := get(name)
		if value == "" || sources[path] != "default" {
			return nil
		}
		if err := set(value); err != nil {
			return fmt.Errorf("variable %s: %w", name, err)
		}
		sources[path] = name
		return nil
	}
	if strings.EqualFold(get("OTEL_SDK_DISABLED"), "true") || get("OTEL_TRACES_EXPORTER") == "none" {
		return nil
	}
	var err error
	for _, from := range []struct{ endpoint, protocol, path string }{
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "/v1/traces"},
	} {
		err = errors.Join(err, take("tracing.endpoint", from.endpoint, func(value string) error {
			if p := get(from.protocol); p != "" && p != "http/protobuf" {
				return fmt.Errorf("the collector is to be spoken to in %s (%s), but baton knows http/protobuf alone", p, from.protocol)
			}
			c.Endpoint = value
			if from.path != "" {
				c.Endpoint = strings.TrimRight(value, "/") + from.path
			}
			return nil
		}))
	}
	err = errors.Join(err, take("tracing.service_name", "OTEL_SERVICE_NAME", func(value string) error {
		c.ServiceName = value
		return nil
	}))
	return errors.Join(err, take("tracing.sample_ratio", "OTEL_TRACES_SAMPLER", func(value string) (err error) {
		c.SampleRatio, err = ratio(value, get("OTEL_TRACES_SAMPLER_ARG"))
		return err
	}))
}

// ratio is the share of traces without a parent that a sampler of OpenTelemetry takes. baton always does what the parent did.
func ratio(sampler, arg string) (float64, error) {
	switch strings.TrimPrefix(sampler, "parentbased_") {
	case "always_on":
		return 1, nil
	case "always_off":
		return 0, nil
	case "traceidratio":
		if arg == "" {
			return 1, nil
		}
		share, err := strconv.ParseFloat(arg, 64)
		if err != nil {
			return 0, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is %q, want a number from 0 to 1", arg)
		}
		return share, nil
	}
	return 0, fmt.Errorf("sampler %q is not known, want always_on, always_off or traceidratio, or one of them after parentbased_", sampler)
}
