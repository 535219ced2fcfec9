package enginesim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"time"
)

const (
	exchangeTime = 5 * time.Second // bounds one message and its answer
	maxGone      = 4096            // handles that ended and are remembered
)

// handle is kv_transfer_params as a prefill engine answers them.
type handle struct {
	DoRemotePrefill     bool      `json:"do_remote_prefill"`
	DoRemoteDecode      bool      `json:"do_remote_decode"`
	BlockIDs            [][]int32 `json:"remote_block_ids"`
	EngineID            string    `json:"remote_engine_id"`
	RequestID           string    `json:"remote_request_id"`
	Host                string    `json:"remote_host"`
	Port                int       `json:"remote_port"`
	TPSize              int       `json:"tp_size"`
	DCPSize             int       `json:"dcp_size"`
	PPSize              int       `json:"pp_size"`
	NumTokens           int       `json:"remote_num_tokens"`
	BlocksExpiryTime    *float64  `json:"remote_blocks_expiry_time"`
	TransferMode        string    `json:"transfer_mode"`
	PrefillCachedTokens int       `json:"remote_prefill_cached_tokens"`
}

// complete reports whether the members are there without which vLLM's engine dies.
func (h *handle) complete() bool {
	return len(h.BlockIDs) > 0 && len(h.BlockIDs[0]) > 0 && h.EngineID != "" && h.RequestID != "" && h.Host != "" && h.Port > 0 && h.TPSize > 0
}

// remoteRead is the reading side of a handle.
type remoteRead struct {
	handle
	read bool // the other side knows that the blocks were read; belongs to Engine.mu
}

func (r *remoteRead) addr() string { return net.JoinHostPort(r.Host, strconv.Itoa(r.Port)) }

// pin is a KV cache that waits for its reader. It belongs to Engine.mu.
type pin struct {
	id      string
	digest  string
	tokens  int
	blocks  []int32
	expires time.Time
	timer   *time.Timer
}

// The side channel: one message and its answer per connection, as JSON.
const (
	opRead    = "read"    // what is in the blocks?
	opDone    = "done"    // they were read
	opRelease = "release" // they will not be read
	opRenew   = "renew"   // a reader waits for its turn
)

type message struct {
	Op     string   `json:"op"`
	Engine string   `json:"engine"`
	IDs    []string `json:"ids"`
	Block  int32    `json:"block"` // the first one to read
	Bytes  int      `json:"bytes"` // to read in all
}

type reply struct {
	Digest string        `json:"digest,omitzero"`
	Tokens int           `json:"tokens,omitzero"`
	Sent   time.Duration `json:"sent,omitzero"` // real time until all is sent
	Error  string        `json:"error,omitzero"`
}

// pin keeps the blocks of a sequence that ends for a reader. The caller holds e.mu.
func (e *Engine) pin(s *sequence) {
	p := &pin{id: s.pinUnder, digest: s.digest, tokens: s.prompt.tokens, blocks: s.blocks, expires: time.Now().Add(e.cfg.Lease)}
	p.timer = time.AfterFunc(e.cfg.Lease, func() { e.expire(p) })
	e.pins[p.id] = p
	s.handle = &handle{
		DoRemotePrefill: true, BlockIDs: [][]int32{slices.Clone(p.blocks)}, EngineID: e.id, RequestID: p.id, Host: e.host, Port: e.port,
		TPSize: 1, DCPSize: 1, PPSize: 1, NumTokens: p.tokens, TransferMode: "pull", PrefillCachedTokens: s.cached,
	}
}

// unpin frees the blocks and remembers the handle as one that ended. The caller holds e.mu.
func (e *Engine) unpin(p *pin) {
	p.timer.Stop()
	delete(e.pins, p.id)
	e.pool.release(p.blocks)
	e.gone[p.id] = p.digest
	e.goneIDs = append(e.goneIDs, p.id)
	if len(e.goneIDs) > maxGone {
		delete(e.gone, e.goneIDs[0])
		e.goneIDs = e.goneIDs[1:]
	}
	e.kick()
}

func (e *Engine) expire(p *pin) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.pins[p.id] != p || time.Now().Before(p.expires) {
		return // it ended or was renewed while the timer fired
	}
	e.count.Expired++
	e.opts.Log.Warn("lease ended before its KV cache was read", slog.String("remote_request_id", p.id))
	e.unpin(p)
}

