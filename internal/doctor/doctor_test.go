package doctor_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/doctor"
	"github.com/baton-llm/baton/router/schedule"
)

func TestNothingIsWrong(t *testing.T) {
	s := healthy()
	report := s.examine(t)
	for _, f := range report.Findings() {
		if f.Level != doctor.OK && f.About != "this machine" {
			t.Errorf("%s of %s: %s", f.Level, f.About, f.Found)
		}
	}
	var text bytes.Buffer
	if err := report.Print(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"1 frontend, 1 prefill, 1 decode", "BATON_PREFILL: 0 messages", "this user may do what the role operator needs", "agree with this machine's", "all have version v1",
		"for a worker of role prefill", "in blocks of 16", "the 2 of meta-llama/Meta-Llama-3.1-70B-Instruct are alike", "0 problems",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not said:\n%s", want, text.String())
		}
	}
}

// Each thing that is wrong is said, with what to do.
func TestWhatIsWrongIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(t *testing.T, s *site)
		level  doctor.Level
		found  string
		fix    string
	}{
		"no server": {func(t *testing.T, s *site) {
			s.streams = false
			s.subject.NATS.URL, s.subject.NATS.ConnectTimeout = nowhere(t), 100*time.Millisecond
		}, doctor.Problem, "connect to NATS at nats://127.0.0.1", "--nats"},
		"no JetStream":   {func(_ *testing.T, s *site) { s.nats.NoJetStream, s.streams = true, false }, doctor.Problem, "no JetStream", "nats-server -js"},
		"small messages": {func(_ *testing.T, s *site) { s.nats.MaxPayload = 64 << 10 }, doctor.Warning, "messages have at most 64 KiB", "max_payload"},
		"no streams":     {func(_ *testing.T, s *site) { s.streams = false }, doctor.Warning, "BATON_DECODE is not there yet", "start a frontend"},
		"other bounds":   {func(_ *testing.T, s *site) { s.subject.NATS.Prefill.MaxMsgs = 7 }, doctor.Warning, "nats.prefill_queue.max_msgs is 7 here and 100000 at the server", "--config"},
		"other storage":  {func(_ *testing.T, s *site) { s.subject.NATS.Storage = bus.File }, doctor.Warning, "nats.storage is file here and memory at the server", "--config"},

		"nobody":             {func(_ *testing.T, s *site) { s.processes = nil }, doctor.Problem, "no process of baton answers", "nats.url"},
		"no frontend":        {func(_ *testing.T, s *site) { s.processes = s.processes[1:] }, doctor.Problem, "no frontend answers", "baton frontend"},
		"no decode worker":   {func(_ *testing.T, s *site) { s.processes = s.processes[:2] }, doctor.Problem, "no decode worker for model m", "baton role"},
		"not ready":          {func(_ *testing.T, s *site) { s.processes[1].Ready, s.processes[1].Why = false, "it serves no model" }, doctor.Warning, "prefill-1 is not ready: it serves no model", "http://"},
		"held":               {func(_ *testing.T, s *site) { s.processes[2].Held, s.processes[2].Leaving = true, true }, doctor.Warning, "decode-1 takes no work", "baton undrain decode-1"},
		"mixed versions":     {func(_ *testing.T, s *site) { s.processes[1].Version = "v0" }, doctor.Warning, "v0 (prefill-1); v1 (this command, ", "baton drain"},
		"clock ahead":        {func(_ *testing.T, s *site) { s.skew = time.Minute }, doctor.Problem, "clock of decode-1 is 1m0s ahead", "NTP"},
		"clock a bit late":   {func(_ *testing.T, s *site) { s.skew = -time.Second }, doctor.Warning, "clock of decode-1 is 1s behind", "NTP"},
		"another clock late": {func(_ *testing.T, s *site) { s.skew = -time.Hour }, doctor.Problem, "behind this machine's: deadlines", "NTP"},

		"engine down":    {func(_ *testing.T, s *site) { s.decode.Faults.Crash = true }, doctor.Problem, "it is not healthy", "worker.engine"},
		"engine errs":    {func(_ *testing.T, s *site) { s.decode.Faults.Status = 500 }, doctor.Problem, "it does not answer a prompt of one word", "log"},
		"key":            {func(_ *testing.T, s *site) { s.prefill.APIKey = "k" }, doctor.Problem, "it names no model", "engine.api_key"},
		"no handle":      {func(_ *testing.T, s *site) { s.prefill.Faults.NoHandle = true }, doctor.Problem, "no KV connector", `"kv_role":"kv_producer"`},
		"block sizes":    {func(_ *testing.T, s *site) { s.decode.BlockSize = 32 }, doctor.Problem, "the block size of meta-llama/Meta-Llama-3.1-70B-Instruct differs: 16 at http", "--block-size"},
		"context length": {func(_ *testing.T, s *site) { s.decode.MaxModelLen = 4096 }, doctor.Problem, "max_model_len of", "--max-model-len"},
		"lease not told": {func(_ *testing.T, s *site) { s.subject.Lease = 90500 * time.Millisecond }, doctor.Warning, "does not tell its", `"kv_lease_duration":91`},
		"lease too short": {func(t *testing.T, s *site) {
			s.subject.Lease, s.processes[1].Engine = time.Minute, vllm(t)
		}, doctor.Problem, "it frees KV caches after 30s, and workers count on prefill.lease, 1m0s", `"kv_lease_duration":60`},
		"no connector": {func(t *testing.T, s *site) { s.processes[2].Engine = vllm(t, "vllm:nixl_", "vllm:other_") }, doctor.Warning, "no KV connector", "kv_consumer"},
		"no prefix caching": {func(t *testing.T, s *site) {
			s.subject.Engines = []string{vllm(t, `caching="True"`, `caching="False"`)}
		}, doctor.Warning, "prefix caching is off", "--no-enable-prefix-caching"},
		"long iterations": {func(t *testing.T, s *site) { s.processes[2].Engine = vllm(t, "1344", "8192") }, doctor.Warning, "max_num_batched_tokens is 8192: in mode elastic", "--max-num-batched-tokens 1344 --long-prefill-token-threshold 1024"},
		"small window":    {func(t *testing.T, s *site) { s.processes[1].Engine = vllm(t, "1344", "8192") }, doctor.Warning, "schedule.prefill_window", "--schedule.prefill_window 8192"},
		"wrong answers": {func(t *testing.T, s *site) {
			s.processes[1].Engine = vllm(t, "after_expiry_total 0", "after_expiry_total 3")
		}, doctor.Problem, "3 of its KV caches were read after their lease", "prefill.lease"},
		"failed transfers": {func(t *testing.T, s *site) { s.processes[2].Engine = vllm(t, "transfers_total 0", "transfers_total 2") }, doctor.Warning, "could not read 2 KV caches", "log"},
		"versions of vLLM": {func(t *testing.T, s *site) {
			s.processes[1].Engine, s.processes[2].Engine = vllm(t), vllm(t, "0.32.0", "0.31.1")
		}, doctor.Problem, "vLLM's version of smol differs: 0.31.1 at http", "same version"},
		"paths of the model": {func(t *testing.T, s *site) {
			s.processes[1].Engine, s.processes[2].Engine = vllm(t), vllm(t, "/models/smol", "smol/")
		}, doctor.Problem, "the model's path of smol differs: /models/smol at", "to the letter"},
		"an engine of one's own": {func(t *testing.T, s *site) {
			s.subject.Engines = []string{foreign(t, map[string]string{"/health": ""})}
		}, doctor.Problem, "it names no model", "engine.api_key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := healthy()
			c.breaks(t, s)
			if s.subject.NATS.URL != bus.DefaultConfig().URL {
				report := doctor.Examine(t.Context(), s.subject)
				says(t, report, c.level, c.found, c.fix)
				return
			}
			says(t, s.examine(t), c.level, c.found, c.fix)
		})
	}
}

