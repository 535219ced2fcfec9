package socket_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/baton-llm/baton/internal/socket"
)

// pair is a connection over loopback.
func pair(t *testing.T) (here, there *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() //nolint:errcheck // The connections stay.
	a, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a.(*net.TCPConn), b.(*net.TCPConn)
}

func TestReadTellsWhatIsThere(t *testing.T) {
	if !socket.Works {
		t.Skip("sockets are not read directly on this system")
	}
	here, there := pair(t)
	fd, err := here.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var (
		buf [8]byte
		n   int
		got error
	)
	look := func(fd uintptr) bool { n, got = socket.Read(fd, buf[:]); return true }
	wait := func(fd uintptr) bool { look(fd); return !errors.Is(got, socket.ErrNothing) }
	if err := fd.Read(look); err != nil || !errors.Is(got, socket.ErrNothing) {
		t.Errorf("an empty socket: %v, %v, want ErrNothing", err, got)
	}
	if _, err := there.Write([]byte("token")); err != nil {
		t.Fatal(err)
	}
	if err := fd.Read(wait); err != nil || got != nil || string(buf[:n]) != "token" {
		t.Errorf("read %q, %v, %v, want what was sent", buf[:n], err, got)
	}
	if err := there.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fd.Read(wait); err != nil || !errors.Is(got, io.EOF) {
		t.Errorf("a closed socket: %v, %v, want EOF", err, got)
	}
}

// What the socket does not take at once is written when there is room, in its order.
func TestWriterWritesAll(t *testing.T) {
	here, there := pair(t)
	var w socket.Writer
	w.Of(here)
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	got := make(chan []byte, 1)
	begin := make(chan struct{})
	go func() {
		<-begin
		all, err := io.ReadAll(there)
		if err != nil {
			t.Error(err)
		}
		got <- all
	}()
	sent := 0
	if w.CanTry() {
		for { // until the socket is full
			n, err := w.Try(want[sent:])
			if err != nil {
				t.Fatal(err)
			}
			if sent += n; n == 0 {
				break
			}
		}
	}
	close(begin)
	for _, size := range []int{1, 100, 32 << 10, len(want)} {
		part := want[sent:min(len(want), sent+size)]
		n, err := w.Write(part)
		if err != nil || n != len(part) {
			t.Fatalf("wrote %d of %d bytes, %v", n, len(part), err)
		}
		sent += n
	}
	if err := here.Close(); err != nil {
		t.Fatal(err)
	}
	if all := <-got; !bytes.Equal(all, want) {
		t.Errorf("%d bytes came, not the %d that were sent", len(all), len(want))
	}
}

// A pipe has no descriptor, and is written as any connection; a closed socket says so.
func TestWriterOfOtherConnections(t *testing.T) {
	a, b := net.Pipe()
	var w socket.Writer
	w.Of(a)
	if w.CanTry() {
		t.Error("a pipe can be tried")
	}
	go func() { _, _ = w.Write([]byte("token")) }()
	buf := make([]byte, 5)
	if _, err := io.ReadFull(b, buf); err != nil || string(buf) != "token" {
		t.Errorf("read %q, %v", buf, err)
	}

	here, _ := pair(t)
	if err := here.Close(); err != nil {
		t.Fatal(err)
	}
	var closed socket.Writer
	closed.Of(here)
	if _, err := closed.Write([]byte("x")); err == nil || errors.Is(err, syscall.EAGAIN) {
		t.Errorf("a write to a closed connection: %v", err)
	}
}