// serveSide answers other engines until the listener closes.
func (e *Engine) serveSide(ctx context.Context, ln net.Listener) error {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return fmt.Errorf("accept on the side channel: %w", err)
		}
		e.tasks.Go(func() { e.answerSide(ctx, conn) })
	}
}

func (e *Engine) answerSide(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(exchangeTime))
	var m message
	if err := json.NewDecoder(conn).Decode(&m); err != nil {
		return
	}
	if answer, ok := e.sideAnswer(m); ok {
		_ = json.NewEncoder(conn).Encode(answer)
	}
}

// sideAnswer does what the message asks; a crashed engine does not answer.
func (e *Engine) sideAnswer(m message) (reply, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.faults.down():
		return reply{}, false
	case m.Engine != e.id:
		return reply{Error: "engine id is not " + m.Engine}, true
	case m.Op == opRead && len(m.IDs) == 1:
		return e.readBlocks(m.IDs[0], m.Block, m.Bytes), true
	}
	for _, id := range m.IDs {
		p := e.pins[id]
		if p == nil {
			continue
		}
		switch m.Op {
		case opDone:
			e.count.Consumed++
			e.unpin(p)
		case opRelease:
			e.count.Released++
			e.unpin(p)
		case opRenew:
			e.renew(p)
		}
	}
	return reply{}, true
}

func (e *Engine) renew(p *pin) {
	p.expires = time.Now().Add(e.cfg.Lease)
	p.timer.Reset(e.cfg.Lease)
}

// readBlocks checks as little as a one-sided read does: who comes with a handle that has ended
// gets whatever is in the block now. That is another prompt, or, where nobody holds the block,
// something that is no prompt's.
func (e *Engine) readBlocks(id string, first int32, bytes int) reply {
	if e.faults.RefuseTransfer {
		return reply{Error: "transfer refused"}
	}
	if p := e.pins[id]; p != nil {
		e.renew(p)
		digest := p.digest
		if p.blocks[0] != first {
			digest = cmp.Or(e.pool.ownedBy(first), "free block")
		}
		return reply{Digest: digest, Tokens: p.tokens, Sent: e.out.take(time.Now(), e.linkTime(bytes))}
	}
	e.count.StaleReads++
	if owner := e.pool.ownedBy(first); owner != "" {
		return reply{Digest: owner}
	}
	if digest, ok := e.gone[id]; ok {
		return reply{Digest: "freed block of " + digest}
	}
	return reply{Error: "no KV cache is known as " + id}
}

// errNotRead is all that vLLM says of a KV cache that it could not read; the reason is in its log.
var errNotRead = errors.New("Internal server error") //nolint:staticcheck,revive // vLLM's words.

// startPull reads the KV cache of s in the background. The caller holds e.mu.
func (e *Engine) startPull(s *sequence) {
	ctx := e.ctx
	e.tasks.Go(func() {
		digest, err := e.pull(ctx, s)
		e.mu.Lock()
		defer e.mu.Unlock()
		if s.place != pulling {
			return // its client left
		}
		if err != nil {
			e.count.FailedPulls++
			e.opts.Log.Warn("KV cache not read", slog.String("remote_request_id", s.remote.RequestID), slog.Any("error", err))
			e.end(s, ending{err: errNotRead})
			return
		}
		e.count.Pulled++
		s.learn(digest)
		for _, id := range s.blocks {
			if e.pool.blocks[id].refs == 1 {
				e.pool.blocks[id].owner = digest
			}
		}
		from := s.computed
		s.computed = s.prompt.tokens - 1
		s.cached = s.remote.PrefillCachedTokens
		if digest == s.prompt.digest { // else the blocks are not what their hashes say
			e.fillBlocks(s, from)
		}
		s.external = s.prompt.tokens - from
		e.count.ExternalHits += s.external
		e.move(s, ready)
		e.kick()
	})
}

