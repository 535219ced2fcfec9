package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/baton-llm/baton/internal/peers/stub"
)

// common is how all of baton's processes are set up here: every request is split as the other routers split it, and one
// engine may have all requests of a cell at once, as it may have behind the others, which bound nothing: its batch is as
// large as its memory.
var common = []string{
	"--log.level=error", "--schedule.mode=split", "--schedule.short_prompt=0", "--decode.slots=16384",
	"--schedule.prefill_window=8388608", "--prefill.batch_tokens=8388608", "--prefill.max_handles=16384",
}

// built is the binary of baton, which is built into dir if there is none.
func built(ctx context.Context, binary, dir string) (string, error) {
	if binary != "" {
		return binary, nil
	}
	binary = filepath.Join(dir, "baton")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/baton-llm/baton/cmd/baton").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build baton: %w: %s", err, out)
	}
	return binary, nil
}

// batonUp is baton as one process, with two workers for each pair; a pair may be there many times.
func batonUp(ctx context.Context, s *site, binary string, pairs []pair) (*router, error) {
	r := &router{name: "baton", split: true}
	var err error
	if r.addr, err = freeAddr(); err != nil {
		return r, err
	}
	if r.admin, err = freeAddr(); err != nil {
		return r, err
	}
	var prefill, decode []string
	for _, p := range pairs {
		prefill, decode = append(prefill, "http://"+p.prefill), append(decode, "http://"+p.decode)
		if p.model != stub.Model && !slices.Contains(r.models, p.model) {
			r.models = append(r.models, p.model)
		}
	}
	ready := filepath.Join(s.dir, "ready") // when all workers are known
	_ = os.Remove(ready)                   // that of a process which was killed
	command := append([]string{
		binary, "up", "--listen=" + r.addr, "--api.admin_listen=" + r.admin, "--up.ready_file=" + ready,
		"--prefill-urls=" + strings.Join(prefill, ","), "--decode-urls=" + strings.Join(decode, ","),
	}, common...)
	r.how = "baton " + strings.Join(command[1:], " ")
	p, err := r.start(s, "up", nil, command...)
	if err == nil {
		err = p.until(ctx, readyTime, func() error { _, err := os.Stat(ready); return err })
	}
	if err != nil {
		return r, err
	}
	return r, r.answers(ctx)
}

// batonApart is baton as one process for each part, with so many frontends.
func batonApart(ctx context.Context, s *site, binary string, frontends int) (*router, error) {
	r := &router{name: "baton, four processes", split: true}
	nats, err := freeAddr()
	if err != nil {
		return r, err
	}
	if r.addr, err = freeAddr(); err != nil {
		return r, err
	}
	server, err := r.start(s, "nats", nil, binary, "nats", "run", "--nats_server.listen="+nats, "--log.level=error")
	if err == nil {
		err = server.listens(ctx, nats)
	}
	if err != nil {
		return r, err
	}
	parts := [][]string{
		{"frontend", "frontend", "--listen=" + r.addr},
		{"prefill", "prefill", "--engine=http://" + s.prefill},
		{"decode", "decode", "--engine=http://" + s.decode},
	}
	for n := 2; n <= frontends; n++ {
		addr, err := freeAddr()
		if err != nil {
			return r, err
		}
		r.others = append(r.others, addr)
		parts = append(parts, []string{fmt.Sprintf("%s-%d", frontend, n), "frontend", "--listen=" + addr})
	}
	for _, part := range parts {
		command := append([]string{binary, part[1], "--nats=nats://" + nats, part[2]}, common...)
		if _, err := r.start(s, part[0], nil, command...); err != nil {
			return r, err
		}
	}
	r.how = "baton nats run, baton frontend, baton prefill and baton decode"
	return r, r.answers(ctx)
}
