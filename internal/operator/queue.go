package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/baton-llm/baton/internal/bus"
	"github.com/baton-llm/baton/internal/wire"
)

// Queue is one of the two queues: what the NATS server has in it, and what waits by the words of the frontends.
type Queue struct {
	Line     wire.Line    `json:"queue"`
	Jobs     uint64       `json:"jobs"` // at the server; of the prefill queue also those that workers compute
	Bytes    uint64       `json:"bytes"`
	MaxJobs  int64        `json:"max_jobs"`
	MaxBytes int64        `json:"max_bytes"`
	Oldest   float64      `json:"oldest_job_seconds"`
	Classes  []QueueClass `json:"classes"`
}

// QueueClass is one class of a queue.
type QueueClass struct {
	Class   wire.Class `json:"class"`
	Jobs    *uint64    `json:"jobs"`    // null: the queue does not tell classes apart
	Waiting int        `json:"waiting"` // requests that no worker has taken
	Oldest  float64    `json:"oldest_waiting_seconds"`
}

// Queues describes both. An error beside them names frontends that did not say what waits.
func (d *Desk) Queues(ctx context.Context) ([]Queue, error) {
	all, err := d.bus.Standings(ctx)
	if err != nil {
		return nil, err
	}
	var silent error
	queues := []Queue{}
	for i, line := range []wire.Line{wire.LinePrefill, wire.LineDecode} {
		s := &all[i]
		q := Queue{Line: line, Jobs: s.Messages, Bytes: s.Bytes, MaxJobs: s.MaxMessages, MaxBytes: s.MaxBytes, Oldest: s.Oldest.Seconds()}
		waiting, err := d.Waiting(ctx, wire.QueueAsk{Line: line})
		silent = errors.Join(silent, err)
		counts := s.ByClass()
		for _, class := range []wire.Class{wire.Interactive, wire.Standard, wire.Batch} {
			c := QueueClass{Class: class}
			if line == wire.LinePrefill {
				n := counts[class]
				c.Jobs = &n
			}
			for _, w := range waiting.Classes {
				if w.Class == class {
					c.Waiting, c.Oldest = w.Waiting, max(0, time.Since(w.Oldest).Seconds())
				}
			}
			q.Classes = append(q.Classes, c)
		}
		queues = append(queues, q)
	}
	return queues, silent
}

// PrintQueues writes them as a table.
func PrintQueues(out io.Writer, queues []Queue) error {
	return table(out, func(tab io.Writer) {
		fmt.Fprintln(tab, "QUEUE\tCLASS\tJOBS\tWAITING\tOLDEST\tBYTES\tMOST")
		for i := range queues {
			q := &queues[i]
			waiting := 0
			for _, c := range q.Classes {
				waiting += c.Waiting
			}
			fmt.Fprintf(tab, "%s\tall\t%d\t%d\t%s\t%d\t%d jobs, %d bytes\n", q.Line, q.Jobs, waiting, age(q.Oldest), q.Bytes, q.MaxJobs, q.MaxBytes)
			for _, c := range q.Classes {
				jobs := "-"
				if c.Jobs != nil {
					jobs = fmt.Sprint(*c.Jobs)
				}
				fmt.Fprintf(tab, "%s\t%s\t%s\t%d\t%s\t\t\n", q.Line, c.Class, jobs, c.Waiting, age(c.Oldest))
			}
		}
	})
}

// age is a time since for people; nothing is a dash.
func age(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Waiting asks all frontends, and puts their answers together: the oldest requests of all come first. An error beside
// an answer names frontends whose part it lacks.
func (d *Desk) Waiting(ctx context.Context, ask wire.QueueAsk) (sum wire.QueueAnswer, err error) {
	question, err := json.Marshal(ask)
	if err != nil {
		return sum, err
	}
	fleet, err := d.fleet(ctx)
	if err != nil {
		return sum, err
	}
	var g sync.WaitGroup
	var mu sync.Mutex
	for _, a := range fleet.Workers() {
		if isWorker(&a) {
			continue
		}
		g.Go(func() {
			answer, e := d.waitingAt(ctx, a.ID, question)
			mu.Lock()
			defer mu.Unlock()
			err = errors.Join(err, e)
			add(&sum, &answer)
		})
	}
	g.Wait()
	slices.SortFunc(sum.Requests, func(a, b wire.Waiting) int { return a.Admitted.Compare(b.Admitted) })
	sum.Requests = sum.Requests[:min(len(sum.Requests), ask.Most)]
	return sum, err
}

func (d *Desk) waitingAt(ctx context.Context, frontend string, question []byte) (answer wire.QueueAnswer, err error) {
	data, err := d.bus.Request(ctx, wire.QueueSubject(frontend), question)
	if err == nil {
		err = json.Unmarshal(data, &answer)
	}
	if errors.Is(err, bus.ErrNoResponder) {
		err = errors.New("it does not answer; a frontend of an older version does not")
	}
	if err != nil {
		err = fmt.Errorf("ask %s what waits: %w", frontend, err)
	}
	return answer, err
}

// add adds the answer of one frontend to the sum.
func add(sum, one *wire.QueueAnswer) {
	sum.Total += one.Total
	sum.Purged += one.Purged
	sum.Requests = append(sum.Requests, one.Requests...)
	for _, c := range one.Classes {
		i := slices.IndexFunc(sum.Classes, func(s wire.ClassWaiting) bool { return s.Class == c.Class })
		if i < 0 {
			sum.Classes = append(sum.Classes, c)
			continue
		}
		s := &sum.Classes[i]
		if s.Waiting += c.Waiting; c.Oldest.Before(s.Oldest) {
			s.Oldest = c.Oldest
		}
	}
}

// PrintWaiting writes requests as a table.
func PrintWaiting(out io.Writer, requests []wire.Waiting) error {
	return table(out, func(tab io.Writer) {
		fmt.Fprintln(tab, "REQUEST\tCLASS\tTENANT\tAGE\tPROMPT\tMOST ANSWER\tATTEMPT\tFRONTEND\tFOR WORKER")
		for i := range requests {
			w := &requests[i]
			fmt.Fprintf(tab, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\n", w.ID, w.Class, dash(w.Tenant), age(max(0.001, time.Since(w.Admitted).Seconds())), w.Tokens, w.MaxTokens, w.Attempt, w.Frontend, dash(w.Worker))
		}
	})
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
