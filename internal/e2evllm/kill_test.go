//go:build e2e

package e2evllm

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// killPrefill kills the prefill engine when its handle is out. The decode engine cannot read it, and the
// request must be answered by the engine that is started in its place, or fail with a reason.
func killPrefill(t *testing.T, s *site) {
	a := completion("1, 2, 3, 4, 5, 6, 7,", 12)
	want := s.reference(t, a)
	failed := s.decode.metrics(t)[failures]
	thaw, end := s.handed(t.Context(), t, a)
	s.prefill.kill(t, s.up)
	begun := time.Now()
	thaw()
	got := <-end
	t.Logf("after %.0fs: status %d, %v, %s, %q %s", time.Since(begun).Seconds(), got.status, got.err, got.way(), got.text(), failure(got.answer))
	clear := got.status >= 500 && got.Error != nil && got.Error.Message != "" && !strings.Contains(got.raw, "127.0.0.1")
	if got.err != nil || !clear && (got.status != http.StatusOK || got.text() != want.text()) {
		t.Errorf("want %q or a clear error, got: %s", want.text(), got.raw)
	}
	t.Logf("transfers that the decode engine counts as failed: %v", s.decode.metrics(t)[failures]-failed)
	s.served(t, s.base, s.prefill)
}

// killDecode kills the decode engine in the midst of a stream. The stream goes on: its client gets the text of
// an undisturbed run, and nothing that tells of the kill but a pause.
func killDecode(t *testing.T, p *pair) {
	a := completion("1, 2, 3, 4,", 200)
	a.body = a.body.with("ignore_eos", true)
	want := p.reference(t, a)
	s := openStream(t, p.URL, a)
	var begun string
	for range 5 {
		event, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		begun += event.text()
	}
	p.decode.kill(t, p.up)
	killed := time.Now()
	got, err := s.rest()
	text := begun + got.text
	t.Logf("%.1fs after the kill: %d characters, finish %q, error %q, [DONE] %v, %v", time.Since(killed).Seconds(), len(text), got.finish, got.failure, got.done, err)
	if err != nil || got.failure != "" || !got.done {
		t.Errorf("the stream broke off: %v, error %q, [DONE] %v", err, got.failure, got.done)
	}
	if text != want.text() || got.finish != want.finish() {
		t.Errorf("text %q, finish %q; want %q, %q", text, got.finish, want.text(), want.finish())
	}
	p.served(t, p.URL, p.decode)
}

// served waits until baton answers through both engines again, of which one was started anew.
func (p *pair) served(t *testing.T, base string, lost *engine) {
	t.Helper()
	begun := time.Now()
	await(t, startTime, lost.Name+" is there again", func() bool {
		_, err := get(t.Context(), lost.URL+"/health")
		return err == nil
	})
	t.Logf("%s answers again %.0fs after it was missed", lost.Name, time.Since(begun).Seconds())
	a := completion("2, 4, 6, 8,", 10)
	want := p.reference(t, a)
	before := p.decode.metrics(t)[moves]
	await(t, time.Minute, "requests are split again", func() bool { // its worker has to notice
		got := posted(t, base, a)
		t.Logf("then: %s, %q", got.way(), got.text())
		if got.text() != want.text() {
			t.Errorf("text %q, want %q", got.text(), want.text())
		}
		return got.header.Get("X-Baton-Path") == "split"
	})
	if after := p.decode.metrics(t)[moves]; after <= before {
		t.Error("the decode engine read no KV cache of the prefill engine")
	}
}

// failure is the message of an error answer.
func failure(a answer) string {
	if a.Error == nil {
		return ""
	}
	return a.Error.Message
}
