package enginesim

import (
	"errors"
	"fmt"
	"net/http"
)

// Faults are the ways in which the engine fails on demand. The zero value is a healthy engine.
type Faults struct {
	Crash          bool    `yaml:"crash" help:"end all that runs and drop every connection"`
	Dead           bool    `yaml:"dead" help:"end all that runs; the HTTP server lives on: 503 at /health, 500 for requests, and the models as ever"`
	Freeze         bool    `yaml:"freeze" help:"accept every call and answer none, as a stopped process"`
	Hang           bool    `yaml:"hang" help:"take requests and compute nothing"`
	Slow           float64 `yaml:"slow" help:"factor on the time of each iteration; 0: 1"`
	Status         int     `yaml:"status" help:"HTTP status of the requests that fail; 0: none fail"`
	Every          int     `yaml:"every" help:"every so many generation requests fail with the status; 0: each"`
	CutAfter       int     `yaml:"cut_after" help:"drop the connection of a stream after so many tokens; 0: never"`
	Garbage        bool    `yaml:"garbage" help:"answer generation requests with something that is no JSON"`
	RefuseTransfer bool    `yaml:"refuse_transfer" help:"refuse reads of KV caches"`
	NoHandle       bool    `yaml:"no_handle" help:"answer prefills without kv_transfer_params"`
}

// down: nothing computes here any more, and what was in memory is gone.
func (f Faults) down() bool { return f.Crash || f.Dead }

func (f Faults) validate() error {
	var err error
	if !(f.Slow >= 0) {
		err = errors.Join(err, fmt.Errorf("sim.faults.slow is %v, want 0 or more", f.Slow))
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		err = errors.Join(err, fmt.Errorf("sim.faults.status is %d, want 0 or 400 to 599", f.Status))
	}
	if f.Every < 0 {
		err = errors.Join(err, fmt.Errorf("sim.faults.every is %d, want 0 or more", f.Every))
	}
	if f.CutAfter < 0 {
		err = errors.Join(err, fmt.Errorf("sim.faults.cut_after is %d, want 0 or more", f.CutAfter))
	}
	return err
}

// SetFaults replaces the engine's faults at any time. Leaving Crash or Dead is a restart: the engine gets
// a new id, and all KV caches are gone.
func (e *Engine) SetFaults(f Faults) {
	e.mu.Lock()
	defer e.mu.Unlock()
	was, is := e.faults.down(), f.down()
	if is && !was {
		e.endAll()
	}
	if was && !is {
		e.id = newUUID()
	}
	e.faults = f
	e.kick()
	notify(e.beat) // a hanging engine renewed nothing
}

// crash is the death of the engine with its HTTP server. The caller holds e.mu.
func (e *Engine) crash() {
	e.faults.Crash = true
	e.endAll()
}

// endAll is the death of vLLM's EngineCore. The caller holds e.mu.
func (e *Engine) endAll() {
	for _, s := range e.live() {
		if s.remote != nil {
			s.remote.read = true // the dead report nothing
		}
		e.end(s, ending{err: errEngineDead})
	}
	for _, p := range e.pins {
		e.unpin(p)
	}
	e.pool.forget()
}

// healthy drops the connection of a request to a crashed engine, and keeps that of one to a frozen engine
// until its client has enough.
func (e *Engine) healthy(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f := e.currentFaults()
		if f.Freeze {
			<-r.Context().Done()
		}
		if f.Freeze || f.Crash {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

// faulty answers a generation request in place of the engine where the faults say so.
func (e *Engine) faulty(w http.ResponseWriter, path string) bool {
	f := e.currentFaults()
	if f.Dead {
		writeErrorAt(w, path, internalError(errEngineDead))
		return true
	}
	if f.Status > 0 && e.requests.Add(1)%uint64(max(1, f.Every)) == 0 {
		writeErrorAt(w, path, &apiError{Status: f.Status, Type: http.StatusText(f.Status), Message: "injected fault"})
		return true
	}
	if f.Garbage {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{\"choices\": [ <html>\x00"))
		return true
	}
	return false
}

func (e *Engine) currentFaults() Faults {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.faults
}
