package schedule_test

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

const (
	hop          = 2 * time.Millisecond   // of a message from process to process
	announcement = time.Second            // between full reports
	beat         = 100 * time.Millisecond // between reports in which nothing but the pace is new
	orchestrate  = 175 * time.Millisecond // of one KV transfer, beside its bytes
	blockTokens  = 256                    // of wire.PrefixBlock bytes of text
)

// request is one client's.
type request struct {
	arrival      time.Duration // since the start
	prompt, out  int
	class        wire.Class
	tenant       string
	doc, docLen  int
	began, ended time.Time // first token, last token
	place        string
	unhashed     bool // the router does not know of the document
	dropped      bool
}

func (r *request) at() time.Time       { return epoch.Add(r.arrival) }
func (r *request) ttft() time.Duration { return r.began.Sub(r.at()) }
func (r *request) tpot() time.Duration { return r.ended.Sub(r.began) / time.Duration(max(1, r.out-1)) }

// box is a kind of worker.
type box struct {
	role    wire.Role
	profile string
	flags   flags
}

// setup is one simulated deployment.
type setup struct {
	law   schedule.Config
	boxes []box
	gbps  float64 // of the link from each prefill engine
}

// site is a deployment at work.
type site struct {
	*clock
	testing.TB
	law      *schedule.Scheduler
	gbps     float64
	workers  map[string]*worker
	order    []*worker
	requests []*request
	left     int
	whys     map[string]int
	asleep   time.Time // the scheduler wants to be asked again then
}

// worker is an engine, what its process reports, and the link from it.
type worker struct {
	*site
	id     string
	engine *engine
	seq    uint64
	jobs   map[string]wire.JobReport
	linked time.Time // the link is busy until then
}

func newSite(t testing.TB, u setup) *site {
	s := &site{clock: newClock(), TB: t, law: schedule.New(u.law), gbps: u.gbps, workers: map[string]*worker{}, whys: map[string]int{}}
	for i, b := range u.boxes {
		w := &worker{site: s, id: string(b.role) + "-" + strconv.Itoa(i), engine: newEngine(t, s.clock, b.profile, b.flags), jobs: map[string]wire.JobReport{}}
		s.workers[w.id] = w
		s.order = append(s.order, w)
		s.law.SetWorker(schedule.Worker{ID: w.id, Role: b.role, Capacity: w.engine.model.KVTokens(), Slots: b.flags.seqs, Ready: true, Started: epoch}, s.now)
		s.after(time.Duration(i)*announcement/time.Duration(len(u.boxes)), w.announce)
		s.after(beat, w.beat)
	}
	return s
}

// serve has all requests done and returns them.
func (s *site) serve(rs []*request) []*request {
	s.Helper()
	s.requests, s.left = rs, len(rs)
	for i, r := range rs {
		s.after(r.arrival, func() { s.after(hop, func() { s.add(i, r) }) })
	}
	if !s.run(func() bool { return s.left > 0 && s.now.Sub(epoch) < 4*time.Hour }) || s.left > 0 {
		s.Fatalf("%d of %d requests are not done after %v: %+v", s.left, len(rs), s.now.Sub(epoch), s.law.Snapshot(s.now))
	}
	return rs
}

func (s *site) add(i int, r *request) {
	j := &schedule.Job{
		Key: strconv.Itoa(i), Frontend: "f", Tenant: r.tenant, Class: r.class, Admitted: r.at(), Tokens: r.prompt, MaxTokens: r.out, Ref: r,
	}
	if r.docLen > 0 && !r.unhashed {
		for b := range r.prompt / blockTokens {
			own := i
			if (b+1)*blockTokens <= r.docLen {
				own = -1
			}
			h := fnv.New64a()
			for _, v := range []int{r.doc, own, b} {
				_ = binary.Write(h, binary.LittleEndian, int64(v))
			}
			j.Prefix = append(j.Prefix, h.Sum64())
		}
	}
	s.law.Add(j, s.now)
	s.decide()
}

// decide has the law place what can be placed.
func (s *site) decide() {
	for _, r := range s.law.Expired(s.now) {
		r.Job.Ref.(*request).dropped = true
		s.left--
	}
	for {
		a, ok := s.law.Next(s.now)
		if !ok {
			break
		}
		r := a.Job.Ref.(*request)
		r.place = a.Why
		s.whys[a.Why]++
		w := s.workers[a.Worker]
		if a.Place == wire.PlaceSplit {
			s.after(hop, func() { w.prefill(a.Job.Key, r, s.workers[a.Decode]) })
		} else {
			s.after(hop, func() { w.whole(a.Job.Key, r) })
		}
	}
	if at := s.law.Wake(s.now); !at.IsZero() && !at.Equal(s.asleep) {
		s.asleep = at
		s.after(at.Sub(s.now), s.decide)
	}
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

func (s *site) finish(r *request) {
	r.ended = s.now
	s.left--
}

func (w *worker) whole(key string, r *request) {
	tell := func(stage wire.Stage, cached int) {
		w.report(false, wire.JobReport{Key: key, Stage: stage, Tokens: r.prompt, Cached: cached, KV: r.prompt + r.out})
	}
	q := &sequence{prompt: r.prompt, limit: r.out, doc: r.doc, docLen: r.docLen, token: func(time.Duration) {}}
	q.first = func() {
		r.began = w.now
		tell(wire.StageDecoding, 0) // engines say it with the usage
	}
	q.done = func() {
		w.finish(r)
		tell(wire.StageEnded, q.cached)
	}
	tell(wire.StagePrefilling, 0)
	w.engine.submit(q)
}

func (w *worker) prefill(key string, r *request, decode *worker) {
	tell := func(stage wire.Stage, cached int) {
		w.report(false, wire.JobReport{Key: key, Stage: stage, Tokens: r.prompt, Cached: cached, KV: r.prompt})
	}
	q := &sequence{prompt: r.prompt, limit: 1, doc: r.doc, docLen: r.docLen, pinned: true, first: func() {}}
	q.done = func() {
		tell(wire.StageHanded, q.cached)
		w.after(2*hop, func() { decode.decode(key, r, w, q) })
	}
	tell(wire.StagePrefilling, 0)
	w.engine.submit(q)
}

func (w *worker) decode(key string, r *request, from *worker, handle *sequence) {
	tell := func(stage wire.Stage) {
		w.report(false, wire.JobReport{Key: key, Stage: stage, Tokens: r.prompt, KV: r.prompt + r.out})
	}
	q := &sequence{prompt: r.prompt, limit: r.out, doc: r.doc, docLen: r.docLen, token: func(time.Duration) {}}
	q.pull = func(read func()) {
		bytes := float64((q.prompt - q.computed) * w.engine.model.KVBytesPerToken())
		if from.linked.Before(w.now) {
			from.linked = w.now
		}
		from.linked = from.linked.Add(time.Duration(bytes / w.gbps * float64(time.Nanosecond)))
		w.after(from.linked.Sub(w.now)+orchestrate, func() {
			from.engine.release(handle)
			from.engine.kick()
			read()
		})
	}
	q.first = func() {
		r.began = w.now
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
