package bus_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/natsd/natsdtest"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/nats-io/nats.go"
)

// guarded is a server that lets in the users of baton and nobody else; a password is the user's name.
func guarded(t *testing.T) *natsdtest.Server {
	t.Helper()
	for _, role := range bus.Users() {
		t.Setenv("NATS_"+strings.ToUpper(string(role))+"_PASSWORD", string(role))
	}
	var conf strings.Builder
	if err := bus.PrintPermissions(&conf, "", ""); err != nil {
		t.Fatal(err)
	}
	return natsdtest.Start(t, fmt.Sprintf("%s\njetstream { store_dir: %q, max_memory_store: 8GB }", conf.String(), t.TempDir()))
}

// user is a bare client of the server, with the permissions of a role.
func user(t *testing.T, s *natsdtest.Server, role wire.Role) (nc *nats.Conn, denied <-chan error) {
	t.Helper()
	errs, closed := make(chan error, 100), make(chan struct{})
	nc, err := nats.Connect(s.URL(), nats.UserInfo(string(role), string(role)),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { errs <- err }), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	return nc, errs
}

func TestWhatIsNotForARoleIsDenied(t *testing.T) {
	const frontendID, prefillID, decodeID = "frontend-1", "prefill-1", "decode-1"
	type acts struct{ publish, subscribe []string }
	everyone := acts{
		publish: []string{
			"other", "$SYS.REQ.SERVER.PING", "_INBOX.x", wire.InboxPrefix("frontend") + ".x", wire.InboxPrefix("decode") + ".x",
			"$JS.API.STREAM.DELETE." + wire.PrefillStream, "$JS.API.STREAM.PURGE." + wire.PrefillStream, "$JS.API.STREAM.CREATE.OTHER", "$JS.API.STREAM.NAMES",
			"$JS.API.STREAM.MSG.GET." + wire.PrefillStream, "$JS.API.DIRECT.GET." + wire.PrefillStream, "$JS.API.STREAM.SNAPSHOT." + wire.PrefillStream,
			"$JS.API.CONSUMER.CREATE." + wire.DecodeStream, "$JS.API.CONSUMER.DELETE." + wire.DecodeStream + ".x",
		},
		subscribe: []string{">", "*.>", "baton.>", "baton.*.*.*", "$JS.>", "$O.>", "_INBOX.>", "baton.inbox.>", wire.PrefillSubjects, wire.DecodeSubjects, "baton.frames.>", "baton.body.>"},
	}
	notWorkers := acts{
		publish: []string{
			wire.PrefillSubject("m", 0), wire.AssignSubject(decodeID), wire.AssignSubject(prefillID), wire.AbandonSubject("m"), wire.RefuseSubject(frontendID), wire.RoleSubject(decodeID), wire.DrainSubject(decodeID), wire.QueueSubject(frontendID),
			"$JS.API.CONSUMER.CREATE." + wire.PrefillStream + ".m." + wire.PrefillFilter("m"), "$JS.API.CONSUMER.MSG.NEXT." + wire.PrefillStream + ".m",
			"$JS.API.STREAM.UPDATE." + wire.PrefillStream, "$JS.API.STREAM.UPDATE." + wire.DecodeStream, "$JS.API.STREAM.MSG.DELETE." + wire.PrefillStream, "$JS.API.STREAM.MSG.DELETE." + wire.DecodeStream,
			"$O." + wire.BodyBucket + ".C.x", "$JS.API.STREAM.PURGE.OBJ_" + wire.BodyBucket,
		},
		subscribe: []string{wire.FramesSubject(frontendID), wire.BodySubject(frontendID), wire.RefuseSubject(frontendID), wire.QueueSubject(frontendID), wire.ReportSubject, wire.InboxPrefix("frontend") + ".>"},
	}
	for role, denied := range map[wire.Role][]acts{
		wire.RoleFrontend: {everyone, {
			publish: []string{wire.DecodeSubject("m", decodeID), wire.FramesSubject(frontendID), wire.ReportSubject, wire.RoleSubject(decodeID), wire.DrainSubject(decodeID), wire.QueueSubject(frontendID), "$JS.API.CONSUMER.MSG.NEXT." + wire.DecodeStream + ".x"},
			subscribe: []string{
				wire.AssignSubject(decodeID), wire.ControlSubject(decodeID), wire.InboxPrefix("decode") + ".>", wire.InboxPrefix("operator") + ".>",
				wire.FramesSubject("frontend-b-1"), wire.BodySubject("frontend-b-1"), wire.InboxPrefix("frontend-b") + ".>", // another user's frontend
			},
		}},
		wire.RolePrefill: {everyone, notWorkers, {
			publish:   []string{wire.ControlSubject(decodeID), "$JS.API.CONSUMER.CREATE." + wire.DecodeStream + ".x." + wire.DecodeFilter(prefillID), "$JS.API.CONSUMER.MSG.NEXT." + wire.DecodeStream + ".x"},
			subscribe: []string{wire.AssignSubject(decodeID), wire.ControlSubject(decodeID), wire.InboxPrefix("decode") + ".>"},
		}},
		wire.RoleDecode: {everyone, notWorkers, {
			publish: []string{
				wire.DecodeSubject("m", decodeID),
				"$JS.API.CONSUMER.CREATE." + wire.DecodeStream + ".x." + wire.DecodeFilter("both-1"), "$JS.API.CONSUMER.CREATE." + wire.DecodeStream + ".x." + wire.DecodeSubjects,
			},
			subscribe: []string{wire.AssignSubject(prefillID), wire.ControlSubject(prefillID), wire.AssignSubject("both-1"), wire.InboxPrefix("prefill") + ".>"},
		}},
		wire.RoleBoth: {everyone, notWorkers, {
			publish:   []string{"$JS.API.CONSUMER.CREATE." + wire.DecodeStream + ".x." + wire.DecodeFilter(decodeID)},
			subscribe: []string{wire.AssignSubject(decodeID), wire.ControlSubject(prefillID)},
		}},
		bus.Operator: {everyone, {
			publish: []string{
				wire.PrefillSubject("m", 0), wire.DecodeSubject("m", decodeID), wire.AnnounceSubject, wire.ReportSubject, wire.FramesSubject(frontendID), wire.ControlSubject(decodeID), wire.BodySubject(frontendID),
				"$JS.API.STREAM.CREATE." + wire.PrefillStream, "$JS.API.STREAM.UPDATE." + wire.PrefillStream, "$JS.API.STREAM.MSG.DELETE." + wire.PrefillStream,
				"$JS.API.CONSUMER.MSG.NEXT." + wire.PrefillStream + ".m", "$JS.ACK." + wire.PrefillStream + ".x", "$JS.API.DIRECT.GET.OBJ_" + wire.BodyBucket + ".x",
			},
			subscribe: []string{wire.ReportSubject, wire.FramesSubject(frontendID), wire.InboxPrefix("frontend") + ".>"},
		}},
	} {
		t.Run(string(role), func(t *testing.T) {
			nc, said := user(t, guarded(t), role)
			check := func(act, subject string) {
				t.Helper()
				if err := nc.FlushTimeout(10 * time.Second); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-said: // the server answers in order: its refusal comes before that of the flush
					if !errors.Is(err, nats.ErrPermissionViolation) {
						t.Errorf("%s %s: %v", act, subject, err)
					}
				case <-time.After(5 * time.Second):
					t.Errorf("%s may %s %s", role, act, subject)
				}
			}
			for _, a := range denied {
				for _, subject := range a.publish {
					if err := nc.Publish(subject, nil); err != nil {
						t.Fatal(err)
					}
					check("publish to", subject)
				}
				for _, subject := range a.subscribe {
					if _, err := nc.SubscribeSync(subject); err != nil {
						t.Fatal(err)
					}
					check("subscribe to", subject)
				}
			}
		})
	}
}

func TestPermissionsAreForOneName(t *testing.T) {
	var all, named strings.Builder
	if err := errors.Join(bus.PrintPermissions(&all, wire.RoleFrontend, ""), bus.PrintPermissions(&named, wire.RoleFrontend, "edge-1")); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(all.String(), `"baton.frames.frontend.*"`) || !strings.Contains(named.String(), `"baton.frames.edge-1.*"`) || strings.Contains(named.String(), "frontend") {
		t.Errorf("permissions are\n%s\nand\n%s", all.String(), named.String())
	}
	if got := wire.FramesSubject(wire.ProcessID("edge-1", "x")); got != "baton.frames.edge-1.x" {
		t.Errorf("FramesSubject = %s", got)
	}
	if err := bus.PrintPermissions(&all, "router", ""); err == nil || !strings.Contains(err.Error(), "frontend") {
		t.Errorf("PrintPermissions of no role = %v, want the roles that there are", err)
	}
}
