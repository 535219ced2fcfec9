package worker

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	// leastPause is the shortest time between two reports: what happens meanwhile goes out together. Each report is
	// a message to all dispatchers, which then decide anew, and a request makes five such changes at two workers. Only a worker
	// with many short jobs comes to it; where others wait for their places, one may stand empty for as long.
	leastPause = 20 * time.Millisecond
	// beat is the longest time between two reports while tokens come: dispatchers decide by their pace.
	beat = 150 * time.Millisecond
	// itlMemory is the time constant of the moving average of the gaps between tokens.
	itlMemory = time.Second
)

// Reporter tells the dispatchers what jobs a worker has. Its methods are safe for concurrent use.
type Reporter struct {
	worker  string
	started time.Time
	every   time.Duration
	publish func(subject string, data []byte) error
	log     *slog.Logger
	wake    chan struct{} // 1 slot: something has changed that others may wait for
	soon    chan struct{} // 1 slot: a job has come, which nobody waits to hear of: what follows may go with it
	again   chan struct{} // 1 slot: all is wanted
	cut     bool          // the last report could not be sent; Run's own
	data    []byte        // of the last report; Run's own
	flow    chan struct{} // 1 slot: the first token since the last report has come

	mu      sync.Mutex
	seq     uint64
	jobs    map[string]wire.JobReport
	changed map[string]wire.JobReport
	gaps    float64 // decayed sum of gaps, in seconds
	weight  float64 // decayed number of gaps
	at      time.Time
	flowing bool // a token has come since the last report
}

// NewReporter returns the reporter of a worker whose process began at started; every is the time
// between two full reports. publish does not keep data.
func NewReporter(worker string, started time.Time, every time.Duration, publish func(subject string, data []byte) error, log *slog.Logger) *Reporter {
	return &Reporter{
		worker: worker, started: started, every: every, publish: publish, log: log,
		wake: make(chan struct{}, 1), soon: make(chan struct{}, 1), again: make(chan struct{}, 1), flow: make(chan struct{}, 1),
		jobs: map[string]wire.JobReport{}, changed: map[string]wire.JobReport{},
	}
}

// Set says how far a job has come. That it has come at all is reported a little later. A job that has ended is forgotten once that is reported.
func (r *Reporter) Set(j wire.JobReport) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if j.Stage == wire.StageEnded {
		if _, known := r.jobs[j.Key]; !known {
			return
		}
		delete(r.jobs, j.Key)
	} else {
		r.jobs[j.Key] = j
	}
	r.changed[j.Key] = j
	if j.Stage == wire.StagePrefilling {
		poke(r.soon)
	} else {
		poke(r.wake)
	}
}

// End says that a job holds nothing here any more.
func (r *Reporter) End(key string) { r.Set(wire.JobReport{Key: key, Stage: wire.StageEnded}) }

// Gap takes the time in which so many tokens of one stream came: the gaps between them are counted as even.
func (r *Reporter) Gap(d time.Duration, tokens int, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decay(now)
	r.gaps += d.Seconds()
	r.weight += float64(tokens)
	if !r.flowing {
		r.flowing = true
		poke(r.flow)
	}
}

// decay needs the lock.
func (r *Reporter) decay(now time.Time) {
	if passed := now.Sub(r.at); passed > 0 {
		keep := math.Exp(-passed.Seconds() / itlMemory.Seconds())
		r.gaps, r.weight, r.at = r.gaps*keep, r.weight*keep, now
	}
}

// itl needs the lock.
func (r *Reporter) itl(now time.Time) time.Duration {
	const enough = 0.1 // of one gap: the last is some time ago
	r.decay(now)
	if r.weight < enough {
		return 0
	}
	return time.Duration(r.gaps / r.weight * float64(time.Second))
}

// All has a full report sent soon: somebody has just come.
func (r *Reporter) All() { poke(r.again) }

func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Run reports until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	pulse := time.AfterFunc(beat, r.stir) // before the first token there is nothing new when it fires
	defer pulse.Stop()
	later := time.AfterFunc(leastPause, r.stir)
	defer later.Stop()
	pause := time.NewTimer(leastPause)
	defer pause.Stop()
	waits := false // later runs
	for {
		full := false
		select {
		case <-r.wake:
		case <-r.soon:
			if !waits {
				waits = true
				later.Reset(leastPause)
			}
			continue
		case <-r.flow:
			pulse.Reset(beat)
			continue
		case <-r.again:
			full = true
		case <-tick.C:
			full = true
		case <-ctx.Done():
			return ctx.Err()
		}
		waits = false
		later.Stop()
		r.send(ctx, full)
		pause.Reset(leastPause)
		select {
		case <-pause.C:
		case <-tick.C:
			r.All()
			<-pause.C
		case <-ctx.Done():
		}
	}
}

// stir has a report sent of what is new.
func (r *Reporter) stir() { poke(r.wake) }

func (r *Reporter) send(ctx context.Context, full bool) {
	r.mu.Lock()
	out := wire.Report{Worker: r.worker, Started: r.started, Full: full, ITL: r.itl(time.Now())}
	for _, j := range r.changed {
		out.Jobs = append(out.Jobs, j)
	}
	if full {
		for key, j := range r.jobs {
			if _, there := r.changed[key]; !there {
				out.Jobs = append(out.Jobs, j)
			}
		}
	}
	if len(out.Jobs) == 0 && !full && !r.flowing {
		r.mu.Unlock()
		return
	}
	clear(r.changed)
	r.flowing = false
	r.seq++
	out.Seq = r.seq
	r.mu.Unlock()
	r.data = out.Append(r.data[:0])
	err := r.publish(wire.ReportSubject, r.data)
	if err != nil && !r.cut { // once, not for each try
		r.log.WarnContext(ctx, "reports cannot be sent, the next full one will mend that", slog.Any("error", err))
	}
	r.cut = err != nil
}
