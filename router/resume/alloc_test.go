package resume_test

import (
	"testing"

	"github.com/baton-llm/baton/router/resume"
)

// An event of the usual form is taken, and edited for its client, without an allocation.
func TestEventsAllocateNothing(t *testing.T) {
	tr := resume.New(terms(t, true, `{`+hello+`,"stream":true}`), 1<<10)
	data := []byte(event(true, "chatcmpl-0123456789", `" w"`, "null", 8192, 100))
	take := func() {
		if out, err := tr.Event(data); err != nil || out == nil {
			t.Fatal(string(out), err)
		}
	}
	take()
	const most = 0.5 // the text of the answer grows now and then
	if n := testing.AllocsPerRun(200, take); n > most {
		t.Errorf("an event makes %.1f allocations, want none", n)
	}
}
