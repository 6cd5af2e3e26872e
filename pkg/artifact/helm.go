package artifact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Masterminds/semver/v3"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// The types of Helm repositories.
const (
	helmChart = "helm/chart"
	helmIndex = "helm/index"
)

// helm is a repository of charts (artifacts.md 5.10).
type helm struct {
	web     *web
	account config.ArtifactAccount
	cache   *cache
}

// index opens the repository's index. It is read whole, so that the next one who
// needs it only asks whether it has changed.
func (h helm) index(ctx context.Context) (Content, http.Header, error) {
	show, err := shows(h.account, nil)
	if err != nil {
		return Content{}, nil, err
	}
	address := strings.TrimSuffix(h.account.Repository, "/") + "/index.yaml"
	got, err := h.cache.get(ctx, wanted{key: h.key(address), bound: mostIndex, whole: true, ask: h.web.fresh(address, show)})
	return got, show, err
}

func (h helm) key(address string) string { return "helm\x00" + h.account.Name + "\x00" + address }

func (h helm) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	got, show, err := h.index(ctx)
	if err != nil {
		return Content{}, err
	}
	if a.Type == helmIndex {
		return got, nil
	}
	entries, err := h.entries(got, a.Name)
	if err != nil {
		return Content{}, err
	}
	entry, err := chosen(entries, a.Version)
	if err != nil {
		return Content{}, err
	}
	address, err := h.address(entry)
	if err != nil {
		return Content{}, err
	}
	if !h.web.ownAddress(address) { // a chart may be kept elsewhere, where nobody knows the account
		show = http.Header{}
	}
	return h.cache.get(ctx, wanted{key: h.key(address), ask: h.web.fresh(address, show)})
}

// entries are the versions of one chart, in the order of the index.
func (h helm) entries(index Content, name string) ([]chartEntry, error) {
	defer func() { _ = index.Close() }()
	var found []chartEntry
	err := readIndex(index, func(chart string, versions func() ([]chartEntry, error)) (bool, error) {
		if chart != name {
			return true, nil
		}
		var err error
		found, err = versions()
		return false, err
	})
	if err != nil {
		return nil, fmt.Errorf("read the index of %s: %w", h.account.Name, err)
	}
	if len(found) == 0 {
		return nil, refused("Could not find correct entry with artifact name %s", name)
	}
	return found, nil
}

// chosen is the entry of exactly this version; the greatest stable one where none
// is named.
func chosen(entries []chartEntry, version string) (chartEntry, error) {
	if strings.TrimSpace(version) == "" {
		return greatest(entries), nil
	}
	for _, e := range entries {
		if e.Version == version {
			return e, nil
		}
	}
	return chartEntry{}, refused("Could not find correct entry with artifact version %s", version)
}

// greatest goes by semantic versions, a pre-release only where there is nothing
// else; what is no such version comes last.
func greatest(entries []chartEntry) chartEntry {
	best, of := entries[0], (*semver.Version)(nil)
	for _, e := range entries {
		v, err := semver.NewVersion(e.Version)
		switch {
		case err != nil:
		case of == nil, (of.Prerelease() == "") == (v.Prerelease() == "") && v.GreaterThan(of), of.Prerelease() != "" && v.Prerelease() == "":
			best, of = e, v
		}
	}
	return best
}

// address is the first of an entry's that is one, resolved against the
// repository.
func (h helm) address(e chartEntry) (string, error) {
	base, err := url.Parse(strings.TrimSuffix(h.account.Repository, "/") + "/")
	if err != nil {
		return "", errors.New("the account's repository is no address")
	}
	for _, text := range e.URLs {
		if u, err := base.Parse(text); err == nil && text != "" {
			return u.String(), nil
		}
	}
	return "", fmt.Errorf("the index has no address for version %s", e.Version)
}

// names are the charts, in the order of the index.
func (h helm) names(ctx context.Context) ([]string, error) {
	got, _, err := h.index(ctx)
	if err != nil {
		return nil, missing("Failed to download chart names for '%s' account: %s", h.account.Name, err)
	}
	defer func() { _ = got.Close() }()
	out := []string{}
	err = readIndex(got, func(chart string, _ func() ([]chartEntry, error)) (bool, error) {
		out = append(out, chart)
		return true, nil
	})
	if err != nil {
		return nil, missing("Failed to download chart names for '%s' account: %s", h.account.Name, err)
	}
	return out, nil
}

// versions are those of a chart, in the order of the index, which is newest first.
func (h helm) versions(ctx context.Context, name string) ([]string, error) {
	got, _, err := h.index(ctx)
	if err != nil {
		return nil, missing("Failed to download chart versions for '%s' account: %s", h.account.Name, err)
	}
	entries, err := h.entries(got, name)
	if err != nil && !errors.Is(err, ErrRefused) {
		return nil, missing("Failed to download chart versions for '%s' account: %s", h.account.Name, err)
	}
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(entries))
	for _, e := range entries {
		out = append(out, e.Version)
	}
	return out, nil
}
