package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
)

// Worker is one worker as it describes itself.
type Worker struct {
	ID         string    `json:"id"`
	Role       wire.Role `json:"role"`          // that it acts in
	Able       wire.Role `json:"able"`          // what its engine can do
	State      string    `json:"state"`         // ready, starting, leaving or held
	Why        string    `json:"why,omitempty"` // it is not ready
	Running    int       `json:"running_requests"`
	Waiting    int       `json:"waiting_requests"` // that it has taken and that have no room yet
	Lent       int       `json:"lent_requests"`    // of the running: for workers of another kind
	Handles    int       `json:"handles"`          // KV caches that wait for their readers
	KVTokens   int       `json:"kv_used_tokens"`
	KVCapacity int       `json:"kv_capacity_tokens"` // 0: not known
	Models     []string  `json:"models"`
	Engine     string    `json:"engine_url"`
	Version    string    `json:"version"`
}

// Workers lists those that answer.
func (d *Desk) Workers(ctx context.Context) ([]Worker, error) {
	all, err := d.fleet(ctx)
	if err != nil {
		return nil, err
	}
	workers := []Worker{}
	for _, a := range all.Workers() {
		if !isWorker(&a) {
			continue
		}
		w := Worker{
			ID: a.ID, Role: a.Role, Able: cmp.Or(a.Able, a.Role), State: fleet.State(&a), Why: a.Why, Running: a.Load.Running, Waiting: a.Load.Waiting,
			Lent: a.Load.Lent, Handles: a.Load.Handles, KVTokens: a.Load.Tokens, KVCapacity: a.Load.Capacity, Models: []string{}, Engine: a.Engine, Version: a.Version,
		}
		for _, m := range a.Models {
			w.Models = append(w.Models, m.ID)
		}
		workers = append(workers, w)
	}
	return workers, nil
}

// PrintWorkers writes them as a table.
func PrintWorkers(out io.Writer, workers []Worker) error {
	return table(out, func(tab io.Writer) {
		fmt.Fprintln(tab, "WORKER\tROLE\tSTATE\tRUNNING\tWAITING\tLENT\tHANDLES\tKV\tMODEL\tENGINE")
		for i := range workers {
			w := &workers[i]
			role, state := string(w.Role), w.State
			if w.Able != w.Role {
				role += " (" + string(w.Able) + ")" // what its engine can do
			}
			if w.Why != "" {
				state += ": " + w.Why
			}
			fmt.Fprintf(tab, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", w.ID, role, state, w.Running, w.Waiting, w.Lent, w.Handles,
				percent(w.KVTokens, w.KVCapacity), strings.Join(w.Models, ","), w.Engine)
		}
	})
}

// SetRole has a worker act in another role, and says what is then missing.
func (d *Desk) SetRole(ctx context.Context, worker string, role wire.Role, out io.Writer) error {
	was, err := d.ask(ctx, wire.RoleSubject(worker), worker, string(role))
	if err != nil {
		return fmt.Errorf("have %s act as %s: %w", worker, role, err)
	}
	fmt.Fprintf(out, "%s acts as %s now, before as %s\n", worker, role, was)
	return d.warnOfMissing(ctx, out)
}

// ask asks a worker for something.
func (d *Desk) ask(ctx context.Context, subject, worker, what string) (answer string, err error) {
	data, err := d.bus.Request(ctx, subject, []byte(what))
	if errors.Is(err, bus.ErrNoResponder) {
		return "", fmt.Errorf("no worker %s answers; baton workers lists those that do", worker)
	}
	return string(data), err
}
