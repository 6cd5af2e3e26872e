package service

import (
	"context"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// listen opens a port. With server.reusePort a successor may open
// it, too, before this process has let it go.
func listen(ctx context.Context, address string, reuse bool) (net.Listener, error) {
	lc := net.ListenConfig{}
	if reuse {
		lc.SetMultipathTCP(false) // its sockets cannot be handed over
		lc.Control = func(_, _ string, conn syscall.RawConn) error {
			return withSocket(conn, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		}
	}
	listener, err := lc.Listen(ctx, "tcp", address)
	if err == nil && reuse {
		share(listener)
	}
	return listener, err
}

// withSocket does something with the socket of a connection or a listener.
func withSocket(conn syscall.RawConn, do func(fd int) error) error {
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}
