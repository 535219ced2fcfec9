package dispatch

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/baton-llm/baton/internal/wire"
	"github.com/baton-llm/baton/router/schedule"
)

const (
	maxReports = 4096                   // reports that wait for the law
	maxLost    = 1024                   // dead processes that wait for it
	batch      = 256                    // jobs in one fetch, and events between two decisions
	fetchWait  = time.Second            // of one fetch: well below the time after which the server pins another process
	holdEvery  = 500 * time.Millisecond // likewise, while there is no room
	retryFetch = time.Second            // after one that failed
	retrySend  = 100 * time.Millisecond // after a job could not be forwarded
	showEvery  = 100 * time.Millisecond // at the most often, for metrics
)

// lane is the dispatching of one model. One goroutine fetches, and has what it fetches placed at once if that can be;
// another sees to all else that happens.
type lane struct {
	d     *Dispatcher
	model string
	log   *slog.Logger

	mu      sync.Mutex // of the law and what belongs to it
	law     *schedule.Scheduler
	known   map[string]schedule.Worker // that the law knows
	queued  map[string]*Delivery       // jobs that the law orders, by key
	missing map[string]time.Time       // frontends of such jobs that nobody hears of, since when
	cut     bool                       // the last job could not be forwarded
	figures figures
	// subjects are where the jobs of known workers go, by worker.
	subjects map[string]string

	reports chan *wire.Report
	lost    chan string                       // processes that are dead
	gaveUp  chan []string                     // keys that their frontends abandoned
	changed chan struct{}                     // 1 slot: the fleet is another
	left    chan struct{}                     // 1 slot: a job that was fetched has to wait for its place
	room    chan struct{}                     // 1 slot: held or bytes went down
	held    atomic.Int64                      // jobs fetched and not assigned
	bytes   atomic.Int64                      // of them
	seen    atomic.Pointer[schedule.Snapshot] // of the law, for metrics; nil: none yet
	seenAt  time.Time
}

func newLane(d *Dispatcher, model string) *lane {
	return &lane{
		d: d, model: model, log: d.log.With(slog.String("model", model)), law: schedule.New(d.law), known: map[string]schedule.Worker{},
		figures: newFigures(d.metrics), subjects: map[string]string{},
		queued: map[string]*Delivery{}, missing: map[string]time.Time{},
		reports: make(chan *wire.Report, maxReports), lost: make(chan string, maxLost),
		gaveUp: make(chan []string, batch), changed: make(chan struct{}, 1), left: make(chan struct{}, 1), room: make(chan struct{}, 1),
	}
}

// lose takes the news of a dead process. When too much news waits, its absence is seen at the next look
// at the fleet.
func (l *lane) lose(process string) {
	select {
	case l.lost <- process:
	default:
	}
}

func (l *lane) run(ctx context.Context) {
	stop, err := l.d.deps.Subscribe(wire.AbandonSubject(l.model), func(data []byte) {
		var keys []string
		if json.Unmarshal(data, &keys) != nil {
			return
		}
		select {
		case l.gaveUp <- keys:
		case <-ctx.Done():
		}
	})
	if err != nil { // jobs that nobody wants are then dropped by their workers
		l.log.WarnContext(ctx, "abandoned jobs will not be heard of", slog.Any("error", err))
		stop = func() {}
	}
	defer stop()
	var g sync.WaitGroup
	g.Go(func() { l.fetch(ctx) })
	l.decide(ctx)
	g.Wait()
	l.handBack(ctx)
}

