package app

import (
	"fmt"
	"log/slog"
	"sync"

	"github.com/baton-llm/baton/internal/wire"
)

// acting is the role that a worker acts in, as dispatchers place by it. It changes nothing else: the
// worker's stages are those of its engine, so what it runs or what is on its way to it goes on to its end.
type acting struct {
	able    wire.Role // what the engine can do
	changed func()    // called after a change; set before requests can come
	log     *slog.Logger

	mu sync.Mutex
	is wire.Role
}

func newActing(able wire.Role, log *slog.Logger) *acting {
	return &acting{able: able, is: able, log: log}
}

func (a *acting) role() wire.Role {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.is
}

// take is asked for a role and answers with the one that was until now.
func (a *acting) take(req []byte) ([]byte, error) {
	role := wire.Role(req)
	switch role {
	case wire.RolePrefill, wire.RoleDecode, wire.RoleBoth:
	case wire.RoleFrontend:
		fallthrough
	default:
		return nil, fmt.Errorf("a worker's role is prefill, decode or both, not %q", role)
	}
	if a.able != wire.RoleBoth && a.able != role {
		return nil, fmt.Errorf("this worker's engine can act as %s alone; to change roles it takes an engine with kv_role kv_both and baton both in front of it", a.able)
	}
	a.mu.Lock()
	was := a.is
	a.is = role
	a.mu.Unlock()
	if was != role {
		a.log.Info("role changed", slog.String("from", string(was)), slog.String("to", string(role)))
		a.changed()
	}
	return []byte(was), nil
}
