package live

import (
	"time"

	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
)

// State is the document. Members may be added to it under the same path; none changes its meaning.
type State struct {
	Now        time.Time  `json:"now"`
	Frontend   Frontend   `json:"frontend"`
	Policy     Policy     `json:"policy"`
	Missing    []string   `json:"missing"` // what keeps requests from being served; empty: nothing
	Models     []string   `json:"models"`
	Frontends  []Process  `json:"frontends"` // all of them
	Workers    []Worker   `json:"workers"`
	Departed   []Departed `json:"departed"` // of the last ten minutes, the last one first
	Queues     Queues     `json:"queues"`
	Requests   Requests   `json:"requests"`
	LastMinute Minute     `json:"last_minute"`
	Series     Series     `json:"series"`
}

// Frontend is the one that answers.
type Frontend struct {
	ID            string  `json:"id"`
	Version       string  `json:"version"`
	UptimeSeconds float64 `json:"uptime_seconds"`
}

// Policy is what dispatchers hold requests to.
type Policy struct {
	Mode           string  `json:"mode"`
	SLOTTFTSeconds float64 `json:"slo_ttft_seconds"` // 0: none
	SLOTPOTSeconds float64 `json:"slo_tpot_seconds"`
}

// Process is what all processes have.
type Process struct {
	ID               string  `json:"id"`
	Name             string  `json:"name"`
	Serial           string  `json:"serial"`
	Version          string  `json:"version"` // of baton
	UptimeSeconds    float64 `json:"uptime_seconds"`
	LastHeardSeconds float64 `json:"last_heard_seconds"` // ago
	Ready            bool    `json:"ready"`
	Draining         bool    `json:"draining"`
	State            string  `json:"state"`  // ready, starting, leaving, held or silent
	Reason           string  `json:"reason"` // why it is not ready; empty: it is
}

// Worker is one worker. Figures of its books are what this frontend's dispatcher knows.
type Worker struct {
	Process

	Role            wire.Role `json:"role"`   // that it acts in
	Able            wire.Role `json:"able"`   // what its engine can do
	Stages          []string  `json:"stages"` // prefill (for others), decode (of handles), whole
	EngineURL       string    `json:"engine_url"`
	Models          []string  `json:"models"`
	RunningRequests int       `json:"running_requests"` // engine calls under way
	MaxRequests     int       `json:"max_requests"`     // 0: no bound
	Handles         int       `json:"handles"`          // KV caches that wait for their readers

	KVUsedTokens     int     `json:"kv_used_tokens"`     // committed
	KVCapacityTokens int     `json:"kv_capacity_tokens"` // 0: not known
	KVShare          float64 `json:"kv_share"`           // used of capacity, 0 to 1

	WaitingRequests     int     `json:"waiting_requests"`      // whose prompts have no first token yet
	WaitingPromptTokens int     `json:"waiting_prompt_tokens"` // of them, to compute
	DecodingRequests    int     `json:"decoding_requests"`     // that produce tokens
	ReservedRequests    int     `json:"reserved_requests"`     // that will come from prefill workers
	DecodeQueueJobs     int     `json:"decode_queue_jobs"`     // its part of the decode queue
	TPOTSeconds         float64 `json:"tpot_seconds"`          // as it said last; 0: not lately
	Held                bool    `json:"held"`                  // gets no long prompt: answers are slower than promised

	WholeRequests map[string]int `json:"whole_requests"` // of this frontend, that run here whole, by the rule: lend, keep, short, whole, aggregated
}

// Departed is a process that is gone.
type Departed struct {
	ID         string    `json:"id"`
	Role       wire.Role `json:"role"`
	AgoSeconds float64   `json:"ago_seconds"`
	Why        fleet.Why `json:"why"` // left, silent or replaced
	EngineURL  string    `json:"engine_url"`
}

// Queues are the two work queues.
type Queues struct {
	Prefill Backlog `json:"prefill"`
	Decode  Backlog `json:"decode"`
}

// Backlog is what one of them holds. Jobs stay in it until whoever has them is done: of the prefill queue also those
// that a worker computes.
type Backlog struct {
	Jobs             int            `json:"jobs"`
	Bytes            int            `json:"bytes"`
	MaxJobs          int            `json:"max_jobs"`
	MaxBytes         int            `json:"max_bytes"`
	OldestJobSeconds float64        `json:"oldest_job_seconds"` // 0: none
	Error            string         `json:"error,omitempty"`    // why the server did not say; the figures above are then 0
	HeldJobs         int            `json:"held_jobs"`          // at this frontend's dispatcher, to be placed
	WaitingFor       map[string]int `json:"waiting_for"`        // of them, those looked at and not placed, by the reason
	Classes          []QueueClass   `json:"classes"`            // in the order in which they are served
}

