//go:build e2e

package e2evllm

import (
	"context"
	"testing"
	"time"
)

// freed waits until neither engine holds anything, and holds their counts to what they were: no lease may
// have ended unread, and no block been read after that.
func (p *pair) freed(t *testing.T, before [2]metrics) {
	t.Helper()
	for i, e := range []*engine{p.prefill, p.decode} {
		after := e.awaitIdle(t, freeTime)
		for _, name := range []string{expired, late, failures} {
			if after[name] != before[i][name] {
				t.Errorf("%s: %s is %v, before %v", e.Name, name, after[name], before[i][name])
			}
		}
	}
}

// counts of both engines, which must be idle.
func (p *pair) counts(t *testing.T) [2]metrics {
	t.Helper()
	return [2]metrics{p.prefill.awaitIdle(t, lease+freeTime), p.decode.awaitIdle(t, lease+freeTime)}
}

// leaveInPrefill leaves while the prefill engine computes the prompt, which takes it many batches.
func leaveInPrefill(t *testing.T, p *pair) {
	before := p.counts(t)
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	ended := make(chan error, 1)
	go func() {
		_, err := post(ctx, p.URL, completion(sentence("Day %d was colder than the one before. ", 330), 100))
		ended <- err
	}()
	await(t, time.Minute, "the prefill engine computes", func() bool { return p.prefill.metrics(t)[running] > 0 })
	leave()
	if err := <-ended; err == nil {
		t.Fatal("the answer came before the client could leave")
	}
	p.freed(t, before)
	if n := p.decode.metrics(t)[prompts] - before[1][prompts]; n != 0 {
		t.Errorf("the decode engine got %v prompt tokens of a request that was given up in prefill", n)
	}
}

// leaveInDecode leaves after the first words of a long answer.
func leaveInDecode(t *testing.T, p *pair) {
	before := p.counts(t)
	a := completion("1, 2, 3, 4,", 1000)
	a.body = a.body.with("ignore_eos", true)
	s := openStream(t, p.URL, a)
	for range 4 {
		if _, err := s.next(); err != nil {
			t.Fatal(err)
		}
	}
	if p.decode.metrics(t)[running] == 0 {
		t.Error("the decode engine runs nothing in the midst of an answer")
	}
	s.leave()
	p.freed(t, before)
}
