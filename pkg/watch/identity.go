package watch

import (
	"context"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// sameCluster looks whether the cluster is the one that was listed. One that
// does not say who it is, or may not be asked, is taken for the same. The context is the
// caller's: the account asks once for all that doubt it meanwhile.
func (s *supervisor) sameCluster(ctx context.Context) error {
	s.mu.Lock()
	s.doubted = time.Now()
	s.mu.Unlock()
	_, err := s.identity.Do(ctx, struct{}{}, func() (struct{}, error) { return struct{}{}, s.identifyInTurn(s.life) })
	return err
}

// identifyInTurn asks a cluster who it is, unless it has been asked since somebody doubted
// it: all watches of an account break at once, and the first of them waits for its turn
// while the others come. An account of which something was held at the service's start has
// its first turn when all of that is served.
func (s *supervisor) identifyInTurn(ctx context.Context) error {
	s.mu.Lock()
	known, held := s.identified.After(s.doubted), s.recalled != nil
	s.mu.Unlock()
	if known {
		return nil
	}
	if held {
		s.recalls.await(ctx)
	}
	hold, err := s.shared.returning.acquire(ctx, anyone)
	if err != nil {
		return err
	}
	defer hold.release()
	hold.lend(func() { err = s.identify(cluster.OnWatchConnection(ctx)) })
	return err
}

// learn finds out once which cluster this is.
func (s *supervisor) learn(ctx context.Context) {
	s.mu.Lock()
	known := s.cluster != ""
	s.mu.Unlock()
	if !known {
		_ = s.identify(ctx) // whoever doubts it asks again
	}
}

var namespaceResource = cluster.Resource{Version: "v1", Plural: "namespaces", Kind: "Namespace"}

func (s *supervisor) identify(ctx context.Context) error {
	began := time.Now()
	system, err := s.client.Get(ctx, namespaceResource, "", "kube-system") // within the client's deadline
	if cluster.Is(err, cluster.Unavailable) {
		return err
	}
	s.mu.Lock()
	before := s.cluster
	s.mu.Unlock()
	uid := before
	if err == nil { // else the identity may not see it, or there is none
		uid = string(system.GetUID())
	}
	moved := before != "" && before != uid
	if moved {
		s.newEpoch(nil) // first: what is held is never said to be of the new one
	}
	s.mu.Lock()
	s.cluster, s.identified = uid, began
	s.mu.Unlock()
	if moved {
		return errRelist
	}
	return nil
}

// newEpoch begins anew: what was known of versions means nothing any more. One
// reflector may have begun already.
func (s *supervisor) newEpoch(begun *Reflector) {
	s.log.Warn("the cluster's history went backwards or is another one's: it was restored from a backup, or its address leads to another cluster; everything is listed anew")
	s.sink.NewEpoch()
	for _, w := range s.all() {
		if w.reflector != begun {
			w.reflector.forget()
		}
	}
}
