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
	Key    string // Request.MsgID of the job
	Stage  Stage
	Tokens int // of the prompt, by the engine's count once it has said it
	Cached int // of them, found in the prefix cache; of a whole job known at its end
	KV     int // tokens of KV cache committed: prompt and longest answer
}

// Report is what a worker tells all dispatchers on ReportSubject: the jobs whose stage changed, within
// milliseconds, its pace several times a second while tokens come, and all that it has, once per announcement
// interval or when asked by a hello. Reports are not repeated; a full one mends what was lost.
type Report struct {
	Worker  string
	Started time.Time // of this process: one that came back has none of its former jobs
	Seq     uint64    // grows by one with every report of this process
	Full    bool
	Jobs    []JobReport
	ITL     time.Duration // moving average of the gaps between tokens of one stream; 0: none lately
}

// Append adds the report's fields to dst, as a message on ReportSubject has them.
func (r *Report) Append(dst []byte) []byte {
	dst = appendText(dst, 1, r.Worker)
	dst = appendTime(dst, 2, r.Started)
	dst = appendUint(dst, 3, r.Seq)
	dst = appendFlag(dst, 4, r.Full)
	dst = appendInt(dst, 5, r.ITL)
	var room [128]byte
	for i := range r.Jobs {
		dst = appendPart(dst, 6, r.Jobs[i].append(room[:0]))
	}
	return dst
}

func (j *JobReport) append(dst []byte) []byte {
	dst = appendText(dst, 1, j.Key)
	dst = appendText(dst, 2, j.Stage)
	dst = appendInt(dst, 3, j.Tokens)
	dst = appendInt(dst, 4, j.Cached)
	return appendInt(dst, 5, j.KV)
}

// ReadReport is the inverse of Report.Append.
func ReadReport(data []byte) (Report, error) {
	var r Report
	f := readFields(data)
	for f.next() {
		switch f.field {
		case 1:
			r.Worker = f.text()
		case 2:
			r.Started = f.time()
		case 3:
			r.Seq = f.number
		case 4:
			r.Full = f.flag()
		case 5:
			r.ITL = f.duration()
		case 6:
			part := f.part()
			r.Jobs = append(r.Jobs, readJobReport(&part))
			f.err = part.err
		}
	}
	return r, f.fault("report")
}

func readJobReport(f *fields) (j JobReport) {
	for f.next() {
		switch f.field {
		case 1:
			j.Key = f.text()
		case 2:
			j.Stage = Stage(f.text())
		case 3:
			j.Tokens = f.int()
		case 4:
			j.Cached = f.int()
		case 5:
			j.KV = f.int()
		}
	}
	return j
}
