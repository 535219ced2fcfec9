package wire

import (
	"fmt"
	"strings"
)

// Names of the two work-queue streams and of the claim-check bucket for large bodies.
const (
	PrefillStream = "BATON_PREFILL"
	DecodeStream  = "BATON_DECODE"
	BodyBucket    = "baton-bodies"
)

// Subjects that do not depend on a model or a process.
const (
	PrefillSubjects = "baton.prefill.>" // everything that BATON_PREFILL stores
	DecodeSubjects  = "baton.decode.>"  // everything that BATON_DECODE stores
	AnnounceSubject = "baton.fleet.announce"
	HelloSubject    = "baton.fleet.hello"
	ReportSubject   = "baton.fleet.report"
)

// PrefillSubject is where a prefill job for model and class is published.
func PrefillSubject(model string, class Class) string {
	return "baton.prefill." + Token(model) + "." + class.String()
}

// PrefillFilter selects the prefill jobs of one model, of any class.
func PrefillFilter(model string) string { return "baton.prefill." + Token(model) + ".*" }

// ClassOfPrefill is the class of a PrefillSubject; false: it is none.
func ClassOfPrefill(subject string) (Class, bool) {
	rest, ok := strings.CutPrefix(subject, "baton.prefill.")
	if !ok {
		return 0, false
	}
	_, name, _ := strings.Cut(rest, ".")
	class, err := ParseClass(name)
	return class, err == nil
}

// DecodeSubject is where a decode job of model for one worker is published: the one whose KV room
// the dispatcher has reserved.
func DecodeSubject(model, worker string) string {
	return address("baton.decode."+Token(model)+".", worker)
}

// DecodeFilter selects the decode jobs for one worker, of any model.
func DecodeFilter(worker string) string { return address("baton.decode.*.", worker) }

// AssignSubject is where a dispatcher forwards jobs to one worker, each with an AckHeader.
func AssignSubject(worker string) string { return address("baton.assign.", worker) }

// AbandonSubject is where a frontend tells the dispatchers of model which of its queued jobs
// nobody wants any more.
func AbandonSubject(model string) string { return "baton.abandon." + Token(model) }

// RefuseSubject is where a dispatcher tells one frontend which of its queued jobs it has dropped: a
// JSON list of Refusal.
func RefuseSubject(frontend string) string { return address("baton.refuse.", frontend) }

// FramesSubject is where workers send frames for the clients of one frontend.
func FramesSubject(frontend string) string { return address("baton.frames.", frontend) }

// ControlSubject is where one worker takes control messages.
func ControlSubject(worker string) string { return address("baton.control.", worker) }

// RoleSubject is where one worker answers requests to act in another role: the request is the Role,
// the answer the one that it had.
func RoleSubject(worker string) string { return address("baton.role.", worker) }

// DrainSubject is where one worker answers requests to take no more work: the request is a DrainAsk, the
// answer whether it had none before, true or false.
func DrainSubject(worker string) string { return address("baton.drain.", worker) }

// QueueSubject is where one frontend answers a QueueAsk about its requests that wait.
func QueueSubject(frontend string) string { return address("baton.queue.", frontend) }

// BodySubject is where one frontend answers requests for bodies.
func BodySubject(frontend string) string { return address("baton.body.", frontend) }

// InboxPrefix is what the reply subjects of a process called name begin with.
func InboxPrefix(name string) string { return "baton.inbox." + Token(name) }

// address is a subject that ends in a process: NAME-SERIAL (see ProcessID) is NAME.SERIAL there, so that the
// permissions of a NATS user can say "the processes called NAME" and no others.
func address(prefix, id string) string {
	if i := strings.LastIndexByte(id, '-'); i >= 0 {
		return prefix + Token(id[:i]) + "." + Token(id[i+1:])
	}
	return prefix + Token(id)
}

// ProcessID is the id of one start of the process called name; serial, without a dash, tells it from others.
func ProcessID(name, serial string) string { return name + "-" + serial }

// Token turns any name into one NATS subject token that is also a valid consumer name: every
// byte outside [A-Za-z0-9_-] becomes "=XX" in upper-case hexadecimal, so different names stay
// different. The empty name becomes "=".
func Token(name string) string {
	if name == "" {
		return "="
	}
	plain := 0
	for plain < len(name) && isPlain(name[plain]) {
		plain++
	}
	if plain == len(name) {
		return name
	}
	var b strings.Builder
	b.WriteString(name[:plain])
	for i := plain; i < len(name); i++ {
		if c := name[i]; isPlain(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

func isPlain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}
