// Package kubetest hands localkube's control planes to tests.
package kubetest

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// Pool hands control planes to the tests of one package and stops them all
// when the package's tests are over, also after a panic or an interrupt. The
// children end with the test binary in any case.
type Pool struct {
	mu       sync.Mutex
	shared   []*localkube.Cluster
	private  map[*localkube.Cluster]struct{}
	building sync.Mutex
}

// interruptedExit is what a shell shows for a command that Ctrl-C ended.
const interruptedExit = 130

// Main runs a package's tests with the pool and returns the exit code:
//
//	var pool kubetest.Pool
//	func TestMain(m *testing.M) { os.Exit(pool.Main(m)) }
func (p *Pool) Main(m *testing.M) int {
	defer p.stopAll()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		p.stopAll()
		os.Exit(interruptedExit)
	}()
	return m.Run()
}

// Shared returns n control planes that all tests of the package share; tests
// keep apart by namespace.
func (p *Pool) Shared(t testing.TB, n int) []*localkube.Cluster {
	t.Helper()
	p.building.Lock()
	defer p.building.Unlock()
	for len(p.shared) < n {
		c := start(t, localkube.Options{Name: "prod-" + string(rune('1'+len(p.shared)))})
		p.mu.Lock()
		p.shared = append(p.shared, c)
		p.mu.Unlock()
	}
	return p.shared[:n:n]
}

// Private returns a control plane for one test to break; it is stopped when
// the test ends.
func (p *Pool) Private(t testing.TB, o localkube.Options) *localkube.Cluster {
	t.Helper()
	c := start(t, o)
	p.mu.Lock()
	if p.private == nil {
		p.private = map[*localkube.Cluster]struct{}{}
	}
	p.private[c] = struct{}{}
	p.mu.Unlock()
	t.Cleanup(func() {
		p.mu.Lock()
		delete(p.private, c)
		p.mu.Unlock()
		c.Stop()
	})
	return c
}

func start(t testing.TB, o localkube.Options) *localkube.Cluster {
	t.Helper()
	o.Log = testLog{t}
	c, err := localkube.Start(context.Background(), o)
	if err != nil {
		t.Fatalf("start a control plane: %v", err)
	}
	return c
}

func (p *Pool) stopAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.shared {
		c.Stop()
	}
	for c := range p.private {
		c.Stop()
	}
	p.shared, p.private = nil, nil
}

// testLog passes the progress of a build on at once: a test's own log is
// shown only when it ends, which may be a quarter of an hour later.
type testLog struct{ testing.TB }

func (testLog) Write(b []byte) (int, error) { return os.Stderr.Write(b) }
