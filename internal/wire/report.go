package wire

import "time"

// Stage is how far a worker has come with a job.
type Stage string

// The stages. A whole job is prefilling, decoding, ended; a split one is prefilling, handed, ended at
// its prefill worker and decoding, ended at its decode worker.
const (
	StagePrefilling Stage = "prefilling" // accepted; the engine has given no token yet
	StageHanded     Stage = "handed"     // the handle is out and pins KV until the decode engine has read it
	StageDecoding   Stage = "decoding"   // tokens come (or, of a handle's decode leg: it is accepted)
	StageEnded      Stage = "ended"      // holds nothing at this worker any more
)

// JobReport is one job at one worker.
type JobReport struct {
	Key    string `json:"key"` // Request.MsgID of the job
	Stage  Stage  `json:"stage"`
	Tokens int    `json:"tokens"`          // of the prompt, by the engine's count once it has said it
	Cached int    `json:"cached,omitzero"` // of them, found in the prefix cache; of a whole job known at its end
	KV     int    `json:"kv"`              // tokens of KV cache committed: prompt and longest answer
}

// Report is what a worker tells all dispatchers on ReportSubject: the jobs whose stage changed, at
// once, its pace several times a second while tokens come, and all that it has, once per announcement
// interval or when asked by a hello. Reports are not repeated; a full one mends what was lost.
type Report struct {
	Worker  string        `json:"worker"`
	Started time.Time     `json:"started"` // of this process: one that came back has none of its former jobs
	Seq     uint64        `json:"seq"`     // grows by one with every report of this process
	Full    bool          `json:"full,omitzero"`
	Jobs    []JobReport   `json:"jobs,omitempty"`
	ITL     time.Duration `json:"itl_ns,omitzero"` // moving average of the gaps between tokens of one stream; 0: none lately
}
