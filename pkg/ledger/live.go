package ledger

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/flight"
)

// Cluster is what is read of a cluster; cluster.Client is one.
type Cluster interface {
	Catalog(ctx context.Context) (*cluster.Catalog, error)
	Rediscover(ctx context.Context) (*cluster.Catalog, error)
	Get(ctx context.Context, r cluster.Resource, namespace, name string) (*unstructured.Unstructured, error)
}

// ErrNoAccount says that there is no such account.
var ErrNoAccount = errors.New("there is no such account")

// Live reads single objects where memory proves nothing, and brings them to all
// readers, so that none of them sees anything older afterwards. All who ask for
// an object before a reading begins share it.
type Live struct {
	index Index
	of    func(accountName string) (Cluster, error)
	reads flight.Group[object, *unstructured.Unstructured]
}

type object struct {
	account, namespace, name string
	resource                 cluster.Resource
}

// NewLive makes one of the clients that of gives.
func NewLive(index Index, of func(accountName string) (Cluster, error)) *Live {
	return &Live{index: index, of: of}
}

// Get reads an object of a kind in any spelling. Nobody may change the answer.
func (l *Live) Get(ctx context.Context, accountName, kind, namespace, name string) (*unstructured.Unstructured, error) {
	client, err := l.of(accountName)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAccount, err)
	}
	resource, err := ResourceOf(ctx, client, kind)
	if err != nil {
		return nil, err
	}
	return l.Object(ctx, accountName, resource, namespace, name)
}

// Object reads an object of a kind as it is served.
func (l *Live) Object(ctx context.Context, accountName string, resource cluster.Resource, namespace, name string) (*unstructured.Unstructured, error) {
	client, err := l.of(accountName)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAccount, err)
	}
	return l.reads.Do(ctx, object{accountName, namespace, name, resource}, func() (*unstructured.Unstructured, error) {
		text := resource.KindText()
		before := l.index.UID(accountName, text, namespace, name)
		o, err := client.Get(context.WithoutCancel(ctx), resource, namespace, name) // within the client's deadline
		switch {
		case cluster.Is(err, cluster.NotFound):
			l.index.Gone(accountName, text, namespace, name, before)
		case err == nil:
			l.index.Written(accountName, text, o)
		}
		return o, err
	})
}

// ResourceOf finds a kind in any spelling. One that is not known is looked for
// in what the cluster serves now: the error has the reason NoKind when it is not
// there either, and Unavailable when that cannot be told.
func ResourceOf(ctx context.Context, client Cluster, kind string) (cluster.Resource, error) {
	catalog, err := client.Catalog(ctx)
	if err == nil {
		if found, ok := catalog.Find(kind); ok {
			return found, nil
		}
		catalog, err = client.Rediscover(ctx)
	}
	switch {
	case cluster.Is(err, cluster.NotFound), cluster.Is(err, cluster.NoKind): // it says nothing about the kind
		return cluster.Resource{}, &cluster.Error{Reason: cluster.Unavailable, Err: err}
	case err != nil:
		return cluster.Resource{}, err
	}
	if found, ok := catalog.Find(kind); ok {
		return found, nil
	}
	if catalog.Incomplete() {
		return cluster.Resource{}, &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("the cluster does not say whether it serves the kind %s: one of its APIs does not answer", kind)}
	}
	return cluster.Resource{}, &cluster.Error{Reason: cluster.NoKind, Err: fmt.Errorf("the cluster serves no kind %s", kind)}
}
