package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/baton-llm/baton/internal/enginesim"
)

const (
	askEvery  = 50 * time.Millisecond // between two questions whether a part is up
	askTime   = time.Second           // of one such question
	startTime = time.Minute           // until a part is up; the machine may be busy
)

// part is one process of the deployment, over all its lives.
type part struct {
	name  string
	url   string // of its HTTP server
	probe string // path that answers 200 when it is up
	args  []string
	late  bool // the scenario starts it
	run   *run
	log   *os.File

	turn sync.Mutex // held by the fault under way: on a slow machine the next one may be due before it is over

	mu     sync.Mutex
	proc   *process
	asked  int // the last life that was asked to end, or killed: its end is no fault of its own
	life   int // starts so far
	killed int // the last life that was killed; 0: none
}

// start starts the process; await says when it is up.
func (p *part) start() error {
	proc, err := p.run.starter.start(p.run.cfg.Binary, p.args, p.log)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.proc = proc
	p.life++
	life := p.life
	p.mu.Unlock()
	p.run.watchers.Go(func() {
		<-proc.ended
		p.mu.Lock()
		asked := p.asked >= life
		p.mu.Unlock()
		if !asked {
			p.run.broken("%s ended by itself: %v", p.name, proc.err)
		}
	})
	return nil
}

// await waits until the part answers its probe.
func (p *part) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		if p.get(ctx, p.probe, io.Discard) == nil {
			return nil
		}
		if !sleep(ctx, askEvery) {
			return fmt.Errorf("%s is not up after %s", p.name, startTime)
		}
	}
}

// signal sends a signal; one that ends the process is noted before.
func (p *part) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return
	}
	if sig == sigKill {
		p.killed = p.life
	}
	if sig == sigKill || sig == sigTerm {
		p.asked = p.life
	}
	p.proc.signal(sig)
}

// gone waits until the process has ended.
func (p *part) gone(ctx context.Context, atMost time.Duration) error {
	p.mu.Lock()
	proc := p.proc
	p.mu.Unlock()
	if proc == nil {
		return nil
	}
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-proc.ended:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s has not ended %s after it was asked to", p.name, atMost)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// lives is which life the part is in.
func (p *part) lives() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life
}

// died tells whether the life that a request met, or a later one, was killed.
func (p *part) died(life int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed >= life
}

// get copies the answer of a 200 into w.
func (p *part) get(ctx context.Context, path string, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path, http.NoBody)
	if err != nil {
		return err
	}
	return p.do(req, http.StatusOK, w)
}

func (p *part) do(req *http.Request, want int, w io.Writer) error {
	resp, err := p.run.operator.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // Read only.
	if resp.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the status says enough without it
		return fmt.Errorf("%s answers %d: %s", p.name, resp.StatusCode, bytes.TrimSpace(text))
	}
	_, err = io.Copy(w, resp.Body)
	return err
}

// setFaults has a simulated engine fail.
func (p *part) setFaults(ctx context.Context, f enginesim.Faults) error {
	body, err := json.Marshal(f)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, p.url+"/sim/faults", bytes.NewReader(body))
	if err != nil {
		return err
	}
	return p.do(req, http.StatusNoContent, io.Discard)
}

// stats asks a simulated engine for its counts.
func (p *part) stats(ctx context.Context) (s enginesim.Stats, err error) {
	var text bytes.Buffer
	if err := p.get(ctx, "/sim/stats", &text); err != nil {
		return s, err
	}
	return s, json.Unmarshal(text.Bytes(), &s)
}

// openLog is the file that gets what the part writes, in all its lives.
func openLog(dir, name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// complaintLines is how much of a part's log is shown from a complaint on: two stacks, and where they began.
const complaintLines = 60

// complaints are the places of a part's log that no healthy program writes, each with the lines that follow, for the log
// may be gone when they are read.
func (p *part) complaints() (found []string) {
	file, err := os.Open(p.log.Name())
	if err != nil {
		return []string{err.Error()}
	}
	defer file.Close() //nolint:errcheck // Read only.
	// What a long run writes is too long to be held.
	more := 0
	for text := bufio.NewReader(file); ; {
		line, err := text.ReadString('\n')
		switch line = strings.TrimRight(line, "\n"); {
		case more > 0 && line != "":
			found[len(found)-1] += fmt.Sprintf("\n    %.200s", line)
			if more--; strings.HasPrefix(line, "=====") {
				more = 0 // The race detector's last line.
			}
		case complains(line):
			found, more = append(found, fmt.Sprintf("%s: %.200s", p.name, strings.TrimSpace(line))), complaintLines
		}
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			return append(found, err.Error())
		}
	}
}

// complains tells a line that no healthy program writes.
func complains(line string) bool {
	return slices.ContainsFunc([]string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "panic recovered"},
		func(sign string) bool { return strings.Contains(line, sign) })
}

// sleep is false if ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