// pull asks what the blocks hold, waits as long as moving them takes, and tells the other side
// that they were read.
func (e *Engine) pull(ctx context.Context, s *sequence) (digest string, err error) {
	r := s.remote
	begun := time.Now()
	bytes := (s.prompt.tokens - s.computed) * e.cfg.KVBytesPerToken
	m := message{Op: opRead, Engine: r.EngineID, IDs: []string{r.RequestID}, Block: r.BlockIDs[0][0], Bytes: bytes}
	got, err := e.exchange(ctx, r.addr(), m)
	if err != nil {
		return "", err
	}
	timer := time.NewTimer(e.arrival(bytes, got.Sent))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.stop:
		return "", errors.New("the request ended")
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	e.mu.Lock()
	mine := s.place == pulling
	r.read = r.read || mine
	e.mu.Unlock()
	if !mine {
		return "", errors.New("the request ended")
	}
	e.metrics.transferred.Observe(float64(bytes))
	e.metrics.transferTime.Observe(time.Since(begun).Seconds())
	m.Op = opDone
	if _, err := e.exchange(ctx, r.addr(), m); err != nil {
		e.opts.Log.WarnContext(ctx, "read not reported", slog.String("remote_request_id", r.RequestID), slog.Any("error", err))
	}
	return got.Digest, nil
}

// releaseRemote tells the other side in the background that nobody will read. The caller holds
// e.mu.
func (e *Engine) releaseRemote(r *remoteRead) {
	r.read = true
	ctx := e.ctx
	if ctx == nil || ctx.Err() != nil {
		return
	}
	e.tasks.Go(func() {
		m := message{Op: opRelease, Engine: r.EngineID, IDs: []string{r.RequestID}}
		if _, err := e.exchange(ctx, r.addr(), m); err != nil {
			e.opts.Log.WarnContext(ctx, "release not reported", slog.String("remote_request_id", r.RequestID), slog.Any("error", err))
		}
	})
}

// heartbeat renews the leases that this engine's requests wait for. It sleeps while there are
// none, so that an idle engine in a synctest bubble does not keep the clock going.
func (e *Engine) heartbeat(ctx context.Context) {
	for {
		select {
		case <-e.beat:
			e.renewAwaited(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// renewAwaited sends renewals until no request waits.
func (e *Engine) renewAwaited(ctx context.Context) {
	ticker := time.NewTicker(e.cfg.Lease / 6)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		renewals := e.awaited()
		if len(renewals) == 0 {
			return
		}
		for addr, m := range renewals {
			if _, err := e.exchange(ctx, addr, *m); err != nil {
				e.opts.Log.WarnContext(ctx, "leases not renewed", slog.String("addr", addr), slog.Any("error", err))
			}
		}
	}
}

// awaited is the renewal for each side channel that requests wait for.
func (e *Engine) awaited() map[string]*message {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.faults.Hang || e.faults.Freeze || e.faults.down() {
		return nil
	}
	renewals := map[string]*message{}
	for _, s := range slices.Concat(e.waiting, e.pulling) {
		r := s.remote
		if r == nil || r.read {
			continue
		}
		m := renewals[r.addr()]
		if m == nil || m.Engine != r.EngineID {
			m = &message{Op: opRenew, Engine: r.EngineID}
			renewals[r.addr()] = m
		}
		m.IDs = append(m.IDs, r.RequestID)
	}
	return renewals
}

// exchange sends one message to a side channel and returns the answer.
func (e *Engine) exchange(ctx context.Context, addr string, m message) (reply, error) {
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	conn, err := e.opts.Dial(ctx, "tcp", addr)
	if err != nil {
		return reply{}, fmt.Errorf("%s: %w", m.Op, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := json.NewEncoder(conn).Encode(m); err != nil {
		return reply{}, fmt.Errorf("%s: %w", m.Op, err)
	}
	var got reply
	if err := json.NewDecoder(conn).Decode(&got); err != nil {
		return reply{}, fmt.Errorf("%s: %w", m.Op, err)
	}
	if got.Error != "" {
		return reply{}, fmt.Errorf("%s: %s", m.Op, got.Error)
	}
	return got, nil
}

func splitAddr(a net.Addr) (string, int, error) {
	host, text, err := net.SplitHostPort(a.String())
	if err != nil {
		return "", 0, fmt.Errorf("side channel address: %w", err)
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return "", 0, fmt.Errorf("side channel port: %w", err)
	}
	return host, port, nil
}
