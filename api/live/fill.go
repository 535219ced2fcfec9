package live

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/baton-llm/baton/router/schedule"
	"github.com/baton-llm/baton/router/series"
)

// seconds rounds to a tenth of a millisecond: more is noise, and bytes.
func seconds(d time.Duration) float64 { return math.Round(d.Seconds()*1e4) / 1e4 }

// rounded does the same in place to what is in seconds already; nil stays.
func rounded(all ...*float64) {
	for _, x := range all {
		if x != nil {
			*x = math.Round(*x*1e4) / 1e4
		}
	}
}

func orEmpty(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// queue is what the server said, without classes.
func (a *asked) queue() Backlog {
	q := Backlog{WaitingFor: map[string]int{}}
	q.MaxJobs, q.MaxBytes = int(a.maxJobs), int(a.maxBytes)
	if a.err != nil {
		q.Error = "The NATS server did not say what the queue holds."
		return q
	}
	q.Jobs, q.Bytes, q.OldestJobSeconds = int(a.depth.Messages), int(a.depth.Bytes), seconds(a.depth.Oldest)
	return q
}

// processes fills in who lives and who went.
func (s *State) processes(members []fleet.Member, departed []fleet.Departed, now time.Time) {
	for i := range members {
		m := &members[i]
		p := process(m, now)
		if m.Role == wire.RoleFrontend {
			s.Frontends = append(s.Frontends, p)
			continue
		}
		able := cmp.Or(m.Able, m.Role)
		w := Worker{
			Process: p, Role: m.Role, Able: able, Stages: stages(able), EngineURL: m.Engine, Models: []string{},
			RunningRequests: m.Load.Running, MaxRequests: m.Load.Slots, Handles: m.Load.Handles,
			KVUsedTokens: m.Load.Tokens, KVCapacityTokens: m.Load.Capacity, WholeRequests: map[string]int{},
		}
		for _, model := range m.Models {
			w.Models = append(w.Models, model.ID)
		}
		s.Workers = append(s.Workers, w)
	}
	for i := range departed {
		d := &departed[i]
		s.Departed = append(s.Departed, Departed{ID: d.ID, Role: d.Role, AgoSeconds: seconds(now.Sub(d.Gone)), Why: d.Why, EngineURL: d.Engine})
	}
}

func process(m *fleet.Member, now time.Time) Process {
	p := Process{
		ID: m.ID, Name: m.ID, Version: m.Version, UptimeSeconds: seconds(max(0, now.Sub(m.Started))), LastHeardSeconds: seconds(now.Sub(m.Heard)),
		Ready: m.Ready, Draining: m.Leaving, State: fleet.State(&m.Announcement),
	}
	if at := strings.LastIndexByte(m.ID, '-'); at >= 0 {
		p.Name, p.Serial = m.ID[:at], m.ID[at+1:]
	}
	const late = 2 // intervals
	switch {
	case now.Sub(m.Heard) > late*m.Interval:
		p.State, p.Reason = "silent", fmt.Sprintf("It was last heard %.0f s ago; it announces itself every %v.", now.Sub(m.Heard).Seconds(), m.Interval)
	case m.Held:
		p.Reason = "An operator has it take nothing more; it finishes what it has, and stays."
	case m.Leaving:
		p.Reason = "It is stopping: it finishes what it has and takes nothing more."
	case m.Ready:
	case m.Role == wire.RoleFrontend:
		p.Reason = "It knows no workers that can serve."
	case len(m.Models) == 0:
		p.Reason = "Its engine has not answered yet."
	default:
		p.Reason = "Its engine does not answer."
	}
	return p
}

// stages are those of an engine that is able to act so.
func stages(able wire.Role) []string {
	switch able {
	case wire.RolePrefill:
		return []string{"prefill", "whole"}
	case wire.RoleDecode:
		return []string{"decode", "whole"}
	case wire.RoleBoth:
		return []string{"prefill", "decode", "whole"}
	case wire.RoleFrontend:
	}
	return []string{}
}

// books fills in what the dispatcher knows, of all models that a worker serves.
func (s *State) books(books map[string]*schedule.Snapshot) {
	at := map[string]*Worker{}
	for i := range s.Workers {
		at[s.Workers[i].ID] = &s.Workers[i]
	}
	for _, snapshot := range books {
		s.Queues.Prefill.HeldJobs += snapshot.Queued
		for reason, n := range snapshot.Waiting {
			s.Queues.Prefill.WaitingFor[reason] += n
		}
		for i := range snapshot.Workers {
			b := &snapshot.Workers[i]
			w := at[b.ID]
			if w == nil {
				continue
			}
			w.WaitingRequests += b.Prompts
			w.WaitingPromptTokens += b.PromptTokens
			w.DecodingRequests += b.Decoding
			w.ReservedRequests += b.Reserved
			w.KVUsedTokens = max(w.KVUsedTokens, b.KV)
			w.TPOTSeconds = max(w.TPOTSeconds, seconds(b.ITL))
			w.Held = w.Held || b.Held
		}
	}
	for _, w := range at {
		if w.KVCapacityTokens > 0 {
			w.KVShare = math.Round(float64(w.KVUsedTokens)/float64(w.KVCapacityTokens)*1e4) / 1e4
		}
	}
}

// decodeJobs fills in each worker's part of the decode queue.
func (s *State) decodeJobs(subjects map[string]uint64) {
	for i := range s.Workers {
		w := &s.Workers[i]
		_, address, _ := strings.Cut(wire.DecodeFilter(w.ID), "*") // .NAME.SERIAL, behind the model
		for subject, n := range subjects {
			if strings.HasSuffix(subject, address) {
				w.DecodeQueueJobs += int(n)
			}
		}
	}
}

// classes fills in what waits of each class.
func (s *State) classes(active []router.Info, rates series.Rates, subjects map[string]uint64, now time.Time) {
	for class := wire.Interactive; class <= wire.Batch; class++ {
		jobs := 0
		for subject, n := range subjects {
			if strings.HasSuffix(subject, "."+class.String()) {
				jobs += int(n)
			}
		}
		prefill := QueueClass{Class: class, InPerSecond: rates[series.PrefillIn][class], OutPerSecond: rates[series.PrefillOut][class]}
		if subjects != nil {
			prefill.Jobs = &jobs
		}
		decode := QueueClass{Class: class, InPerSecond: rates[series.DecodeIn][class], OutPerSecond: rates[series.DecodeOut][class]}
		for i := range active {
			if active[i].Class != class {
				continue
			}
			switch active[i].State { //nolint:exhaustive // In the others a worker has it.
			case router.Queued:
				prefill.wait(now.Sub(active[i].Since))
			case router.Handed:
				decode.wait(now.Sub(active[i].Since))
			}
		}
		s.Queues.Prefill.Classes = append(s.Queues.Prefill.Classes, prefill)
		s.Queues.Decode.Classes = append(s.Queues.Decode.Classes, decode)
	}
}

func (q *QueueClass) wait(age time.Duration) {
	q.Requests++
	q.OldestSeconds = max(q.OldestSeconds, seconds(age))
}

// whole fills in which whole requests workers run.
func (s *State) whole(active []router.Info) {
	for i := range active {
		r := &active[i]
		if r.State != router.Decoding || !r.Timing.Whole {
			continue
		}
		at := slices.IndexFunc(s.Workers, func(w Worker) bool { return w.ID == r.Worker })
		if at >= 0 {
			s.Workers[at].WholeRequests[cmp.Or(r.Timing.Why, "whole")]++
		}
	}
}

func requests(infos []router.Info, now time.Time) []Request {
	out := make([]Request, len(infos))
	for i := range infos {
		out[i] = request(&infos[i], now)
	}
	return out
}

func request(i *router.Info, now time.Time) Request {
	end := now
	if i.State.Final() {
		end = i.Since
	}
	r := Request{
		ID: i.ID, Model: i.Model, Tenant: i.Tenant, Class: i.Class, Streaming: i.Streaming, Admitted: i.Admitted, State: i.State.String(), Attempt: i.Attempt,
		Path: i.Timing.Place, Why: i.Timing.Why, Worker: i.Worker, PrefillWorker: i.Timing.PrefillWorker, DecodeWorker: i.Timing.DecodeWorker,
		TotalSeconds: seconds(end.Sub(i.Admitted)), QueueSeconds: seconds(i.Timing.Queue), PrefillSeconds: seconds(i.Timing.Prefill),
		HandoverSeconds: seconds(i.Timing.Handover), TTFTSeconds: seconds(i.Timing.FirstToken), TPOTSeconds: seconds(i.TPOT()),
		PromptTokens: i.Timing.PromptTokens, CachedTokens: i.Timing.CachedTokens, CompletionTokens: i.Usage.CompletionTokens, SentTokens: i.Sent,
		Reason: i.Reason, Status: i.Status, Steps: make([]Step, len(i.Steps)),
	}
	for at, s := range i.Steps {
		r.Steps[at] = Step{State: s.State.String(), Attempt: s.Attempt, Worker: s.Worker, AfterSeconds: seconds(s.At.Sub(i.Admitted))}
	}
	return r
}

func minute(s series.Summary) Minute {
	rounded(s.TTFT50, s.TTFT99, s.TPOT50, s.TPOT99)
	m := Minute{
		Done: s.Done, Failed: s.Failed, Cancelled: s.Cancelled, RequestsPerSecond: float64(s.Done) / 60, // a minute
		PromptTokensPerSecond: float64(s.PromptTokens) / 60, CompletionTokensPerSecond: float64(s.CompletionTokens) / 60,
		TTFTp50Seconds: s.TTFT50, TTFTp99Seconds: s.TTFT99, TPOTp50Seconds: s.TPOT50, TPOTp99Seconds: s.TPOT99,
	}
	if n := s.Done + s.Failed; n > 0 {
		good := float64(s.Good) / float64(n)
		m.Goodput = &good
	}
	return m
}

func lines(v *series.View) Series {
	for _, line := range [][]*float64{v.TTFT50, v.TTFT99, v.TPOT50, v.TPOT99} {
		rounded(line...)
	}
	return Series{
		End: v.End, StepSeconds: series.Step.Seconds(), ArrivedPerSecond: v.Arrived, DonePerSecond: v.Done, GoodPerSecond: v.Good, FailedPerSecond: v.Failed,
		PromptTokensPerSecond: v.PromptTokens, CompletionTokensPerSecond: v.CompletionTokens,
		TTFTp50Seconds: v.TTFT50, TTFTp99Seconds: v.TTFT99, TPOTp50Seconds: v.TPOT50, TPOTp99Seconds: v.TPOT99,
	}
}
