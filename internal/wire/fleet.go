package wire

import (
	"encoding/json"
	"time"
)

// Role is what a process does.
type Role string

// Roles.
const (
	RoleFrontend Role = "frontend"
	RolePrefill  Role = "prefill"
	RoleDecode   Role = "decode"
	RoleBoth     Role = "both" // a worker whose engine issues and reads handles
)

// KVRole is what vLLM calls the role of a worker's engine: the kv_role of its --kv-transfer-config.
func (r Role) KVRole() string {
	switch r {
	case RolePrefill:
		return "kv_producer"
	case RoleDecode:
		return "kv_consumer"
	case RoleBoth, RoleFrontend:
	}
	return "kv_both"
}

// Model is one model that an engine serves.
type Model struct {
	ID   string          `json:"id"`
	Card json.RawMessage `json:"card,omitempty"` // the engine's own entry of GET /v1/models
}

// Load is a worker's own view of its work, for people and for policy corrections.
type Load struct {
	Running  int `json:"running"`  // engine calls under way
	Tokens   int `json:"tokens"`   // prefill: prompt tokens in flight; decode: KV tokens reserved
	Capacity int `json:"capacity"` // most Tokens
	Slots    int `json:"slots"`    // most Running; 0: no bound
	Handles  int `json:"handles"`  // prefill: handles not yet ended
	Waiting  int `json:"waiting"`  // jobs that it has taken and that have no room yet
	Lent     int `json:"lent"`     // of Running: requests that it does wholly by WhyLend or WhyKeep
}

// Announcement says that a process lives. Receivers forget it after three intervals.
type Announcement struct {
	ID       string        `json:"id"`
	Role     Role          `json:"role"`          // that it acts in
	Able     Role          `json:"able,omitzero"` // of a worker: what its engine can do; "": as Role
	At       time.Time     `json:"at,omitzero"`   // when it says this, by its own clock
	Version  string        `json:"version"`
	Started  time.Time     `json:"started"`
	Interval time.Duration `json:"interval_ns"`
	Ready    bool          `json:"ready"`            // its engine answers
	Why      string        `json:"why,omitempty"`    // of a worker that is not ready: what its engine lacks, for people
	Held     bool          `json:"held,omitzero"`    // an operator wants it without work; it is Leaving and stays
	Leaving  bool          `json:"leaving,omitzero"` // drains, takes no more work; with Gone, the last word
	Gone     bool          `json:"gone,omitzero"`    // forget it now
	Models   []Model       `json:"models,omitempty"`
	Engine   string        `json:"engine,omitempty"` // URL, for people
	Load     Load          `json:"load"`
}
