package pipenet_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/baton-llm/baton/internal/pipenet"
)

func TestBytesGoBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New()
		ln, err := n.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			if _, err := io.CopyN(conn, conn, 5); err != nil {
				t.Error(err)
			}
		}()
		conn, err := n.Dial(t.Context(), "tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); err != nil || string(got) != "hello" {
			t.Errorf("read %q, %v", got, err)
		}
	})
}

func TestDialFailsWhereNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := pipenet.New()
		if _, err := n.Dial(t.Context(), "tcp", "127.0.0.1:1"); !errors.Is(err, pipenet.ErrRefused) {
			t.Errorf("Dial = %v, want ErrRefused", err)
		}
		ln, err := n.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Dial(ctx, "tcp", ln.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Dial of one who does not accept = %v", err)
		}
		ended := make(chan error)
		go func() {
			_, err := ln.Accept()
			ended <- err
		}()
		_ = ln.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("Accept after Close = %v", err)
		}
		if _, err := n.Dial(t.Context(), "tcp", ln.Addr().String()); !errors.Is(err, pipenet.ErrRefused) {
			t.Errorf("Dial after Close = %v", err)
		}
	})
}

func TestAddresses(t *testing.T) {
	n := pipenet.New()
	first, err := n.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	second, err := n.Listen("127.0.0.1:0")
	if err != nil || second.Addr().String() == first.Addr().String() {
		t.Errorf("second listener: %v, %v", second, err)
	}
	if _, err := n.Listen(first.Addr().String()); err == nil {
		t.Error("Listen took an address in use")
	}
	if _, err := n.Listen("nowhere"); err == nil {
		t.Error("Listen took an address without port")
	}
	_ = first.Close()
	if _, err := n.Listen(first.Addr().String()); err != nil {
		t.Errorf("Listen on a closed listener's address = %v", err)
	}
}
