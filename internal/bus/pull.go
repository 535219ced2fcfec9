package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	// mostPulled is how many jobs one pull request asks for at most.
	mostPulled = 512
	// pullGrace is how long after its end a pull request's last word may come.
	pullGrace = 250 * time.Millisecond
)

// consumer is what the jobs of one key are pulled from.
type consumer struct {
	subject string // that takes pull requests

	mu  sync.Mutex
	pin string // by which the server knows the process that it has pinned; empty: none, or another
}

// pullRequest is the body of a pull request as the server takes it.
type pullRequest struct {
	Expires  time.Duration `json:"expires"`
	Batch    int           `json:"batch"`
	MaxBytes int           `json:"max_bytes,omitempty"`
	Group    string        `json:"group,omitempty"`
	Pin      string        `json:"id,omitempty"`
}

func (c *consumer) pinned() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pin
}

func (c *consumer) setPin(pin string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pin = pin
}

// pull makes one pull request and calls take with each message, and whether another has come, until there are as many as
// asked for, the server ends the request, which it does when it expires, take returns false or ctx ends. It does not wait
// for messages that are on their way then: they come again. Those that have come go to rest.
func (q *Queue[J]) pull(ctx context.Context, c *consumer, r pullRequest, take func(m *nats.Msg, more bool) bool, rest func(*nats.Msg)) error {
	if q.pinned {
		r.Group, r.Pin = pinGroup, c.pinned()
	}
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	in, err := q.pulls.take(q.bus.nc)
	if err != nil {
		return err
	}
	ended := false // the server sends nothing more
	defer func() {
		in.timer.Stop()
		if ended {
			q.pulls.give(in)
			return
		}
		q.pulls.drop(in)
		for {
			select {
			case m := <-in.came:
				if status(m) == "" {
					rest(m)
				}
				continue
			default:
			}
			return
		}
	}()
	if err := q.bus.send(&nats.Msg{Subject: c.subject, Reply: in.subject, Data: data}); err != nil {
		return err
	}
	in.timer.Reset(r.Expires + pullGrace)
	for left := r.Batch; left > 0; {
		var m *nats.Msg
		select {
		case m = <-in.came:
		case <-in.timer.C:
			return nil // of a server that was restarted, for one, there is no last word
		case <-ctx.Done():
			return nil
		}
		if over, err := c.last(m); over {
			ended = err == nil || errors.Is(err, jetstream.ErrPinIDMismatch)
			return err
		}
		if status(m) != "" {
			continue
		}
		if left--; !take(m, len(in.came) > 0) {
			ended = left == 0
			return nil
		}
	}
	ended = true
	return nil
}

// last tells whether the message is the server's last word on a pull request, and why there is nothing more.
func (c *consumer) last(m *nats.Msg) (over bool, err error) {
	code := status(m)
	said := strings.ToLower(m.Header.Get("Description"))
	has := func(text string) bool { return strings.Contains(said, text) }
	switch {
	case code == "":
		if pin := m.Header.Get("Nats-Pin-Id"); pin != "" {
			c.setPin(pin)
		}
		return false, nil
	case code == "100": // a sign of life
		return false, nil
	case code == "404" || code == "408": // no messages, or not within the time
		return true, nil
	case code == "409" && (has("exceeds maxbytes") || has("batch completed")):
		return true, nil
	case code == "423":
		c.setPin("")
		return true, jetstream.ErrPinIDMismatch
	case code == noResponders:
		return true, nats.ErrNoResponders
	case has("consumer deleted"):
		return true, jetstream.ErrConsumerDeleted
	case has("leadership change"):
		return true, jetstream.ErrConsumerLeadershipChanged
	case has("server shutdown"):
		return true, jetstream.ErrServerShutdown
	default:
		return true, fmt.Errorf("server ended a pull request with %s %q", code, m.Header.Get("Description"))
	}
}