func says(t *testing.T, report *doctor.Report, level doctor.Level, found, fix string) {
	t.Helper()
	for _, f := range report.Findings() {
		if f.Level == level && strings.Contains(f.Found, found) && strings.Contains(f.Fix, fix) {
			return
		}
	}
	var text bytes.Buffer
	_ = report.Print(&text)
	t.Errorf("no %s says %q and %q:\n%s", level, found, fix, text.String())
}

// nowhere is a URL that nobody listens at.
func nowhere(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return fmt.Sprintf("nats://%s", ln.Addr())
}

// Batches matter only where prompts are computed beside answers.
func TestLongIterationsWithoutPromptsAreWell(t *testing.T) {
	s := healthy()
	s.subject.Mode, s.processes[2].Engine = schedule.Split, vllm(t, "1344", "8192")
	for _, f := range s.examine(t).Findings() {
		if strings.Contains(f.Found, "max_num_batched_tokens is") {
			t.Errorf("%s: %s", f.Level, f.Found)
		}
	}
}

// An engine that takes requests and computes nothing holds nobody up.
func TestExaminationEndsInTime(t *testing.T) {
	s := healthy()
	s.decode.Faults.Hang = true
	s.subject.Engine.FirstByteTimeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	s.subject.Engines = []string{simulated(t, s.decode)}
	s.subject.NATS.URL, s.subject.NATS.ConnectTimeout = nowhere(t), 100*time.Millisecond
	ended := make(chan *doctor.Report, 1)
	go func() { ended <- doctor.Examine(ctx, s.subject) }()
	select {
	case report := <-ended:
		says(t, report, doctor.Problem, "it does not answer a prompt of one word", "log")
	case <-time.After(30 * time.Second):
		t.Fatal("the examination goes on")
	}
}
