package service

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// TestListen_ASuccessorHasWhatComesAfterTheEndBegan opens one port three times,
// one process after another, and dials without a pause: what dials while a port is
// handed over is taken by the successor, and no connection breaks in the
// predecessor's queue.
func TestListen_ASuccessorHasWhatComesAfterTheEndBegan(t *testing.T) {
	first, err := listen(t.Context(), "127.0.0.1:0", true)
	if err != nil {
		t.Fatal(err)
	}
	address := first.Addr().String()
	current := first
	for range 3 {
		next, err := listen(t.Context(), address, true)
		if err != nil {
			t.Fatal(err)
		}
		handOver(current)
		const dials = 50
		taken := make(chan error, dials)
		for range dials { // none waits in the predecessor's queue
			go func() { taken <- dial(t.Context(), address) }()
		}
		for range dials {
			if err := next.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			conn, err := next.Accept()
			if err != nil {
				t.Fatal(err, ": the predecessor has what the successor should have")
			}
			_ = conn.Close()
		}
		var broken []error
		for range dials {
			broken = append(broken, <-taken)
		}
		if err := errors.Join(broken...); err != nil {
			t.Fatal(err)
		}
		_ = current.Close()
		current = next
	}
	_ = current.Close()
}

// TestListen_WithoutASuccessorGoesOn dials a port that has been handed over to
// nobody.
func TestListen_WithoutASuccessorGoesOn(t *testing.T) {
	alone, err := listen(t.Context(), "127.0.0.1:0", true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alone.Close() }()
	handOver(alone)
	var dialling sync.WaitGroup
	dialling.Go(func() {
		if err := dial(t.Context(), alone.Addr().String()); err != nil {
			t.Error(err)
		}
	})
	conn, err := alone.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	dialling.Wait()
}

// dial opens a connection and closes it.
func dial(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
