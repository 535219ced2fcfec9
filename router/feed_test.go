package router_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/relay"
	"github.com/baton-llm/baton/internal/wire"
)

// feed is one run of a worker. It never hears that it was cancelled.
type feed struct {
	key    string
	id     relay.RunID
	job    wire.Request
	frames []wire.Frame // sent or held back
	pieces int
	last   bool // it has sent the piece that is its answer's last
	held   []wire.Frame

	// What had come in order before the next attempt's job was there; later frames are to be without effect.
	got   int // frames
	valid int // pieces
	ended bool
}

// try is what happened to one attempt while it was the latest.
type try struct {
	since    time.Time // the end of the step that brought its job
	broken   bool      // something has happened after which there may be another
	handed   bool      // likewise, by its lease
	decoding bool      // a run may have been taken as the one that decodes
	spared   bool      // likewise, something that may be anew as often as it likes
	good     bool      // it has brought so much that those before do not count
	lost     int
}

// origin is what the text of a piece says: which request's it is, of which run and at which place in it.
type origin struct {
	request, run string
	n            int
}

func parts(text string) (p origin) {
	fields := strings.Split(strings.TrimSuffix(text, ";"), "/")
	if len(fields) == 3 {
		p.request, p.run = fields[0], fields[1]
		if _, err := fmt.Sscan(fields[2], &p.n); err == nil {
			return p
		}
	}
	return origin{request: "nobody"}
}

// of returns the jobs of a client's request, the latest last.
func (s *stage) of(c *patron) (jobs []wire.PrefillJob) {
	for _, j := range s.queue.all() {
		if j.ID == c.id {
			jobs = append(jobs, j)
		}
	}
	return jobs
}

func (s *stage) last(c *patron) *wire.Request {
	jobs := s.of(c)
	if len(jobs) == 0 {
		return nil
	}
	return &jobs[len(jobs)-1].Request
}

func (s *stage) try(job *wire.Request) *try {
	key := job.MsgID()
	if s.tries[key] == nil {
		s.tries[key] = &try{since: time.Now()}
	}
	return s.tries[key]
}

// The way it should go, when one worker does all, and when two do.
var (
	wholeWay   = []wire.Kind{wire.Decoding, wire.Data, wire.Data, wire.End}
	prefillWay = []wire.Kind{wire.Prefilling, wire.Handed}
)

// send has a worker send the next frame of a run of one of the client's jobs.
func (s *stage) send(c *patron, e *step) {
	jobs := s.of(c)
	if len(jobs) == 0 {
		return
	}
	job, worker, kind, place := jobs[len(jobs)-1].Request, "w", e.kind, wholly
	switch e.event {
	case "frame":
		job, worker, place = jobs[e.job%len(jobs)].Request, fmt.Sprint(e.worker, e.run%2), e.place
	case "serve":
		kind = s.next(&job, worker, wholeWay)
	case "ghost": // of a worker that was thought dead and has its job still
		job, worker = jobs[max(0, len(jobs)-2)].Request, "g"
		kind = s.next(&job, worker, wholeWay)
	case "split":
		place = splitly
		if s.sent(&job, "p") < len(prefillWay) {
			worker, kind = "p", s.next(&job, "p", prefillWay)
		} else {
			kind = s.next(&job, worker, wholeWay)
		}
	case "fail":
		kind = wire.Fail
	}
	r := s.run(&job, worker)
	if kind == wire.Data && r.last {
		kind = wire.End
	}
	f := wire.Frame{Run: r.id.Run, Stream: job.Stream, Attempt: job.Attempt, Seq: uint32(len(r.frames)), Kind: kind}
	switch kind { //nolint:exhaustive // The others have none, or the receiver keeps them to itself.
	case wire.Prefilling, wire.Decoding:
		f.Payload = []byte(place)
	case wire.Handed:
		f.Payload = (&wire.HandedInfo{DecodeWorker: "w", Lease: 10 * time.Second}).Append(nil)
	case wire.Data:
		f.Payload = r.piece(c, e.ends)
	case wire.Fail:
		f.Payload, _ = json.Marshal(wire.Failure{Reason: e.reason})
	case wire.End:
	}
	r.frames = append(r.frames, f)
	if e.late {
		r.held = append(r.held, f)
		return
	}
	late := r.held
	r.held = nil
	s.batch(r, slices.Concat([]wire.Frame{f}, late, []wire.Frame{f})) // what was not in order comes again
}

// piece is the run's next one, which says whose it is.
func (r *feed) piece(c *patron, last bool) []byte {
	text := fmt.Sprintf("%s/%s/%d;", c.id, r.key, r.pieces)
	r.pieces++
	if c.manner != goingOn {
		return []byte(text)
	}
	end := "null"
	if r.last = last; last {
		end = `"length"`
	}
	return []byte(word(r.key, text, end, 3, r.pieces))
}

func (s *stage) run(job *wire.Request, worker string) *feed {
	key := fmt.Sprintf("%s.%d.%s", job.ID, job.Attempt, worker)
	for _, r := range s.runs {
		if r.key == key {
			return r
		}
	}
	r := &feed{key: key, id: relay.RunID{Worker: worker, Run: uint64(len(s.runs) + 1)}, job: *job}
	s.runs = append(s.runs, r)
	return r
}

func (s *stage) sent(job *wire.Request, worker string) int { return len(s.run(job, worker).frames) }

func (s *stage) next(job *wire.Request, worker string, way []wire.Kind) wire.Kind {
	return way[min(s.sent(job, worker), len(way)-1)]
}

func (s *stage) batch(r *feed, frames []wire.Frame) {
	batch := wire.AppendFrameHeader(nil, r.id.Worker)
	for i := range frames {
		batch = wire.AppendFrame(batch, &frames[i])
		if int(frames[i].Seq) == r.got {
			r.got++
			s.note(r, &frames[i])
		}
	}
	s.recv.Batch(batch)
}

// note follows what a frame that comes in order may do.
func (s *stage) note(r *feed, f *wire.Frame) {
	for _, c := range s.clients {
		if c.id == r.job.ID && s.last(c).Attempt > r.job.Attempt {
			return
		}
	}
	t := s.try(&r.job)
	switch f.Kind { //nolint:exhaustive // The receiver keeps the other to itself.
	case wire.Prefilling:
		t.decoding = false // of a second delivery: what decoded has given the job back
	case wire.Handed:
		t.handed = true
	case wire.Decoding:
		t.decoding = true
	case wire.Data:
		if !r.ended {
			r.valid++
			t.good = t.good || r.valid >= 16
		}
	case wire.End:
		r.ended = true
	case wire.Fail:
		// A run that has not said what it is speaks for the request only while no other one decodes.
		known := slices.ContainsFunc(r.frames[:f.Seq], func(f wire.Frame) bool { return f.Kind != wire.Data })
		ended := known || f.Seq == 0 && !t.decoding
		t.broken = t.broken || ended
		var why wire.Failure
		_ = json.Unmarshal(f.Payload, &why)
		t.spared = t.spared || ended && (why.Reason == wire.HandleUsed || why.Reason == wire.WorkerStopping)
	}
}

// gone has the fleet say that a worker died.
func (s *stage) gone(worker string) {
	for _, c := range s.clients {
		job := s.last(c)
		if job == nil {
			continue
		}
		had := slices.ContainsFunc(s.runs, func(r *feed) bool {
			return r.id.Worker == worker && r.got > 0 && r.job.MsgID() == job.MsgID()
		})
		if t := s.try(job); had || t.handed && worker == "w" {
			t.broken = true
		}
	}
	s.fleet.onGone(worker)
}
