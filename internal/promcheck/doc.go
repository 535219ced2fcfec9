// Package promcheck holds the dashboards and alerts of deploy/ to what a running deployment exports. It is a module of
// its own, since it needs Prometheus's parsers, and has only tests.
package promcheck
