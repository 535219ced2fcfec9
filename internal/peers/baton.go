package main

import (
	"context"
	"strings"
)

// common is how all of baton's processes are set up here: every request is split as the other routers split it, and one
// engine may have all requests of a cell at once, as it may have behind the others, which bound nothing: its batch is as
// large as its memory.
var common = []string{
	"--log.level=error", "--schedule.mode=split", "--schedule.short_prompt=0", "--decode.slots=8192",
	"--schedule.prefill_window=8388608", "--prefill.batch_tokens=8388608", "--prefill.max_handles=8192",
}

// batonUp is baton as one process.
func batonUp(ctx context.Context, s *site, binary string) (*router, error) {
	r := &router{name: "baton", split: true}
	var err error
	if r.addr, err = freeAddr(); err != nil {
		return r, err
	}
	if r.admin, err = freeAddr(); err != nil {
		return r, err
	}
	command := append([]string{binary, "up", "--listen=" + r.addr, "--api.admin_listen=" + r.admin, "--prefill-urls=http://" + s.prefill, "--decode-urls=http://" + s.decode}, common...)
	r.how = "baton " + strings.Join(command[1:], " ")
	if _, err := r.start(s, "up", nil, command...); err != nil {
		return r, err
	}
	return r, r.answers(ctx)
}

// batonApart is baton as one process for each part.
func batonApart(ctx context.Context, s *site, binary string) (*router, error) {
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
	for _, part := range [][]string{
		{"frontend", "--listen=" + r.addr},
		{"prefill", "--engine=http://" + s.prefill},
		{"decode", "--engine=http://" + s.decode},
	} {
		command := append([]string{binary, part[0], "--nats=nats://" + nats, part[1]}, common...)
		if _, err := r.start(s, part[0], nil, command...); err != nil {
			return r, err
		}
	}
	r.how = "baton nats run, baton frontend, baton prefill and baton decode"
	return r, r.answers(ctx)
}
