package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/baton-llm/baton/internal/bus"
)

const (
	aboutNATS        = "NATS"
	aboutPermissions = "NATS permissions"
	aboutStreams     = "queues"

	// leastMajor and leastMinor are the first NATS server with pinned consumers, by which one dispatcher gets a
	// model's jobs.
	leastMajor, leastMinor = 2, 11
	// slowTrip is a round trip that clients notice: each token crosses NATS, and each request several times.
	slowTrip = 10 * time.Millisecond
	// muchSkew is a difference of clocks that people who compare logs notice.
	muchSkew = 2 * time.Second
	// smallPayload is less than a job with its prefix hashes and an inline body may have.
	smallPayload = 256 << 10
	// nearlyFull is the part of a queue's limit from which it counts as such.
	nearlyFull = 0.8
)

func server(ctx context.Context, r *Report, b *bus.Bus) {
	s, err := b.Server(ctx)
	if err != nil {
		r.problem(aboutNATS, err.Error(), "look at the server's log")
		return
	}
	where := s.URL
	if where == "" {
		where = "in this process"
	}
	if s.Cluster != "" {
		where += ", of cluster " + s.Cluster
	}
	r.ok(aboutNATS, fmt.Sprintf("server %s %s at %s answers in %s; messages of up to %s", s.Name, s.Version, where, short(s.RoundTrip), bytes(int64(s.MaxPayload))))
	var major, minor int
	if _, err := fmt.Sscanf(s.Version, "%d.%d", &major, &minor); err == nil && (major < leastMajor || major == leastMajor && minor < leastMinor) {
		r.problem(aboutNATS, fmt.Sprintf("version %s has no pinned consumers, by which one dispatcher gets a model's jobs", s.Version), fmt.Sprintf("run nats-server %d.%d or later", leastMajor, leastMinor))
	}
	if s.RoundTrip > slowTrip {
		r.warn(aboutNATS, fmt.Sprintf("a round trip takes %s, and each token makes one", short(s.RoundTrip)), "run the server near the frontends and workers")
	}
	if s.MaxPayload < smallPayload {
		r.warn(aboutNATS, fmt.Sprintf("messages have at most %s, so most bodies go to the bucket", bytes(int64(s.MaxPayload))), "max_payload: 1MB in the server's configuration")
	}
	if !s.TLS && !loopback(s.URL) {
		r.warn(aboutNATS, "prompts, answers and passwords cross the network in the clear", "give the server a tls block and set nats.tls_ca: docs/nats.md")
	}
	if !s.Users && !loopback(s.URL) {
		r.warn(aboutNATS, "everyone who reaches the server may run and read requests", "give it users: baton nats permissions")
	}
}

