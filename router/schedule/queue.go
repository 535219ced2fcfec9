package schedule

import (
	"iter"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

const (
	levels = int(wire.Batch) + 2 // one for each class, and before them one for those that aged past all
	bands  = 2                   // those that can be in time, then those that cannot
	lanes  = 2                   // short prompts and long ones, which wait for different things
	groups = levels * bands * lanes

	// candidates is how many jobs of one group are looked at when the first cannot be placed.
	candidates = 8
	// fewTenants is how many tenants they are taken from.
	fewTenants = 4
)

// entry is a queued job.
type entry struct {
	job    *Job
	seq    uint64 // order of arrival; kept when an assignment is undone
	tenant *tenant
	group  int       // where it stands; see groupOf
	tokens int       // of its prompt, as queue.tokens counts them
	due    time.Time // orders a group, earliest first; zero, after all others: none, or it does not matter
	late   time.Time // from when on it cannot be in time; zero: always can
	turns  time.Time // when its group may change; zero: never
	looked time.Time // when it was first looked at and could not be placed; zero: not yet
	claim  string    // worker that is kept free for it, once it has waited for room too long

	inShare, inTurns, inDeadlines int // places in heaps
}

// tenant shares the workers with others inside each group.
type tenant struct {
	name   string
	served float64        // tokens, on the queue's scale; the least served goes first
	queued int            // jobs in all groups
	shares [groups]*share // nil: never had a job there
	inIdle int
}

// share is one tenant's jobs in one group.
type share struct {
	tenant  *tenant
	jobs    heap[*entry]
	inGroup int
}

// queue orders the jobs: level, band, then the tenant that was served least, then the job that is
// due first, then the oldest. Its scale of service is start-time fair queueing: who had nothing
// queued for some time counts as served as much as those who waited, so that a tenant's past neither
// pays nor costs it, and only what was served in one busy period is compared.
type queue struct {
	aging     time.Duration
	byKey     map[string]*entry
	groups    [groups]heap[*share]
	tokens    [groups]int // of the prompts in each group
	tenants   map[string]*tenant
	idle      heap[*tenant] // with nothing queued, by served; forgotten once others were served as much
	served    float64       // of the tenant that was served last
	turns     heap[*entry]  // by entry.turns
	deadlines heap[*entry]  // by Job.Deadline
}

func newQueue(aging time.Duration) *queue {
	q := &queue{
		aging: aging, byKey: map[string]*entry{}, tenants: map[string]*tenant{},
		idle: heap[*tenant]{
			less:  func(a, b *tenant) bool { return a.served < b.served },
			place: func(t *tenant) *int { return &t.inIdle },
		},
		turns: heap[*entry]{
			less:  func(a, b *entry) bool { return a.turns.Before(b.turns) },
			place: func(e *entry) *int { return &e.inTurns },
		},
		deadlines: heap[*entry]{
			less:  func(a, b *entry) bool { return a.job.Deadline.Before(b.job.Deadline) },
			place: func(e *entry) *int { return &e.inDeadlines },
		},
	}
	for i := range q.groups {
		q.groups[i] = heap[*share]{less: shareBefore, place: func(s *share) *int { return &s.inGroup }}
	}
	return q
}

func shareBefore(a, b *share) bool {
	if a.tenant.served != b.tenant.served {
		return a.tenant.served < b.tenant.served
	}
	return entryBefore(a.jobs.items[0], b.jobs.items[0])
}

func entryBefore(a, b *entry) bool {
	switch {
	case !a.due.Equal(b.due):
		return b.due.IsZero() || !a.due.IsZero() && a.due.Before(b.due)
	case !a.job.Admitted.Equal(b.job.Admitted):
		return a.job.Admitted.Before(b.job.Admitted)
	}
	return a.seq < b.seq
}

// groupOf numbers the groups in order, the two lanes of one level and band side by side.
func groupOf(level, band, lane int) int { return (level*bands+band)*lanes + lane }

// levelOf is the level of a job of a class that has not aged.
func levelOf(class wire.Class) int { return 1 + int(min(class, wire.Batch)) }

// stand says where a job stands at now, and when that may change. due is when its first token
// should come and late from when on that cannot be; zero: it need not come by any time.
func (q *queue) stand(e *entry, due, late time.Time, short bool, now time.Time) {
	level := levelOf(e.job.Class)
	aged := max(0, int(now.Sub(e.job.Admitted)/q.aging))
	e.due, e.late, e.turns = due, late, time.Time{}
	if aged >= level {
		level = 0
	} else {
		level -= aged
		e.turns = e.job.Admitted.Add(time.Duration(aged+1) * q.aging)
	}
	band, lane := 0, 1
	switch {
	case level == 0: // the oldest first, whatever they hope for
		e.due = time.Time{}
	case late.IsZero():
	case now.Before(late):
		if late.Before(e.turns) {
			e.turns = late
		}
	default:
		band, e.due = 1, time.Time{}
	}
	if short {
		lane = 0
	}
	e.group = groupOf(level, band, lane)
}

// add queues an entry where stand has put it.
func (q *queue) add(e *entry) {
	t := q.tenants[e.job.Tenant]
	if t == nil {
		t = &tenant{name: e.job.Tenant}
		q.tenants[t.name] = t
	}
	if t.queued == 0 {
		q.idle.remove(t)
		t.served = max(t.served, q.served)
	}
	t.queued++
	e.tenant = t
	q.byKey[e.job.Key] = e
	q.enter(e)
	if !e.job.Deadline.IsZero() {
		q.deadlines.push(e)
	}
}

func (q *queue) enter(e *entry) {
	sh := e.tenant.shares[e.group]
	if sh == nil {
		sh = &share{tenant: e.tenant, jobs: heap[*entry]{less: entryBefore, place: func(e *entry) *int { return &e.inShare }}}
		e.tenant.shares[e.group] = sh
	}
	sh.jobs.push(e)
	q.tokens[e.group] += e.tokens
	if sh.inGroup == 0 {
		q.groups[e.group].push(sh)
	} else {
		q.groups[e.group].fix(sh)
	}
	if !e.turns.IsZero() {
		q.turns.push(e)
	}
}

func (q *queue) exit(e *entry) {
	sh := e.tenant.shares[e.group]
	if len(sh.jobs.items) == 1 {
		q.groups[e.group].remove(sh) // its order needs a job
		sh.jobs.remove(e)
	} else {
		sh.jobs.remove(e)
		q.groups[e.group].fix(sh)
	}
	q.tokens[e.group] -= e.tokens
	q.turns.remove(e)
}

// remove takes an entry out.
func (q *queue) remove(e *entry) {
	q.exit(e)
	q.deadlines.remove(e)
	delete(q.byKey, e.job.Key)
	if e.tenant.queued--; e.tenant.queued == 0 {
		q.idle.push(e.tenant)
	}
	q.forget()
}

// forget drops the tenants whose past makes no difference any more.
func (q *queue) forget() {
	for {
		t, ok := q.idle.top()
		if !ok || t.served > q.served && len(q.byKey) > 0 {
			break
		}
		q.idle.remove(t)
		delete(q.tenants, t.name)
	}
	if len(q.byKey) == 0 { // the busy period is over
		q.served = 0
	}
}

// serve counts tokens for a tenant whose job was assigned; negative ones take that back.
func (q *queue) serve(name string, tokens int) {
	t := q.tenants[name]
	if t == nil {
		return
	}
	q.served = max(q.served, min(t.served, t.served+float64(tokens)))
	t.served += float64(tokens)
	for g, sh := range t.shares {
		if sh != nil && sh.inGroup > 0 {
			q.groups[g].fix(sh)
		}
	}
	if t.inIdle > 0 {
		q.idle.fix(t)
	}
	q.forget()
}

// turn moves the entries whose group may have changed; restand puts each where it stands now.
func (q *queue) turn(now time.Time, restand func(*entry)) {
	for {
		e, ok := q.turns.top()
		if !ok || e.turns.After(now) {
			return
		}
		q.exit(e)
		restand(e)
		q.enter(e)
	}
}

// late yields the entries that cannot be in time; each must be removed.
func (q *queue) late() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for level := range levels {
			for lane := range lanes {
				for h := &q.groups[groupOf(level, 1, lane)]; len(h.items) > 0; {
					if !yield(h.items[0].jobs.items[0]) {
						return
					}
				}
			}
		}
	}
}

// look returns the first jobs of the two lanes that begin at group g, in order, in buf.
func (q *queue) look(g int, buf []*entry) []*entry {
	buf = q.lane(g, buf[:0])
	split := len(buf)
	buf = q.lane(g+1, buf)
	if split == 0 || split == len(buf) {
		return buf
	}
	return merge(buf, split)
}

func (q *queue) lane(g int, buf []*entry) []*entry {
	h := &q.groups[g]
	if len(h.items) == 0 {
		return buf
	}
	each := candidates / min(fewTenants, len(h.items))
	h.first(fewTenants, func(sh *share) {
		sh.jobs.first(each, func(e *entry) { buf = append(buf, e) })
	})
	return buf
}

// merge merges two ordered parts of all in place; they are short.
func merge(all []*entry, split int) []*entry {
	for i := split; i < len(all); i++ {
		for j := i; j > 0 && before(all[j], all[j-1]); j-- {
			all[j], all[j-1] = all[j-1], all[j]
		}
	}
	return all
}

func before(a, b *entry) bool {
	if a.tenant.served != b.tenant.served {
		return a.tenant.served < b.tenant.served
	}
	return entryBefore(a, b)
}
