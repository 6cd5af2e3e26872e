package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/telemetry"
)

// admin serves pprof and the like on their own port, if that is open.
func (s *Service) admin(ctx context.Context) error {
	if s.settings.Admin.Port == 0 {
		return nil
	}
	listener, err := listen(ctx, s.settings.Admin.Listen(), s.settings.Server.ReusePort)
	if err != nil {
		return fmt.Errorf("listen on admin.address and admin.port: %w", err)
	}
	server := &http.Server{Handler: telemetry.Admin(s.metrics.Handler()), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // what is measured there ends with us
	s.log.Info("serving pprof, expvar and metrics", "address", listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
