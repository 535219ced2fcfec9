package app

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"

	"github.com/baton-llm/baton/internal/wire"
)

// acting is what operators change of a worker: the role that it acts in, and whether it takes work, as
// dispatchers place by them. That changes nothing else: the worker's stages are those of its engine, so what it
// runs or what is on its way to it goes on to its end.
type acting struct {
	able    wire.Role // what the engine can do
	changed func()    // called after a change; set before requests can come
	leave   func()    // ends the worker as SIGTERM does; nil: it is not alone in its process
	log     *slog.Logger

	mu   sync.Mutex
	is   wire.Role
	held bool // takes no work, by an operator's wish
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

// holds tells whether the worker shall take no work.
func (a *acting) holds() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held
}

// drain is asked for a wire.DrainAsk and answers whether the worker was held.
func (a *acting) drain(req []byte) ([]byte, error) {
	ask := wire.DrainAsk(req)
	switch ask {
	case wire.DrainHold, wire.DrainResume:
	case wire.DrainLeave:
		if a.leave == nil {
			return nil, errors.New("this worker is part of baton up and ends with it alone; baton drain --keep leaves it there without work")
		}
		a.log.Info("leaves, as an operator wants")
		a.leave()
		return strconv.AppendBool(nil, a.holds()), nil
	default:
		return nil, fmt.Errorf("a worker can %s, %s or %s, not %q", wire.DrainLeave, wire.DrainHold, wire.DrainResume, ask)
	}
	hold := ask == wire.DrainHold
	a.mu.Lock()
	was := a.held
	a.held = hold
	a.mu.Unlock()
	if was != hold {
		a.log.Info("takes work as an operator wants", slog.Bool("held", hold))
		a.changed()
	}
	return strconv.AppendBool(nil, was), nil
}
