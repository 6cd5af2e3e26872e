package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Resource is one kind as a cluster serves it.
type Resource struct {
	Group, Version string
	// Plural is the name in paths; Kind is the object's.
	Plural, Kind string
	Namespaced   bool
	// Watchable is false for kinds that cannot be listed and followed, and for
	// all but the preferred version of one.
	Watchable bool
	// Gettable kinds can be read one by one.
	Gettable bool
	// Also are its other names, each between spaces: the singular and the short
	// ones that kubectl takes.
	Also string `json:",omitempty"`
}

// KindText is Spinnaker's spelling of the kind.
func (r Resource) KindText() string { return spinnaker.KindText(r.Group, r.Kind) }

// APIVersion is the objects' apiVersion.
func (r Resource) APIVersion() string {
	if r.Group == "" {
		return r.Version
	}
	return r.Group + "/" + r.Version
}

// Path is the resource's URL path, in one namespace or in all ("").
func (r Resource) Path(namespace string) string {
	prefix := "/api/"
	if r.Group != "" {
		prefix = "/apis/"
	}
	if namespace != "" {
		return prefix + r.APIVersion() + "/namespaces/" + namespace + "/" + r.Plural
	}
	return prefix + r.APIVersion() + "/" + r.Plural
}

// Discover asks the cluster which kinds it serves and keeps the answer. One
// request for the core group and one for all others (aggregated discovery,
// which every supported server has).
func (c *Client) Discover(ctx context.Context) (*Catalog, error) {
	ctx, cancel := context.WithTimeout(ctx, min(c.timeout, discoveryTimeout))
	defer cancel()
	before := c.catalog.Load()
	var all []Resource
	incomplete := false
	for _, path := range []string{"/api", "/apis"} {
		list, err := c.discover(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("discover %s: %w", path, err)
		}
		part, stale := list.resources(before)
		all, incomplete = append(all, part...), incomplete || stale
	}
	catalog := NewCatalog(all...)
	catalog.incomplete = incomplete
	c.catalog.Store(catalog)
	if c.disk != nil && (before == nil || !slices.Equal(before.resources, all)) {
		if err := c.disk.save(all); err != nil {
			return catalog, nil // the cache is only there to start sooner
		}
	}
	return catalog, nil
}

// Rediscover asks the cluster which kinds it serves now, together with all who
// want to know at the moment. It may wait a second, so that a kind that nobody
// knows cannot be used to keep a cluster busy.
func (c *Client) Rediscover(ctx context.Context) (*Catalog, error) {
	return c.discovery.Do(ctx, struct{}{}, func() (*Catalog, error) {
		return c.Discover(context.WithoutCancel(ctx)) // it has a deadline of its own
	})
}

// Catalog is what the cluster serves as far as known, from the cache of an
// earlier process if there is one; it asks the cluster when nothing is.
func (c *Client) Catalog(ctx context.Context) (*Catalog, error) {
	if known := c.Known(); known != nil {
		return known, nil
	}
	return c.Rediscover(ctx)
}

// Known is what is known without asking the cluster, nil for nothing.
func (c *Client) Known() *Catalog {
	if known := c.catalog.Load(); known != nil || c.disk == nil {
		return known
	}
	if resources := c.disk.load(); resources != nil {
		c.catalog.CompareAndSwap(nil, NewCatalog(resources...))
	}
	return c.catalog.Load()
}

// Catalog is the kinds that a cluster serves at one moment.
type Catalog struct {
	resources  []Resource
	incomplete bool
}

// NewCatalog is one of the resources, each kind's preferred version first.
func NewCatalog(resources ...Resource) *Catalog { return &Catalog{resources: resources} }

// Incomplete says that the cluster could not tell all that it serves, since an
// aggregated API does not answer: a kind that is not found may be served.
func (c *Catalog) Incomplete() bool { return c.incomplete }

// Watchable lists the kinds that can be followed, each in the version that the
// server prefers.
func (c *Catalog) Watchable() []Resource {
	var out []Resource
	for _, r := range c.resources {
		if r.Watchable {
			out = append(out, r)
		}
	}
	return out
}

// Serves says whether there is a resource like that.
func (c *Catalog) Serves(like func(Resource) bool) bool {
	return slices.ContainsFunc(c.resources, like)
}

// Exact finds a kind by its apiVersion and name.
func (c *Catalog) Exact(apiVersion, kind string) (Resource, bool) {
	for _, r := range c.resources {
		if r.Kind == kind && r.APIVersion() == apiVersion {
			return r, true
		}
	}
	return Resource{}, false
}

// has says whether a resource is served as it is.
func (c *Catalog) has(r Resource) bool {
	return slices.ContainsFunc(c.resources, func(served Resource) bool {
		return served.Group == r.Group && served.Version == r.Version && served.Plural == r.Plural
	})
}

