package engine

import (
	"slices"
	"sync"
	"time"
)

// pool has the connections that no call uses. The latest is used first, so that those too many grow old and are closed.
// It is safe for concurrent use; its zero value is ready.
type pool struct {
	mu     sync.Mutex
	idle   []*conn     // the latest last
	timer  *time.Timer // runs while there are some
	closed bool        // nothing is kept any more
}

// get returns a connection for a call that must have its answer's head at until; nil: there is none.
func (p *pool) get(until time.Time) *conn {
	for {
		c := p.last()
		if c == nil {
			return nil
		}
		if c.start(until); time.Since(c.since) < idleConnTimeout && c.isQuiet() {
			return c
		}
		c.close()
	}
}

func (p *pool) last() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	at := len(p.idle) - 1
	c := p.idle[at]
	p.idle[at] = nil
	p.idle = p.idle[:at]
	return c
}

// put takes a connection over. The caller uses it no more.
func (p *pool) put(c *conn) {
	if !p.keep(c) {
		c.close()
	}
}

func (p *pool) keep(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdleConns {
		return false
	}
	c.since = time.Now()
	p.idle = append(p.idle, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(idleConnTimeout, p.expire)
	}
	return true
}

// expire closes what has been idle for too long, and comes again for the rest.
func (p *pool) expire() {
	p.mu.Lock()
	now, old := time.Now(), 0
	for old < len(p.idle) && now.Sub(p.idle[old].since) >= idleConnTimeout {
		old++
	}
	expired := slices.Clone(p.idle[:old])
	p.idle = slices.Delete(p.idle, 0, old)
	if len(p.idle) > 0 {
		p.timer.Reset(idleConnTimeout - now.Sub(p.idle[0].since))
	} else {
		p.timer = nil
	}
	p.mu.Unlock()
	for _, c := range expired {
		c.close()
	}
}

// close closes what is idle now and what will be.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	idle := p.idle
	p.idle = nil
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}
