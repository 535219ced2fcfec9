package telemetry

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLoggerKeepsLevelAndForm(t *testing.T) {
	var out bytes.Buffer
	log := Logger(LogConfig{Level: slog.LevelWarn, Format: "json"}, &out)
	log.Info("hidden")
	log.Warn("shown", slog.Int("n", 3))
	var line struct {
		Msg string
		N   int
	}
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("log is not one JSON line: %v\n%s", err, out.String())
	}
	if line.Msg != "shown" || line.N != 3 {
		t.Errorf("logged %+v", line)
	}

	out.Reset()
	Logger(DefaultLogConfig(), &out).Info("shown", slog.Int("n", 3))
	if got := out.String(); !strings.Contains(got, "level=INFO msg=shown n=3\n") {
		t.Errorf("text line is %q", got)
	}
}

func TestRegistryHasBuildAndRuntime(t *testing.T) {
	r := Registry()
	if n, err := testutil.GatherAndCount(r, "baton_build_info", "go_goroutines"); err != nil || n != 2 {
		t.Errorf("found %d series, %v, want 2", n, err)
	}
	if problems, err := testutil.GatherAndLint(r, "baton_build_info"); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

func TestVersionOf(t *testing.T) {
	for _, tt := range []struct {
		main, revision, modified string
		want                     string
	}{
		{"v0.3.1", "0123456789abcdef", "false", "v0.3.1"},
		{"(devel)", "0123456789abcdef", "false", "devel-0123456789ab"},
		{"", "0123", "true", "devel-0123-dirty"},
		{"(devel)", "", "", "devel"},
	} {
		info := &debug.BuildInfo{
			Main: debug.Module{Version: tt.main},
			Settings: []debug.BuildSetting{
				{Key: "vcs.revision", Value: tt.revision},
				{Key: "vcs.modified", Value: tt.modified},
			},
		}
		if got := versionOf(info); got != tt.want {
			t.Errorf("versionOf(%+v) = %q, want %q", tt, got, tt.want)
		}
	}
}

func TestTracingIsOffWithoutEndpoint(t *testing.T) {
	provider, shutdown, err := Tracing(t.Context(), DefaultTracingConfig())
	if err != nil {
		t.Fatal(err)
	}
	_, span := provider.Tracer("test").Start(t.Context(), "request")
	if span.IsRecording() {
		t.Error("a span records although tracing is off")
	}
	if err := shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestShutdownDeliversSpans(t *testing.T) {
	for _, form := range []string{"url", "host:port"} {
		t.Run(form, func(t *testing.T) {
			bodies := make(chan []byte, 1)
			collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil || r.URL.Path != "/v1/traces" {
					t.Errorf("got %s, %v", r.URL.Path, err)
				}
				bodies <- body
			}))
			defer collector.Close()

			cfg := DefaultTracingConfig()
			cfg.ServiceName = "baton-under-test"
			cfg.Endpoint = collector.URL + "/v1/traces"
			if form == "host:port" {
				cfg.Endpoint, cfg.Insecure = strings.TrimPrefix(collector.URL, "http://"), true
			}
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			provider, shutdown, err := Tracing(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, span := provider.Tracer("test").Start(t.Context(), "one request")
			span.End()
			if err := shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			body := <-bodies // shutdown has returned: it is there
			for _, want := range []string{"baton-under-test", "one request"} {
				if !bytes.Contains(body, []byte(want)) {
					t.Errorf("the collector got no %q", want)
				}
			}
		})
	}
}

func TestValidateNamesEveryFault(t *testing.T) {
	if err := DefaultLogConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := DefaultTracingConfig().Validate(); err != nil {
		t.Error(err)
	}
	if err := (LogConfig{Format: "xml"}).Validate(); err == nil || err.Error() != `log.format is "xml", want text or json` {
		t.Errorf("Validate = %v", err)
	}
	err := TracingConfig{Endpoint: "ftp://a", SampleRatio: math.NaN()}.Validate()
	const want = `tracing.sample_ratio is NaN, want 0 to 1
tracing.service_name is empty, want a name
tracing.endpoint is "ftp://a", want host:port or an http(s) URL`
	if err == nil || err.Error() != want {
		t.Errorf("Validate =\n%v\nwant\n%s", err, want)
	}
}