// moved finds the version in which a kind is served now, the preferred one
// first.
func (c *Catalog) moved(r Resource) (Resource, bool) {
	for _, served := range c.resources {
		if served.Group == r.Group && served.Kind == r.Kind && served.Plural == r.Plural && served.Gettable {
			return served, true
		}
	}
	return Resource{}, false
}

// Find finds a kind by Spinnaker's text for it, in any spelling, or by one of
// kubectl's short names, in the version that the server prefers.
func (c *Catalog) Find(kindText string) (Resource, bool) {
	for _, r := range c.resources {
		if r.Watchable && spinnaker.SameKind(r.KindText(), kindText) {
			return r, true
		}
	}
	for _, r := range c.resources { // what cannot be followed can still be read
		if r.Gettable && spinnaker.SameKind(r.KindText(), kindText) {
			return r, true
		}
	}
	return c.named(kindText)
}

// named finds a kind by the names that kubectl takes: deployments, sts,
// crontabs.stable.example.com. Of several groups the first one that the server
// names counts, as with kubectl.
func (c *Catalog) named(text string) (Resource, bool) {
	name, group, grouped := strings.Cut(strings.ToLower(text), ".")
	var found Resource
	for _, r := range c.resources {
		if grouped && r.Group != group || !r.Gettable && !r.Watchable {
			continue
		}
		if r.Plural != name && !strings.Contains(r.Also, " "+name+" ") {
			continue
		}
		if r.Watchable {
			return r, true
		}
		if found.Kind == "" {
			found = r
		}
	}
	return found, found.Kind != ""
}

// discoveryTimeout is short, because reads wait for an account that has not
// answered yet: one that accepts and never answers must soon count as failed.
const discoveryTimeout = 10 * time.Second

// groupList is apidiscovery.k8s.io/v2 APIGroupDiscoveryList, as far as used
// (kubernetes/kubernetes, staging/src/k8s.io/api/apidiscovery/v2).
type groupList struct {
	Kind  string `json:"kind"`
	Items []struct {
		Metadata struct {
			Name string `json:"name"`
		} `json:"metadata"`
		Versions []struct {
			Version   string `json:"version"`
			Freshness string `json:"freshness"`
			Resources []struct {
				Resource     string `json:"resource"`
				ResponseKind struct {
					Kind string `json:"kind"`
				} `json:"responseKind"`
				Scope            string   `json:"scope"`
				SingularResource string   `json:"singularResource"`
				ShortNames       []string `json:"shortNames"`
				Verbs            []string `json:"verbs"`
			} `json:"resources"`
		} `json:"versions"`
	} `json:"items"`
}

func (c *Client) discover(ctx context.Context, path string) (*groupList, error) {
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	req.Header.Set("Accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json")
	req.Header.Set("User-Agent", userAgent)
	res, err := c.do(req, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if err := c.took(answered(res)); err != nil {
		return nil, err
	}
	var list groupList
	const most = 64 << 20
	if err := json.NewDecoder(io.LimitReader(res.Body, most)).Decode(&list); err != nil {
		return nil, &Error{Reason: Unavailable, Err: fmt.Errorf("decode: %w", err)}
	}
	if list.Kind != "APIGroupDiscoveryList" {
		return nil, &Error{Reason: Unsupported, Err: fmt.Errorf("the server answered %q where aggregated discovery was asked for; Kubernetes %s or newer is needed", list.Kind, OldestVersion)}
	}
	return &list, nil
}

// OldestVersion is the oldest Kubernetes version that is supported and
// tested.
const OldestVersion = "1.30"

// resources are those of the groups. Of versions that the server knows nothing
// of at the moment, which it says by stale, they are those of before.
func (l groupList) resources(before *Catalog) (out []Resource, stale bool) {
	known := map[Resource]bool{} // an API server has been seen to list a group twice
	for _, group := range l.Items {
		seen := map[string]bool{}
		for _, version := range group.Versions { // the preferred one comes first
			if version.Freshness == "Stale" {
				stale = true
			}
			if version.Freshness == "Stale" && len(version.Resources) == 0 && before != nil {
				for _, r := range before.resources {
					if r.Group == group.Metadata.Name && r.Version == version.Version {
						out = append(out, r)
					}
				}
			}
			for _, r := range version.Resources {
				watchable := !seen[r.Resource] && slices.Contains(r.Verbs, "list") && slices.Contains(r.Verbs, "watch")
				seen[r.Resource] = seen[r.Resource] || watchable
				key := Resource{Group: group.Metadata.Name, Version: version.Version, Plural: r.Resource}
				if known[key] {
					continue
				}
				known[key] = true
				key.Kind, key.Namespaced = r.ResponseKind.Kind, r.Scope == "Namespaced"
				key.Watchable, key.Gettable = watchable, slices.Contains(r.Verbs, "get")
				key.Also = " " + strings.Join(append([]string{r.SingularResource}, r.ShortNames...), " ") + " "
				out = append(out, key)
			}
		}
	}
	return out, stale
}