// QueueClass is one class in a queue: its requests of this frontend that no worker has taken.
type QueueClass struct {
	Class         wire.Class `json:"class"`
	Jobs          *int       `json:"jobs"`     // in the queue, of all frontends; null: the queue does not tell classes apart
	Requests      int        `json:"requests"` // that wait
	OldestSeconds float64    `json:"oldest_seconds"`
	InPerSecond   float64    `json:"in_per_second"` // over the last ten seconds
	OutPerSecond  float64    `json:"out_per_second"`
}

// Requests are those of this frontend.
type Requests struct {
	InFlight         int       `json:"in_flight"`
	MaxInFlight      int       `json:"max_in_flight"` // 0: no bound
	Active           []Request `json:"active"`        // the longest waiting first
	ActiveLeftOff    int       `json:"active_left_off"`
	Finished         []Request `json:"finished"` // the last one first
	FinishedKeptMost int       `json:"finished_kept_most"`
}

// Request is one request. A time that is not known yet is 0.
type Request struct {
	ID        string     `json:"id"`
	Model     string     `json:"model"`
	Tenant    string     `json:"tenant"`
	Class     wire.Class `json:"class"`
	Streaming bool       `json:"streaming"`
	Admitted  time.Time  `json:"admitted"`
	State     string     `json:"state"`
	Attempt   int        `json:"attempt"`
	Path      string     `json:"path"` // split or whole; empty: not placed yet
	Why       string     `json:"why"`  // the rule

	Worker        string `json:"worker"` // that has it or had it last
	PrefillWorker string `json:"prefill_worker"`
	DecodeWorker  string `json:"decode_worker"`

	TotalSeconds    float64 `json:"total_seconds"` // so far
	QueueSeconds    float64 `json:"queue_seconds"`
	PrefillSeconds  float64 `json:"prefill_seconds"`
	HandoverSeconds float64 `json:"handover_seconds"`
	TTFTSeconds     float64 `json:"ttft_seconds"`
	TPOTSeconds     float64 `json:"tpot_seconds"`

	PromptTokens     int    `json:"prompt_tokens"`
	CachedTokens     int    `json:"cached_tokens"`
	CompletionTokens int    `json:"completion_tokens"` // known at the end
	SentTokens       int    `json:"sent_tokens"`       // of the answer so far, of streams that can be continued; of others known at the end
	Reason           string `json:"reason"`            // why it failed
	Status           int    `json:"status"`            // HTTP, that its client then got
	Steps            []Step `json:"steps"`             // the first is queued at 0
}

// Step is one state of a request, which lasts until the next.
type Step struct {
	State        string  `json:"state"`
	Attempt      int     `json:"attempt"`
	Worker       string  `json:"worker"`
	AfterSeconds float64 `json:"after_seconds"` // its beginning, from the admission on
}

// Minute sums the last minute up. Percentiles are null where no request ended.
type Minute struct {
	Done                      int      `json:"done"`
	Failed                    int      `json:"failed"`
	Cancelled                 int      `json:"cancelled"`
	Goodput                   *float64 `json:"goodput"` // part of the done and failed that was done within the SLO
	RequestsPerSecond         float64  `json:"requests_per_second"`
	PromptTokensPerSecond     float64  `json:"prompt_tokens_per_second"`
	CompletionTokensPerSecond float64  `json:"completion_tokens_per_second"`
	TTFTp50Seconds            *float64 `json:"ttft_p50_seconds"`
	TTFTp99Seconds            *float64 `json:"ttft_p99_seconds"`
	TPOTp50Seconds            *float64 `json:"tpot_p50_seconds"`
	TPOTp99Seconds            *float64 `json:"tpot_p99_seconds"`
}

// Series is the last minutes in steps, oldest first. Requests and tokens count when a request ends.
type Series struct {
	End                       time.Time  `json:"end"`
	StepSeconds               float64    `json:"step_seconds"`
	ArrivedPerSecond          []float64  `json:"arrived_per_second"`
	DonePerSecond             []float64  `json:"done_per_second"`
	GoodPerSecond             []float64  `json:"good_per_second"` // done within the SLO
	FailedPerSecond           []float64  `json:"failed_per_second"`
	PromptTokensPerSecond     []float64  `json:"prompt_tokens_per_second"`
	CompletionTokensPerSecond []float64  `json:"completion_tokens_per_second"`
	TTFTp50Seconds            []*float64 `json:"ttft_p50_seconds"`
	TTFTp99Seconds            []*float64 `json:"ttft_p99_seconds"`
	TPOTp50Seconds            []*float64 `json:"tpot_p50_seconds"`
	TPOTp99Seconds            []*float64 `json:"tpot_p99_seconds"`
}
