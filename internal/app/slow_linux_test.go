package app

import (
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// BenchmarkSlowReaders has 5000 clients ask for long streams and read nothing of them, all in one process with
// everything else, and reports how much memory each is: what was sent ahead (relay.window at most) and its connection.
//
//	go test ./internal/app -run '^$' -bench SlowReaders -benchtime 1x
func BenchmarkSlowReaders(b *testing.B) {
	const readers, tokens = 5000, 1000
	for range b.N {
		cfg := quick()
		cfg.Sim.MaxSeqs, cfg.Decode.Slots, cfg.API.WriteTimeout = readers, readers, time.Hour
		base, d := startUp(b, cfg)
		before := liveHeap()
		for i := range readers {
			conn, err := dialSmall(strings.TrimPrefix(base, "http://"))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			body := chatBody(cfg.Sim.Model, fmt.Sprint("slow ", i), tokens)
			if _, err := fmt.Fprintf(conn, "POST /v1/chat/completions HTTP/1.1\r\nHost: baton\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
				b.Fatal(err)
			}
		}
		made := d.settle(b)
		b.ReportMetric(float64(liveHeap()-before)/readers, "B/reader")
		b.ReportMetric(float64(made)/readers, "tokens/reader")
		resp, err := http.Get(base + "/readyz")
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Errorf("beside the slow readers /readyz is %v, %v", resp, err)
		}
		_ = resp.Body.Close()
	}
}

// dialSmall opens a connection whose reading side holds little, so that what is not read stays at the server.
func dialSmall(addr string) (net.Conn, error) {
	d := net.Dialer{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) }); e != nil {
			return e
		}
		return err
	}}
	return d.Dial("tcp", addr)
}

// settle waits until the engines make no more tokens, and returns how many they have made.
func (d *deployment) settle(b *testing.B) (made int) {
	b.Helper()
	tick := time.NewTicker(3 * time.Second)
	defer tick.Stop()
	for was := -1; ; was = made {
		made = 0
		for _, s := range d.engines {
			made += s.engine.Stats().Generated
		}
		b.Logf("%d tokens", made)
		if made == was {
			return made
		}
		<-tick.C
	}
}

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
