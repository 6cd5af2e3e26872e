package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// Serve runs a service until the context is over, and then lets it end in order:
//
//  1. readiness turns false, and no operation is taken any more;
//  2. tasks that run are waited for, and load balancers have the time of
//     server.shutdownGrace to send nothing more;
//  3. event streams end with an event, requests under way are answered by what
//     is still whole, and others with 503;
//  4. what is known of the accounts is kept for the next start, where that is set;
//  5. the watches and the database end, and the port is let go.
func Serve(ctx context.Context, c *config.Config, o Options) error {
	listener := o.Listener
	if listener == nil {
		var err error
		if listener, err = listen(ctx, c.Server.Listen(), c.Server.ReusePort); err != nil {
			return fmt.Errorf("listen on server.address and server.port: %w", err)
		}
	}
	// From the first moment of the stop, a successor has the new connections.
	defer context.AfterFunc(ctx, func() { handOver(listener) })()
	door := newFront()
	server := &http.Server{
		Handler:           door,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	secure, err := newTLS(c.Server.SSL, o.Log)
	if err != nil {
		return err
	}
	if secure != nil {
		server.TLSConfig = secure
	}
	served := make(chan error, 1)
	go func() {
		if secure != nil {
			served <- server.ServeTLS(listener, "", "")
			return
		}
		served <- server.Serve(listener)
	}()
	defer func() { _ = server.Close() }() // after the last answer
	if c.Server.HealthPort != 0 {
		health, err := listen(ctx, net.JoinHostPort(c.Server.Address, strconv.Itoa(c.Server.HealthPort)), c.Server.ReusePort)
		if err != nil {
			return fmt.Errorf("listen on server.address and server.healthPort: %w", err)
		}
		probing := probes(door)
		go func() { _ = probing.Serve(health) }() // it ends with Close
		defer func() { _ = probing.Close() }()
	}
	s, err := New(ctx, c, o)
	if err != nil {
		return err
	}
	defer s.Close()
	door.open(s.Handler)
	s.log.Info("serving", "address", listener.Addr().String(), "page", s.pageAddress(listener.Addr()), "version", o.Version)
	if o.Started != nil {
		o.Started(s)
	}
	return s.run(ctx, server, door, served)
}

// run runs the parts until the context is over and they have ended in order, or
// one of them fails.
func (s *Service) run(ctx context.Context, server *http.Server, door *front, served <-chan error) error {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, working := errgroup.WithContext(working)
	taking, drain := context.WithCancel(working)
	defer drain()
	drained := make(chan struct{})
	group.Go(func() error {
		defer close(drained)
		select { // tasks that are gone on with need the accounts
		case <-s.Fleet.Watching():
		case <-taking.Done():
		}
		return s.Tasks.Run(taking)
	})
	if s.follows {
		group.Go(func() error { return s.ledger.Run(working) })
	}
	group.Go(func() error { return s.kubeconfig.Run(working) })
	group.Go(func() error { return s.followSettings(working) })
	group.Go(func() error { return s.providers.Run(working) })
	if s.definitions != nil {
		group.Go(func() error { return s.definitions.Run(working) })
	}
	if s.tagged != nil {
		group.Go(func() error { return s.tagged.Run(working) })
	}
	group.Go(func() error { return s.Fleet.Run(working) })
	if s.snapshots != nil {
		group.Go(func() error { return s.snapshots.run(working) })
		group.Go(func() error {
			eager(working, s.Fleet.Recalled)
			return nil
		})
	}
	group.Go(func() error { return s.cleanUp(working) })
	group.Go(func() error { return s.figures.Run(working) })
	group.Go(func() error { return s.admin(working) })
	group.Go(func() error {
		select {
		case err := <-served:
			return fmt.Errorf("serve: %w", err)
		case <-working.Done():
			return nil
		}
	})
	select {
	case <-ctx.Done():
	case <-working.Done(): // a part has failed
	}
	close(s.closing)
	door.close()
	drain()
	s.log.Info("stopping: no operation is taken any more", "grace", s.settings.Server.ShutdownGrace)
	if ctx.Err() != nil {
		select {
		case <-time.After(s.settings.Server.ShutdownGrace):
		case <-working.Done():
		}
	}
	<-drained
	close(s.ending)
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.settings.Server.ShutdownTimeout)
	defer cancel()
	if left := door.refuse(bounded); left > 0 {
		s.log.Warn("requests under way took longer than server.shutdownTimeout and are broken off", "requests", left)
	}
	if s.snapshots != nil {
		s.snapshots.last(bounded)
	}
	stop()
	err := group.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
	defer cancel()
	if shut := server.Shutdown(last); shut != nil && !errors.Is(shut, context.DeadlineExceeded) && err == nil {
		err = shut
	}
	lastTraces, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
	defer cancel()
	if traced := s.tracing.Close(lastTraces); traced != nil {
		s.log.Warn("the last traces could not be sent", "error", traced)
	}
	if err == nil {
		s.log.Info("stopped")
	}
	return err
}

// lastAnswers is how long connections may take that are being told to come
// again; a caller whose connection breaks does not. It ends with the last of
// them.
const lastAnswers = 3 * time.Second

// pageAddress is what to open on this machine, "" while the page is switched
// off.
func (s *Service) pageAddress(at net.Addr) string {
	tcp, ok := at.(*net.TCPAddr)
	if !ok || !s.settings.Page.Enabled {
		return ""
	}
	host, scheme := "localhost", "http"
	if !tcp.IP.IsUnspecified() {
		host = tcp.IP.String()
	}
	if s.settings.Server.SSL.Enabled {
		scheme = "https"
	}
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(tcp.Port)) + "/"
}