// fetch brings jobs in while there is room to hold them, and holds the place while there is none. As room comes job by
// job, it waits for some: a request to the server costs as much for one job as for many.
func (l *lane) fetch(ctx context.Context) {
	few := min(batch, 1+l.d.cfg.LookAhead/8)
	var asked time.Time // when the server heard of us last
	for ctx.Err() == nil {
		free := min(batch, l.d.cfg.LookAhead-int(l.held.Load()))
		if free < few || int(l.bytes.Load()) >= l.d.cfg.LookAheadBytes {
			if time.Since(asked) >= holdEvery {
				asked = time.Now()
				if err := l.d.deps.Queue.Hold(ctx, l.model); err != nil && ctx.Err() == nil {
					l.log.WarnContext(ctx, "place in front of the queue not held", slog.Any("error", err))
				}
			}
			select {
			case <-l.room:
			case <-time.After(holdEvery - time.Since(asked)):
			case <-ctx.Done():
			}
			continue
		}
		asked = time.Now()
		for d, err := range l.d.deps.Queue.Fetch(ctx, l.model, free, fetchWait) {
			if err != nil {
				if ctx.Err() == nil {
					l.log.WarnContext(ctx, "fetch failed", slog.Any("error", err))
					sleep(ctx, retryFetch)
				}
				break
			}
			l.count(1, d)
			if ctx.Err() != nil {
				l.giveBack(ctx, d)
				continue
			}
			l.take(ctx, d)
		}
	}
}

// take gives a job to the law, and has it placed unless there are others to choose from, or more to know in a moment.
func (l *lane) take(ctx context.Context, d *Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(d)
	if d.More || l.law.Queued() > 1 || len(l.reports) > 0 || l.place(ctx, time.Now()) < l.d.cfg.Refresh {
		notify(l.left)
	}
}

// sleep ends early with ctx.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// decide takes what has happened, then has as much decided as can be.
func (l *lane) decide(ctx context.Context) {
	timer := time.NewTimer(0) // of the next decision without an event
	defer timer.Stop()
	refresh := time.NewTicker(l.d.cfg.Refresh) // of its own: decisions put the other off
	defer refresh.Stop()
	l.mu.Lock()
	l.look(ctx, time.Now())
	l.mu.Unlock()
	for l.wait(ctx, timer.C, refresh.C) {
		for range batch { // whatever else has happened comes before the next decision
			if !l.more() {
				break
			}
		}
		now := time.Now()
		timer.Reset(l.place(ctx, now))
		l.show(now)
		l.mu.Unlock()
	}
}

// show lets metrics see the law's books. The refresh makes sure that they are never much older.
func (l *lane) show(now time.Time) {
	if now.Sub(l.seenAt) < showEvery {
		return
	}
	books := l.law.Snapshot(now)
	l.seen.Store(&books)
	l.seenAt = now
}

// place has as many jobs placed as can be, and returns when to try again if nothing happens.
func (l *lane) place(ctx context.Context, now time.Time) time.Duration {
	l.reclaim(ctx, l.law.Lost())
	l.refuse(ctx, l.law.Expired(now))
	for {
		a, ok := l.law.Next(now)
		if !ok {
			break
		}
		if !l.forward(ctx, a, now) {
			return min(retrySend, l.d.cfg.Refresh) // the next one would not go either
		}
	}
	next := l.d.cfg.Refresh
	if at := l.law.Wake(now); !at.IsZero() {
		next = min(next, max(0, at.Sub(now)))
	}
	return next
}

// wait takes one event, and holds the lock from then on; false, and without it, when ctx has ended.
func (l *lane) wait(ctx context.Context, again, refresh <-chan time.Time) bool {
	select {
	case r := <-l.reports:
		l.mu.Lock()
		l.law.Report(r, time.Now())
	case keys := <-l.gaveUp:
		l.mu.Lock()
		l.abandon(ctx, keys)
	case process := <-l.lost:
		l.mu.Lock()
		l.dead(ctx, process)
	case <-l.changed:
		l.mu.Lock()
		l.look(ctx, time.Now())
	case now := <-refresh:
		l.mu.Lock()
		l.look(ctx, now)
	case <-l.left:
		l.mu.Lock()
	case <-again:
		l.mu.Lock()
	case <-ctx.Done():
		return false
	}
	return true
}

