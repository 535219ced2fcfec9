// Package telemetry makes the process-wide means of observation: the logger, the metrics registry
// and the tracer provider. It sets no globals and knows no other package of baton; what is
// measured belongs to the packages that measure it.
package telemetry
