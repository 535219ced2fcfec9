package deploytest

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"testing"
)

// The chart's alerts are those of deploy/prometheus, which a chart cannot read where they are. Without any, the chart
// says that it has none.
func TestAlertsOfTheChart(t *testing.T) {
	alerts, err := os.ReadFile("../prometheus/alerts.yaml")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	own, err := os.ReadFile(chartDir + "/files/alerts.yaml")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if !bytes.Equal(alerts, own) {
		t.Error("the chart has other alerts: cp deploy/prometheus/alerts.yaml deploy/helm/baton/files/alerts.yaml")
	}
	r := release{name: "b", namespace: "n", set: []string{"metrics.prometheusRule.enabled=true"}}
	if _, err := r.render(t); (err == nil) != (len(own) > 0) {
		t.Errorf("with %d bytes of alerts: %v", len(own), err)
	}
	if len(own) > 0 {
		r.objects(t) // a PrometheusRule as its operator reads it
	}
}
