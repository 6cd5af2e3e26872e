package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/registry"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Registries are those whose charts are fetched; registry.Accounts are.
type Registries interface {
	List() ([]*registry.Account, <-chan struct{})
}

// helmImage is a chart in a registry (artifacts.md 5.11).
const helmImage = "helm/image"

// ofRegistries are the accounts that every registry has, whether or not it names
// charts.
func (as *Accounts) ofRegistries() []*Account {
	if as.others.Registries == nil {
		return nil
	}
	registries, _ := as.others.Registries.List()
	out := make([]*Account, 0, len(registries))
	for _, r := range registries {
		out = append(out, &Account{Name: r.Name, Types: []string{helmImage}, Type: "artifacts-helm-oci", by: bounded{chart{r, as.cache}, as.most.Load()}})
	}
	return out
}

// chart fetches charts from a registry.
type chart struct {
	registry *registry.Account
	cache    *cache
}

func (c chart) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	name, version, err := c.wanted(a)
	if err != nil {
		return Content{}, err
	}
	layer, err := c.registry.Chart(ctx, name, version)
	if err != nil {
		return Content{}, c.problem(name, version, err)
	}
	return c.cache.get(ctx, wanted{key: helmImage + "\x00" + c.registry.Name + "\x00" + layer.SHA256, digest: layer.SHA256, ask: c.layer(layer)})
}

// layer fetches the content of a chart, and checks it on the way.
func (c chart) layer(l registry.Layer) func(context.Context, string) (fetched, error) {
	return func(ctx context.Context, _ string) (fetched, error) {
		ctx, cancel := context.WithCancelCause(ctx)
		body, err := l.Open(ctx)
		if err != nil {
			cancel(nil)
			return fetched{}, err
		}
		guarded, sum := newGuard(body, cancel), sha256.New()
		from := &checked{from: io.TeeReader(guarded, sum), verify: func() error {
			if hex.EncodeToString(sum.Sum(nil)) != l.SHA256 {
				return errOtherDigest
			}
			return nil
		}}
		return fetched{Content: Content{readCloser{from, guarded}, l.Size}}, nil
	}
}

func (c chart) problem(name, version string, err error) error {
	switch {
	case errors.Is(err, registry.ErrMissing):
		return missing("%s has no %s:%s", c.registry.Registry, name, version)
	case errors.Is(err, registry.ErrInvalid):
		return refused("name: %v", err)
	}
	return err
}

// wanted is the repository and tag, or digest, of an artifact. Those of lookups have
// the repository alone as their name, those of triggers and of Deck have the
// registry before it, and some have a reference only.
func (c chart) wanted(a spinnaker.Artifact) (name, version string, err error) {
	name, version = c.bare(a.Name), a.Version
	if name == "" || version == "" {
		name, version = parted(c.bare(a.Reference))
	}
	switch {
	case name == "" || version == "":
		return "", "", refused("name and version, or reference, must say the chart and its version")
	case !registry.Valid(version):
		return "", "", refused("version: %q is neither a tag nor a digest", version)
	}
	return name, version, nil
}

// bare takes the account's own registry off.
func (c chart) bare(name string) string {
	return strings.TrimPrefix(strings.TrimPrefix(name, "oci://"), c.registry.Registry+"/")
}

// parted is a reference in two: at the @ of a digest, or at the colon of a tag.
func parted(reference string) (name, version string) {
	if name, digest, ok := strings.Cut(reference, "@"); ok {
		if colon := strings.LastIndex(name, ":"); colon > strings.LastIndex(name, "/") {
			name = name[:colon] // the tag that the digest was under
		}
		return name, digest
	}
	colon := strings.LastIndex(reference, ":")
	if colon <= strings.LastIndex(reference, "/") {
		return reference, ""
	}
	return reference[:colon], reference[colon+1:]
}

// names are the charts that the settings name.
func (c chart) names(context.Context) ([]string, error) { //nolint:unparam // it is a namer
	return slices.DeleteFunc(append([]string{}, c.registry.HelmOciRepositories...), func(name string) bool {
		return slices.Contains(c.registry.Skip, name)
	}), nil
}

// versions are the tags of one, in the registry's order.
func (c chart) versions(ctx context.Context, name string) ([]string, error) {
	tags, err := c.registry.Tags(ctx, c.bare(name))
	switch {
	case errors.Is(err, registry.ErrMissing), errors.Is(err, registry.ErrInvalid):
		return nil, refused("Could not find correct entry with artifact name %s", name)
	case err != nil:
		return nil, fmt.Errorf("the versions of %s: %w", name, err)
	}
	return append([]string{}, tags...), nil
}