// loopback tells whether only this machine reaches a server; an empty URL is in this process.
func loopback(at string) bool {
	u, err := url.Parse(at)
	if at == "" || err != nil {
		return err == nil
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func streams(ctx context.Context, r *Report, s *Subject, b *bus.Bus) {
	js, err := b.JetStream(ctx)
	switch {
	case errors.Is(err, bus.ErrNoJetStream):
		r.problem(aboutNATS, "the server has no JetStream, where the queues are", "start it with nats-server -js, and let the account use it: jetstream: enabled")
		return
	case err != nil:
		r.problem(aboutNATS, err.Error(), "give the user what baton nats permissions prints")
		return
	}
	space, kind := js.Memory, "memory"
	if s.NATS.Storage == bus.File {
		space, kind = js.File, "files"
	}
	most := "no bound of the account's own"
	if space.Most >= 0 {
		most = "at most " + bytes(space.Most)
	}
	r.ok(aboutNATS, fmt.Sprintf("JetStream in %s: %s used, %s reserved, %s", kind, bytes(int64(space.Used)), bytes(int64(space.Reserved)), most))
	if skew, err := b.Skew(ctx); err == nil && skew.Abs() >= muchSkew {
		r.warn(aboutNATS, fmt.Sprintf("the server's clock is %s from this machine's; deadlines and leases are corrected for it, times in logs and traces are not", short(skew.Abs())), "run an NTP client on every machine")
	}
	all, err := b.Standings(ctx)
	if err != nil {
		r.problem(aboutStreams, err.Error(), "give the user what baton nats permissions prints")
	}
	var missing int64
	for i := range all {
		if stream(r, &all[i]); all[i].Missing {
			missing += all[i].MaxBytes
		}
	}
	if left := space.Most - int64(space.Reserved); space.Most >= 0 && missing > left {
		r.problem(aboutStreams, fmt.Sprintf("the queues to be made reserve %s, and the account has %s left in %s", bytes(missing), bytes(max(0, left)), kind),
			"raise the account's limit, or lower nats.prefill_queue.max_bytes, nats.decode_queue.max_bytes and nats.body_max_bytes: docs/nats.md, Size")
	}
}

// stream adds what there is to say of one stream.
func stream(r *Report, s *bus.Standing) {
	if s.Missing {
		r.warn(aboutStreams, fmt.Sprintf("%s is not there yet", s.Stream), "start a frontend: it makes the queues by its settings")
		return
	}
	r.ok(aboutStreams, fmt.Sprintf("%s: %d messages, %s of %s, in %s, replicas %d", s.Stream, s.Messages, bytes(int64(s.Bytes)), bytes(s.MaxBytes), s.Storage, s.Replicas))
	for _, d := range s.Differs {
		if strings.HasPrefix(d, "the stream ") {
			r.problem(aboutStreams, s.Stream+": "+d, "nats stream rm "+s.Stream)
			continue
		}
		r.warn(aboutStreams, s.Stream+": "+d, "give doctor the frontends' settings (--config), or start the frontends anew with these: they own the streams")
	}
	if len(s.Late) > 0 {
		r.warn(aboutStreams, fmt.Sprintf("%s: the replicas on %s are away or behind", s.Stream, strings.Join(s.Late, ", ")), "look at those servers: if one more goes, requests wait")
	}
	if full := max(part(int64(s.Messages), s.MaxMessages), part(int64(s.Bytes), s.MaxBytes)); full >= nearlyFull {
		r.warn(aboutStreams, fmt.Sprintf("%s is full to %.0f %%, and then requests are refused with 429", s.Stream, 100*full), "add workers, or raise "+s.Setting+".max_msgs and max_bytes; baton queue shows what waits")
	}
}

// part is how much of a limit is used; without a limit nothing is.
func part(used, most int64) float64 {
	if most <= 0 {
		return 0
	}
	return float64(used) / float64(most)
}

func permissions(ctx context.Context, r *Report, s *Subject, b *bus.Bus) {
	denied, err := b.Denied(ctx, s.Role, s.NATS.Name)
	if err != nil {
		r.problem(aboutPermissions, err.Error(), "")
		return
	}
	if len(denied) == 0 {
		r.ok(aboutPermissions, fmt.Sprintf("this user may do what the role %s needs", s.Role))
		return
	}
	const shown = 6
	slices.SortStableFunc(denied, func(a, b string) int { return cmp.Compare(strings.Count(a, "$"), strings.Count(b, "$")) }) // those of JetStream last
	what := strings.Join(denied[:min(shown, len(denied))], ", ")
	if more := len(denied) - shown; more > 0 {
		what += fmt.Sprintf(" and %d more", more)
	}
	r.problem(aboutPermissions, fmt.Sprintf("this user may not, as the role %s must: %s", s.Role, what), fmt.Sprintf("give it what this prints: baton nats permissions %s", s.Role))
}

// bytes is a size for people.
func bytes(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 || v >= 100 || v == float64(int64(v)) {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}

// short is a duration for people.
func short(d time.Duration) string {
	if d < time.Millisecond {
		return fmt.Sprintf("%.2f ms", d.Seconds()*1000)
	}
	return d.Round(time.Millisecond).String()
}
