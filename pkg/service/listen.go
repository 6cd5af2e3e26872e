package service

import (
	"context"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// listen opens the port of the API. With server.reusePort a successor may open
// it, too, before this process has let it go.
func listen(ctx context.Context, c config.Server) (net.Listener, error) {
	lc := net.ListenConfig{}
	if c.ReusePort {
		lc.Control = func(_, _ string, conn syscall.RawConn) error {
			var failed error
			err := conn.Control(func(fd uintptr) {
				failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
			if err != nil {
				return err
			}
			return failed
		}
	}
	l, err := lc.Listen(ctx, "tcp", c.Listen())
	if err != nil {
		return nil, fmt.Errorf("listen on server.address and server.port: %w", err)
	}
	return l, nil
}