// more takes one report that is there already.
func (l *lane) more() bool {
	select {
	case r := <-l.reports:
		l.law.Report(r, time.Now())
	default:
		return false
	}
	return true
}

// forward sends a job to its worker; false: it cannot be sent now and stays in the law's hands.
func (l *lane) forward(ctx context.Context, a schedule.Assigned, now time.Time) bool {
	d := deliveryOf(a.Job)
	job := d.Job
	a.Dispatcher = l.d.name
	job.Assignment = &a.Assignment
	err := d.Forward(l.subject(a.Worker), &job)
	if err != nil {
		if !l.cut { // once, not for each try
			l.log.WarnContext(ctx, "jobs cannot be forwarded", slog.String("request_id", job.ID), slog.String("worker", a.Worker), slog.Any("error", err))
		}
		l.law.Undo(a, now)
	}
	if l.cut = err != nil; l.cut {
		return false
	}
	l.let(a.Job)
	l.figures.assigned(a.Place, a.Why).Inc()
	l.figures.waited(a.Job.Class).Observe(a.Waited.Seconds())
	l.log.LogAttrs(ctx, slog.LevelDebug, "assigned", slog.String("request_id", job.ID), slog.Int("attempt", int(job.Attempt)), slog.String("place", string(a.Place)),
		slog.String("why", a.Why), slog.String("worker", a.Worker), slog.String("decode", a.Decode), slog.Duration("waited", a.Waited))
	return true
}

// subject is where the jobs of a worker go.
func (l *lane) subject(worker string) string {
	subject, ok := l.subjects[worker]
	if !ok {
		subject = wire.AssignSubject(worker)
		l.subjects[worker] = subject
	}
	return subject
}

// abandon drops jobs that nobody wants.
func (l *lane) abandon(ctx context.Context, keys []string) {
	for _, key := range keys {
		if j := l.law.Remove(key); j != nil {
			l.drop(ctx, j, abandoned)
		}
	}
}

// dead takes the news that a process is gone: a worker's jobs come again.
func (l *lane) dead(ctx context.Context, process string) {
	if slices.ContainsFunc(l.d.deps.Fleet.Workers(), func(a wire.Announcement) bool { return a.ID == process }) {
		l.look(ctx, time.Now()) // another process has its name by now
		return
	}
	l.forget(ctx, process)
}

// forget has the law forget a worker; its jobs come again.
func (l *lane) forget(ctx context.Context, worker string) {
	delete(l.known, worker)
	delete(l.subjects, worker)
	l.reclaim(ctx, l.law.RemoveWorker(worker))
}

// reclaim has the jobs come again that workers have lost.
func (l *lane) reclaim(ctx context.Context, jobs []*schedule.Job) {
	for _, j := range jobs {
		if err := deliveryOf(j).Reclaim(); err != nil {
			l.log.WarnContext(ctx, "job that its worker has lost not reclaimed, it comes again after ack_wait", slog.String("job", j.Key), slog.Any("error", err))
		}
	}
}

// look tells the law what has changed among the workers of the model, and drops the jobs of dead
// frontends.
func (l *lane) look(ctx context.Context, now time.Time) {
	processes := l.d.deps.Fleet.Workers()
	l.orphans(ctx, processes, now)
	serving := make(map[string]bool, len(processes))
	for _, a := range processes {
		if a.Role == wire.RoleFrontend || !slices.ContainsFunc(a.Models, func(m wire.Model) bool { return m.ID == l.model }) {
			continue
		}
		serving[a.ID] = true
		is := schedule.Worker{
			ID: a.ID, Role: a.Role, Started: a.Started.UTC(), Capacity: a.Load.Capacity, Slots: a.Load.Slots, Ready: a.Ready, Leaving: a.Leaving,
		}
		if l.known[a.ID] != is {
			l.known[a.ID] = is
			l.reclaim(ctx, l.law.SetWorker(is))
		}
	}
	for id := range l.known {
		if !serving[id] {
			l.forget(ctx, id)
		}
	}
}
