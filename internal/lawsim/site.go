package lawsim

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

const (
	hop          = 2 * time.Millisecond   // of a message from process to process
	announcement = time.Second            // between full reports
	beat         = 100 * time.Millisecond // between reports in which nothing but the pace is new
	blockTokens  = 256                    // of wire.PrefixBlock bytes of text
	longest      = 4 * time.Hour          // of simulated time that a load may take beyond its last arrival
)

// Worker is one of a deployment.
type Worker struct {
	Role    wire.Role
	Profile string // of its engine, see enginesim.Config.Profile
	Flags   Flags
}

// Deployment is what serves a load.
type Deployment struct {
	Law     schedule.Config
	Workers []Worker
	GBps    float64 // of the link from each prefill engine
}

// Stats is what happened beside what the requests tell.
type Stats struct {
	Whys      map[string]int // decisions by rule
	Preempted int
}

// Run has a deployment serve requests until all are done, and enters in each what its client saw.
func Run(d Deployment, rs []*Request) (Stats, error) {
	s, err := newSite(d)
	if err != nil {
		return Stats{}, err
	}
	s.left = len(rs)
	last := time.Duration(0)
	for i, r := range rs {
		last = max(last, r.Arrival)
		s.after(r.Arrival, func() { s.after(hop, func() { s.add(i, r) }) })
	}
	s.run(func() bool { return s.left > 0 && s.now.Sub(epoch) < last+longest })
	if s.left > 0 {
		return Stats{}, fmt.Errorf("%d of %d requests are not done after %v: %+v", s.left, len(rs), s.now.Sub(epoch), s.law.Snapshot(s.now))
	}
	out := Stats{Whys: s.whys}
	for _, w := range s.workers {
		out.Preempted += w.engine.preempted
	}
	return out, nil
}

// site is a deployment at work.
type site struct {
	*clock
	law     *schedule.Scheduler
	gbps    float64
	workers map[string]*worker
	left    int // requests
	whys    map[string]int
	asleep  time.Time // the scheduler wants to be asked again then
}

func newSite(d Deployment) (*site, error) {
	s := &site{clock: newClock(), law: schedule.New(d.Law), gbps: d.GBps, workers: map[string]*worker{}, whys: map[string]int{}}
	for i, is := range d.Workers {
		model, err := enginesim.ModelByName(is.Profile)
		if err != nil {
			return nil, err
		}
		w := &worker{site: s, id: string(is.Role) + "-" + strconv.Itoa(i), engine: newEngine(s.clock, model, is.Flags), jobs: map[string]wire.JobReport{}}
		s.workers[w.id] = w
		s.law.SetWorker(schedule.Worker{ID: w.id, Role: is.Role, Capacity: model.KVTokens(), Slots: is.Flags.Seqs, Ready: true, Started: epoch})
		s.after(time.Duration(i)*announcement/time.Duration(len(d.Workers)), w.announce)
		s.after(beat, w.beat)
	}
	return s, nil
}

func (s *site) add(i int, r *Request) {
	j := &schedule.Job{
		Key: strconv.Itoa(i), Frontend: "f", Tenant: r.Tenant, Class: r.Class, Admitted: r.at(), Tokens: r.Prompt, MaxTokens: r.Out, Ref: r,
	}
	if r.DocLen > 0 && !r.Unhashed {
		for b := range r.Prompt / blockTokens {
			own := i
			if (b+1)*blockTokens <= r.DocLen {
				own = -1
			}
			h := fnv.New64a()
			for _, v := range []int{r.Doc, own, b} {
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
		r.Job.Ref.(*Request).Dropped = true
		s.left--
	}
	for {
		a, ok := s.law.Next(s.now)
		if !ok {
			break
		}
		r := a.Job.Ref.(*Request)
		r.Why = a.Why
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

func (s *site) finish(r *Request) {
	r.Ended = s.now
	s.left--
}
