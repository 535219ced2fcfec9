package bus

import (
	"log/slog"
	"sync"
	"time"
)

// ackPause is how long an acknowledgement that nobody waits for is kept at most. A timer that is the next to fire wakes
// a thread when it is set, so it is not set for each of them.
const ackPause = 20 * time.Millisecond

// Words that the server takes on the subject of a delivery.
var (
	ackDone     = []byte("+ACK")
	ackRetry    = []byte("-NAK")
	ackDrop     = []byte("+TERM")
	ackProgress = []byte("+WPI")
)

// acks are the acknowledgements that nobody waits for: they go with what this process sends next, since each message
// that goes alone wakes this process's client and the server.
type acks struct {
	bus *Bus

	mu     sync.Mutex
	due    []string    // subjects
	timer  *time.Timer // nil: it has fired
	closed bool
}

// add has the delivery with this subject acknowledged.
func (a *acks) add(subject string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = append(a.due, subject)
	if a.closed {
		a.flush()
	} else if a.timer == nil {
		a.timer = time.AfterFunc(ackPause, a.fired)
	}
}

func (a *acks) fired() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.timer = nil
	a.flush()
}

// send has what is due go out with the next message.
func (a *acks) send() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flush()
}

// close sends what is due; what comes later goes at once.
func (a *acks) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.flush()
	if a.timer != nil {
		a.timer.Stop()
	}
}

// flush needs the lock.
func (a *acks) flush() {
	for _, subject := range a.due {
		if err := a.bus.nc.Publish(subject, ackDone); err != nil {
			a.bus.log.Warn("job not acknowledged, it will come again", slog.Any("error", err))
		}
	}
	clear(a.due)
	a.due = a.due[:0]
}
