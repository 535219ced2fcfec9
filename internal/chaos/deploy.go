package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strconv"
	"time"
)

const (
	// lease is how long an engine keeps a KV cache that nobody reads: short, so that what is stranded shows soon.
	lease = 10 * time.Second
	// tries is the deployment's router.attempts: a part breaks each second or so, and one request may meet more of them
	// than most ever will.
	tries = 10
	// storeBody is the size of a body that travels through the object store.
	storeBody = 64 << 10
)

// names are prefill-1, prefill-2 and so on.
func names(what string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = what + "-" + strconv.Itoa(i+1)
	}
	return out
}

func engineOf(worker string) string { return "engine-" + worker }

// deploy makes the parts in the order in which they start.
func (r *run) deploy() error {
	c := &r.cfg
	ports, err := freePorts(1 + c.Frontends + 2*(c.Prefill+c.Decode))
	if err != nil {
		return err
	}
	port := func() string {
		address := "127.0.0.1:" + strconv.Itoa(ports[0])
		ports = ports[1:]
		return address
	}
	at := port()
	url := "--nats.url=nats://" + at
	err = r.add(&part{name: "nats", args: []string{"nats", "--nats_server.listen=" + at, "--nats_server.store_dir=" + filepath.Join(c.Dir, "jetstream")}})
	shared := []string{url, "--nats.storage=" + c.Storage, "--log.level=debug"}
	pace := 1.0
	if c.Scenario == DecodeKill {
		pace = slowly
	}
	for role, n := range map[string]int{"prefill": c.Prefill, "decode": c.Decode} {
		for i, name := range names(role, n) {
			at := port()
			err = errors.Join(err, r.add(&part{
				name: engineOf(name), url: "http://" + at, probe: "/health",
				args: []string{
					"engine", "--listen=" + at, "--role=" + role, "--model=" + model, "--sim.lease=" + lease.String(),
					fmt.Sprintf("--sim.time_scale=%g", pace), "--log.level=debug",
				},
			}))
			own := port()
			err = errors.Join(err, r.add(&part{
				name: name, url: "http://" + own, probe: "/healthz", late: c.Scenario == DecodeKill && role == "decode" && i > 0,
				args: append([]string{
					role, "--engine=http://" + at, "--worker.metrics=" + own, "--prefill.lease=" + lease.String(),
					"--prefill.drain_timeout=30s", "--decode.drain_timeout=30s",
				}, shared...),
			}))
		}
	}
	for _, name := range names("frontend", c.Frontends) {
		at := port()
		err = errors.Join(err, r.add(&part{
			name: name, url: "http://" + at, probe: "/readyz",
			args: append([]string{
				"frontend", "--listen=" + at, "--api.drain_delay=1s", "--api.drain_timeout=" + r.drainTime().String(), "--router.store_body=" + strconv.Itoa(storeBody),
				"--router.attempts=" + strconv.Itoa(tries),
			}, shared...),
		}))
	}
	return err
}

func (r *run) add(p *part) (err error) {
	p.run = r
	if p.log, err = openLog(r.cfg.Dir, p.name); err != nil {
		return err
	}
	r.parts = append(r.parts, p)
	r.byName[p.name] = p
	return nil
}

// freePorts finds ports that nothing listens on now, below those that systems give to connections: a part that comes
// back must find its own free.
func freePorts(n int) ([]int, error) {
	const first, last, tries = 18000, 32000, 1000
	var ports []int
	for range tries {
		port := first + rand.IntN(last-first) //nolint:gosec // Any will do.
		ln, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err != nil {
			continue
		}
		defer ln.Close() // after all are found, so that all differ
		if ports = append(ports, port); len(ports) == n {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("found %d of %d free ports between %d and %d", len(ports), n, first, last)
}
