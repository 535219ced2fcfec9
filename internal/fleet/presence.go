package fleet

import (
	"context"
	"log/slog"
	"time"

	"github.com/baton-llm/baton/internal/wire"
)

// Server knows who listens to what; *bus.Bus speaks for one.
type Server interface {
	// Connection is the number of this process's connection to the server, another one after each loss of it.
	Connection() uint64
	// Deserted sends data to subject and is true if the server says that nobody was there to get it. False proves nothing.
	Deserted(ctx context.Context, subject string, data []byte) bool
}

const (
	// lateBy is how much later than planned an announcement is when the server is asked for its process.
	lateBy = 250 * time.Millisecond
	// away is for how long the server must know nobody at a worker's subject. A live worker that has lost its
	// connection tries again within half a second, again and again.
	away = 1500 * time.Millisecond
	// askTime bounds the wait for the server's word. A worker that is there does not answer.
	askTime = 500 * time.Millisecond
)

// Watch has the fleet ask server for workers whose announcements are late: one that was killed has left it at once,
// and need not be waited for as long as one that is only silent. It is to be called before Run.
func (f *Fleet) Watch(server Server) { f.server = server }

// heardOver notes over which connection an announcement has come. It needs the lock.
func (f *Fleet) heardOver(p *process) {
	p.away = time.Time{}
	if f.server == nil {
		return
	}
	over := f.server.Connection()
	p.settled, p.over = p.over == over, over
}

// missed tells whether the server is to be asked for a process now. Only one that has spoken over this connection, and not only
// with words that may have waited here since an earlier one, was at this server: after the server's restart all
// come back in their own time. It needs the lock.
func (f *Fleet) missed(p *process, now time.Time) bool {
	return f.server != nil && !p.asked && p.said.Role != wire.RoleFrontend && now.Sub(p.spoke) >= min(p.said.Interval, maxInterval)+lateBy &&
		p.settled && p.over == f.server.Connection()
}

// ask asks the server for a process, and forgets it if nobody was at its subject during a time within which a live
// worker connects again. That time is between two answers of the server, however long they took to be read.
func (f *Fleet) ask(ctx context.Context, id string, p *process) {
	asked := time.Now()
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	deserted := f.server.Deserted(ctx, wire.ControlSubject(id), f.silence)
	f.mu.Lock()
	defer f.mu.Unlock()
	p.asked = false
	switch {
	case f.processes[id] != p, p.spoke.After(asked):
	case !deserted, p.over != f.server.Connection():
		p.away = time.Time{}
	case p.away.IsZero():
		p.away = time.Now()
	case asked.Sub(p.away) >= away:
		f.log.WarnContext(ctx, "process has left the NATS server and counts as dead", slog.String("process", id), slog.String("role", string(p.said.Role)))
		f.lose(id, Silent)
		f.count()
	}
}
