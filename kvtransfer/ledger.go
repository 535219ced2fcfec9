package kvtransfer

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// End is how a handle ended.
type End string

// Every handle that was issued ends in exactly one of these.
const (
	Consumed End = "consumed" // the decode engine took the blocks
	Released End = "released" // given up without an answer; the engine was told
	Expired  End = "expired"  // nobody said anything before the lease ended
)

// Totals are a ledger's counts since it was made. Issued = Consumed + Released + Expired + Open.
type Totals struct {
	Issued, Consumed, Released, Expired uint64
	Open                                int
}

// Ledger knows what became of each handle that one prefill worker issued. It is safe for
// concurrent use and reads no clock: who calls passes the time.
type Ledger struct {
	metrics metrics

	mu     sync.Mutex
	open   map[uint64]time.Time // serial → end of the lease
	totals Totals               // without Open
}

// NewLedger returns an empty ledger. With a nil Registerer its metrics are not exported.
func NewLedger(reg prometheus.Registerer) *Ledger {
	return &Ledger{metrics: newMetrics(reg), open: map[uint64]time.Time{}}
}

// Issue enters a handle whose lease runs from now on and returns its serial, which starts at 1.
func (l *Ledger) Issue(now time.Time, lease time.Duration) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.Issued++
	serial := l.totals.Issued
	l.open[serial] = now.Add(lease)
	l.metrics.issued.Inc()
	l.metrics.open.Inc()
	return serial
}

// End closes a handle. False: it is not open (never issued here, or ended already), or end is unknown.
func (l *Ledger) End(serial uint64, end End) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.open[serial]; !ok {
		return false
	}
	return l.end(serial, end)
}

func (l *Ledger) end(serial uint64, end End) bool {
	switch end {
	case Consumed:
		l.totals.Consumed++
	case Released:
		l.totals.Released++
	case Expired:
		l.totals.Expired++
	default:
		return false
	}
	delete(l.open, serial)
	l.metrics.ended.WithLabelValues(string(end)).Inc()
	l.metrics.open.Dec()
	return true
}

// Expire closes the handles whose lease is over at now and returns their serials, in no order.
func (l *Ledger) Expire(now time.Time) (serials []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for serial, until := range l.open {
		if !now.Before(until) {
			l.end(serial, Expired)
			serials = append(serials, serial)
		}
	}
	return serials
}

// Open is how many handles have not ended.
func (l *Ledger) Open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.open)
}

// Totals returns the counts as of one moment.
func (l *Ledger) Totals() Totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.totals
	t.Open = len(l.open)
	return t
}
