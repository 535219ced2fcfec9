package lawsim

import (
	"cmp"
	"slices"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// worker is an engine, what its process reports, and the link from it.
type worker struct {
	*site
	id     string
	engine *engine
	seq    uint64
	jobs   map[string]wire.JobReport
	linked time.Time // the link is busy until then
}

// report tells the law what has changed.
func (w *worker) report(full bool, jobs ...wire.JobReport) {
	w.seq++
	r := &wire.Report{Worker: w.id, Started: epoch, Seq: w.seq, Full: full, ITL: w.engine.itl(), Jobs: jobs}
	for _, j := range jobs {
		if j.Stage == wire.StageEnded {
			delete(w.jobs, j.Key)
		} else {
			w.jobs[j.Key] = j
		}
	}
	w.after(hop, func() {
		w.law.Report(r, w.now)
		w.decide()
	})
}

func (w *worker) announce() {
	if w.left == 0 {
		return
	}
	var jobs []wire.JobReport
	for _, j := range w.jobs {
		jobs = append(jobs, j)
	}
	slices.SortFunc(jobs, func(a, b wire.JobReport) int { return cmp.Compare(a.Key, b.Key) })
	w.report(true, jobs...)
	w.after(announcement, w.announce)
}

// beat has a worker tell its pace while nothing else happens.
func (w *worker) beat() {
	if w.left == 0 {
		return
	}
	w.report(false)
	w.after(beat, w.beat)
}

func (w *worker) whole(key string, r *Request) {
	tell := func(stage wire.Stage, cached int) {
		w.report(false, wire.JobReport{Key: key, Stage: stage, Tokens: r.Prompt, Cached: cached, KV: r.Prompt + r.Out})
	}
	q := &sequence{prompt: r.Prompt, limit: r.Out, doc: r.Doc, docLen: r.DocLen, token: func(time.Duration) {}}
	q.first = func() {
		r.Began = w.now
		tell(wire.StageDecoding, 0) // engines say it with the usage
	}
	q.done = func() {
		w.finish(r)
		tell(wire.StageEnded, q.cached)
	}
	tell(wire.StagePrefilling, 0)
	w.engine.submit(q)
}

func (w *worker) prefill(key string, r *Request, decode *worker) {
	tell := func(stage wire.Stage, cached int) {
		w.report(false, wire.JobReport{Key: key, Stage: stage, Tokens: r.Prompt, Cached: cached, KV: r.Prompt})
	}
	q := &sequence{prompt: r.Prompt, limit: 1, doc: r.Doc, docLen: r.DocLen, pinned: true, first: func() {}}
	q.done = func() {
		tell(wire.StageHanded, q.cached)
		w.after(2*hop, func() { decode.decode(key, r, w, q) })
	}
	tell(wire.StagePrefilling, 0)
	w.engine.submit(q)
}

func (w *worker) decode(key string, r *Request, from *worker, handle *sequence) {
	tell := func(stage wire.Stage) {
		w.report(false, wire.JobReport{Key: key, Stage: stage, Tokens: r.Prompt, KV: r.Prompt + r.Out})
	}
	q := &sequence{prompt: r.Prompt, limit: r.Out, doc: r.Doc, docLen: r.DocLen, token: func(time.Duration) {}}
	q.pull = func(read func()) {
		bytes := float64((q.prompt - q.computed) * w.engine.model.KVBytesPerToken())
		if from.linked.Before(w.now) {
			from.linked = w.now
		}
		from.linked = from.linked.Add(time.Duration(bytes / w.gbps * float64(time.Nanosecond)))
		w.after(from.linked.Sub(w.now)+w.engine.model.Handover(), func() {
			from.engine.release(handle)
			from.engine.kick()
			read()
		})
	}
	q.first = func() {
		r.Began = w.now
		w.after(hop, func() {
			from.report(false, wire.JobReport{Key: key, Stage: wire.StageEnded})
		})
	}
	q.done = func() {
		w.finish(r)
		tell(wire.StageEnded)
	}
	tell(wire.StageDecoding)
	w.engine.submit(q)
}
