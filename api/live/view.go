package live

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/fleet"
	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router"
	"github.com/baton-llm/baton/router/schedule"
	"github.com/baton-llm/baton/router/series"
)

const (
	fresh      = 900 * time.Millisecond // how long a State is shown again
	queueTime  = time.Second            // for the server to say what a queue holds
	mostShown  = 200                    // requests of each list
	rateWindow = int(10 * time.Second / series.Step)
)

// Router is the requests; *router.Router is one.
type Router interface {
	Requests() []router.Info
	Past(n int) []router.Info
	Figures() *series.Series
	Cancel(id string) bool
}

// Fleet is the processes; *fleet.Fleet is one.
type Fleet interface {
	Members() []fleet.Member
	Departed(now time.Time) []fleet.Departed
	Models() []wire.Model
	Missing() []string
}

// Queue is a work queue; *bus.Queue is one.
type Queue interface {
	Detail(ctx context.Context) (depth bus.Depth, subjects map[string]uint64, err error)
	Limits() (jobs, bytes int64)
}

// Deps is where the figures come from.
type Deps struct {
	Router  Router
	Fleet   Fleet
	Books   func() map[string]*schedule.Snapshot // of each model; nobody changes them
	Prefill Queue
	Decode  Queue
}

// About is what does not change.
type About struct {
	ID          string // of the frontend
	Version     string
	Begun       time.Time
	Policy      schedule.Config
	MaxInFlight int // 0: no bound
}

// View makes States. Its methods are safe for concurrent use.
type View struct {
	about About
	deps  Deps

	mu   sync.Mutex
	made time.Time
	text []byte
}

// New makes a View; it costs nothing while nobody looks.
func New(about About, deps Deps) *View { return &View{about: about, deps: deps} }

// Cancel ends a request of this frontend; see router.Router.
func (v *View) Cancel(id string) bool { return v.deps.Router.Cancel(id) }

// Text is a State as JSON, at most a second old. All who look share it. Nobody may change it.
func (v *View) Text(ctx context.Context) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.text != nil && time.Since(v.made) < fresh {
		return v.text, nil
	}
	text, err := json.Marshal(v.State(context.WithoutCancel(ctx))) // others may wait for it
	if err != nil {
		return nil, err
	}
	v.text, v.made = text, time.Now()
	return text, nil
}

// State asks all owners once. It waits for the queues' server for two seconds at most.
func (v *View) State(ctx context.Context) *State {
	prefill, decode := v.ask(ctx, v.deps.Prefill), v.ask(ctx, v.deps.Decode)
	now := time.Now()
	active := v.deps.Router.Requests()
	figures := v.deps.Router.Figures()
	books := v.deps.Books()
	s := &State{
		Now: now, Missing: orEmpty(v.deps.Fleet.Missing()), Models: []string{},
		Frontend: Frontend{ID: v.about.ID, Version: v.about.Version, UptimeSeconds: seconds(now.Sub(v.about.Begun))},
		Policy: Policy{
			Mode: string(v.about.Policy.Mode), SLOTTFTSeconds: seconds(v.about.Policy.SLO.TTFT), SLOTPOTSeconds: seconds(v.about.Policy.SLO.TPOT),
		},
		Frontends: []Process{}, Workers: []Worker{}, Departed: []Departed{},
		Queues:     Queues{Prefill: prefill.queue(), Decode: decode.queue()},
		Requests:   Requests{InFlight: len(active), MaxInFlight: v.about.MaxInFlight, FinishedKeptMost: mostShown},
		LastMinute: minute(figures.Summary(now)),
		Series:     lines(figures.View(now)),
	}
	for _, m := range v.deps.Fleet.Models() {
		s.Models = append(s.Models, m.ID)
	}
	s.processes(v.deps.Fleet.Members(), v.deps.Fleet.Departed(now), now)
	s.books(books)
	s.decodeJobs(decode.subjects)
	s.classes(active, figures.Rates(rateWindow, now), prefill.subjects, now)
	s.whole(active)
	shown := active[:min(len(active), mostShown)]
	s.Requests.ActiveLeftOff = len(active) - len(shown)
	s.Requests.Active = requests(shown, now)
	s.Requests.Finished = requests(v.deps.Router.Past(mostShown), now)
	return s
}

// asked is what the server said of a queue.
type asked struct {
	depth             bus.Depth
	subjects          map[string]uint64 // jobs of each; nil: not known
	maxJobs, maxBytes int64
	err               error
}

func (v *View) ask(ctx context.Context, q Queue) (a asked) {
	ctx, cancel := context.WithTimeout(ctx, queueTime)
	defer cancel()
	a.depth, a.subjects, a.err = q.Detail(ctx)
	a.maxJobs, a.maxBytes = q.Limits()
	return a
}
