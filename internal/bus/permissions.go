package bus

import (
	"fmt"
	"slices"
	"strings"

	"github.com/baton-llm/baton/internal/wire"
)

// Permissions is all that the NATS user of one kind of process needs.
type Permissions struct {
	Publish   []string
	Subscribe []string
	Answers   bool // it replies to requests, on whatever subject they name
}

// Operator is whoever runs `baton doctor`, `baton role` and the like: it asks others, and only looks at the streams.
const Operator wire.Role = "operator"

// Users lists the roles that there are permissions for.
func Users() []wire.Role {
	return []wire.Role{wire.RoleFrontend, wire.RolePrefill, wire.RoleDecode, wire.RoleBoth, Operator}
}

// PermissionsOf returns what processes of role called name (Config.Name; empty: the role) publish and
// subscribe to, and nothing else.
func PermissionsOf(role wire.Role, name string) (Permissions, error) {
	if name == "" {
		name = string(role)
	}
	var p Permissions
	switch role {
	case wire.RoleFrontend:
		p = frontend(name)
	case wire.RolePrefill:
		p = join(worker(name), prefills())
	case wire.RoleDecode:
		p = join(worker(name), decodes(name))
	case wire.RoleBoth:
		p = join(worker(name), prefills(), decodes(name))
	case Operator:
		p = Permissions{
			Publish: []string{
				wire.HelloSubject, everyone(wire.RoleSubject), everyone(wire.DrainSubject), everyone(wire.QueueSubject),
				"$JS.API.INFO", "$JS.API.STREAM.INFO." + wire.PrefillStream, "$JS.API.STREAM.INFO." + wire.DecodeStream, "$JS.API.STREAM.INFO." + bodies,
			},
			Subscribe: []string{wire.AnnounceSubject, wire.HelloSubject},
		}
	default:
		return p, fmt.Errorf("there is no role %q, want one of %v", role, Users())
	}
	return join(p, Permissions{Subscribe: []string{wire.InboxPrefix(name) + ".>"}}), nil
}

func frontend(name string) Permissions {
	return join(keepers(), Permissions{
		Publish: []string{
			wire.AnnounceSubject, wire.HelloSubject,
			wire.PrefillSubjects, everyone(wire.AssignSubject), everyone(wire.ControlSubject), everyone(wire.RefuseSubject), everyModel(wire.AbandonSubject),
			"$JS.API.STREAM.UPDATE." + wire.PrefillStream, "$JS.API.STREAM.UPDATE." + wire.DecodeStream, "$JS.API.STREAM.UPDATE." + bodies,
			"$JS.API.STREAM.MSG.DELETE." + wire.PrefillStream,
			"$JS.API.CONSUMER.CREATE." + wire.PrefillStream + ".>",
			"$JS.API.CONSUMER.MSG.NEXT." + wire.PrefillStream + ".*",
			"$O." + wire.BodyBucket + ".>", "$JS.API.STREAM.PURGE." + bodies,
			"$JS.API.DIRECT.GET." + bodies + ".>",
		},
		Subscribe: []string{
			wire.AnnounceSubject, wire.HelloSubject, wire.ReportSubject, everyModel(wire.AbandonSubject),
			own(wire.FramesSubject, name), own(wire.BodySubject, name), own(wire.RefuseSubject, name), own(wire.QueueSubject, name),
		},
		Answers: true, // bodies, and what waits
	}, acknowledges(wire.PrefillStream))
}

// worker is what all workers have in common: whole requests, which every one of them does.
func worker(name string) Permissions {
	return join(keepers(), Permissions{
		Publish: []string{
			wire.AnnounceSubject, wire.ReportSubject, everyone(wire.FramesSubject), everyone(wire.BodySubject),
			// A stored body is read through a consumer that the client makes for it.
			"$JS.API.DIRECT.GET." + bodies + ".>",
			"$JS.API.CONSUMER.CREATE." + bodies + ".*.$O." + wire.BodyBucket + ".C.*",
			"$JS.API.CONSUMER.DELETE." + bodies + ".*",
			"$JS.FC." + bodies + ".>",
		},
		Subscribe: []string{
			wire.HelloSubject, own(wire.ControlSubject, name), own(wire.AssignSubject, name), own(wire.RoleSubject, name), own(wire.DrainSubject, name),
		},
		Answers: true, // requests to act in another role, or to drain
	}, acknowledges(wire.PrefillStream))
}

// prefills is what handing a prompt's KV cache over takes besides.
func prefills() Permissions {
	return Permissions{Publish: []string{wire.DecodeSubjects}}
}

// decodes is what reading the KV caches of others takes besides.
func decodes(name string) Permissions {
	return join(acknowledges(wire.DecodeStream), Permissions{Publish: []string{
		everyone(wire.ControlSubject), // how handles ended
		"$JS.API.CONSUMER.CREATE." + wire.DecodeStream + ".*." + own(wire.DecodeFilter, name),
		"$JS.API.CONSUMER.MSG.NEXT." + wire.DecodeStream + ".*",
	}})
}

// bodies is the stream below the bucket of bodies.
const bodies = "OBJ_" + wire.BodyBucket

// keepers is what every process with queues needs to find them, and to make those that are missing.
func keepers() Permissions {
	p := Permissions{Publish: []string{"$JS.API.INFO"}}
	for _, stream := range []string{wire.PrefillStream, wire.DecodeStream, bodies} {
		p.Publish = append(p.Publish, "$JS.API.STREAM.INFO."+stream, "$JS.API.STREAM.CREATE."+stream)
	}
	return p
}

// acknowledges is settling the jobs of a stream; the second form is that of servers which name domain
// and account.
func acknowledges(stream string) Permissions {
	return Permissions{Publish: []string{"$JS.ACK." + stream + ".>", "$JS.ACK.*.*." + stream + ".>"}}
}

// placeholder is what a pattern leaves open; no process or model is called so.
const placeholder = "\x00"

func star(subject string) string {
	return strings.ReplaceAll(subject, wire.Token(placeholder), "*")
}

// own is subject for every process called name.
func own(subject func(id string) string, name string) string {
	return star(subject(wire.ProcessID(name, placeholder)))
}

// everyone is subject for every process.
func everyone(subject func(id string) string) string { return own(subject, placeholder) }

// everyModel is subject for every model.
func everyModel(subject func(model string) string) string { return star(subject(placeholder)) }

// join is all of several, each subject once.
func join(parts ...Permissions) (all Permissions) {
	for _, p := range parts {
		all.Publish = append(all.Publish, p.Publish...)
		all.Subscribe = append(all.Subscribe, p.Subscribe...)
		all.Answers = all.Answers || p.Answers
	}
	for _, subjects := range []*[]string{&all.Publish, &all.Subscribe} {
		slices.Sort(*subjects)
		*subjects = slices.Compact(*subjects)
	}
	return all
}
