// Package account knows which Kubernetes clusters there are: what an account
// is, the live registry that the rest of the service follows, and the sources
// that fill it.
package account

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Account is one Kubernetes cluster with the credentials and the limits that
// Spinnaker uses it with. A value is not changed once it is in the Registry.
type Account struct {
	Name        string
	Environment string
	AccountType string
	// Permissions are role names by authorization (READ, WRITE); empty for an
	// account that everybody may use.
	Permissions             map[string][]string
	RequiredGroupMembership []string
	CacheThreads            int
	CacheIntervalSeconds    *int

	// Namespaces limits the account to these; all when empty.
	Namespaces     []string
	OmitNamespaces []string
	// Kinds and OmitKinds limit what is watched; both empty for all.
	Kinds     []string
	OmitKinds []string
	// LabelSelector narrows every watch; "" watches everything.
	LabelSelector string
	// DeriveNames gives objects without Spinnaker's annotations a moniker from
	// their name, as Java Clouddriver does. Without it they do not exist.
	DeriveNames bool
	// CustomResources are kinds of CRDs by Kind.group.
	CustomResources map[string]spinnaker.Class
	// VersionedKinds and DeployPriorities are what the configuration says of
	// deploys of such kinds.
	VersionedKinds   map[string]bool
	DeployPriorities map[string]int

	// RawKinds and RawOmitKinds narrow an application's raw resources to kinds
	// that match, or do not; at most one of them is set.
	RawKinds, RawOmitKinds []*regexp.Regexp
	// AllRelationships has kinds watched that no list view shows, for an
	// application's raw resources and for searches.
	AllRelationships bool
	// Held are kinds beside those of the views.
	Held Held
	// Metrics says whether the usage of pods is shown.
	Metrics bool

	// ContextNamespace is the kubeconfig context's.
	ContextNamespace string
	// FromProviders accounts are those of the provider API. The older rewrite,
	// whose users they have, puts every request to an account of one namespace
	// into that.
	FromProviders bool

	// REST says how to reach the cluster.
	REST *rest.Config
	// Credential tells credentials apart that REST does not hold itself, such
	// as those of a token provider. It is no secret.
	Credential string
	// Invalid, when set, is why the account cannot be used.
	Invalid error
}

// ID is the account's name.
func (a *Account) ID() string { return a.Name }

// Held says which kinds are watched beside those of the views (kubernetes.cache;
// accounts.md 7.1).
type Held struct {
	All         bool
	Kinds, Omit []string
}

// Asks says whether a kind is to be watched although no view shows it.
func (h Held) Asks(kindText string) bool { return h.All || among(h.Kinds, kindText) }

// Leaves says whether a kind is not to be watched.
func (h Held) Leaves(kindText string) bool { return among(h.Omit, kindText) }

func among(kinds []string, kindText string) bool {
	return slices.ContainsFunc(kinds, func(k string) bool { return spinnaker.SameKind(k, kindText) })
}

// AllowsKind says whether the account's configuration lets the kind be used.
func (a *Account) AllowsKind(kindText string) bool {
	if len(a.Kinds) > 0 {
		return among(a.Kinds, kindText)
	}
	return !among(a.OmitKinds, kindText)
}

// AllowsNamespace says whether the account may show the namespace;
// cluster-scoped objects ("") always are.
func (a *Account) AllowsNamespace(namespace string) bool {
	if namespace == "" {
		return true
	}
	if len(a.Namespaces) > 0 {
		return slices.Contains(a.Namespaces, namespace)
	}
	return !slices.Contains(a.OmitNamespaces, namespace)
}

// DefaultNamespace is where objects go that name none.
func (a *Account) DefaultNamespace() string {
	return cmp.Or(a.OnlyNamespace(), a.ContextNamespace, "default")
}

// NamespaceFor is the namespace that a request for one is about.
func (a *Account) NamespaceFor(requested string) string { return cmp.Or(a.OnlyNamespace(), requested) }

// ObjectNamespace is where an object of a kind is looked for: the default one
// when the request names none, "" for cluster-scoped kinds.
func (a *Account) ObjectNamespace(namespaced bool, requested string) string {
	if !namespaced {
		return ""
	}
	return cmp.Or(a.NamespaceFor(requested), a.DefaultNamespace())
}

// OnlyNamespace replaces the namespace of every request, if it is not empty.
func (a *Account) OnlyNamespace() string {
	if a.FromProviders && len(a.Namespaces) == 1 {
		return a.Namespaces[0]
	}
	return ""
}

// Class is what Spinnaker makes of a kind in this account.
func (a *Account) Class(kindText string) (spinnaker.Class, bool) {
	for configured, class := range a.CustomResources {
		if spinnaker.SameKind(configured, kindText) {
			return class, true
		}
	}
	if k, ok := spinnaker.LookupKind(kindText); ok {
		return k.Class, true
	}
	return "", false
}

// WatchFingerprint changes whenever the account's watches have to be set up
// anew: it is about another cluster, or about other objects of it. Credentials
// are no part of it: they are changed under way.
func (a *Account) WatchFingerprint() string {
	return digest(a.Namespaces, a.OmitNamespaces, a.Kinds, a.OmitKinds, a.LabelSelector, a.DeriveNames, a.CustomResources, a.AllRelationships, a.Held, fmt.Sprint(a.Invalid), a.Server())
}

// Server tells apart clusters, and whom requests to them are made for.
func (a *Account) Server() string {
	c := a.REST
	if c == nil {
		return ""
	}
	return digest(c.Host, c.APIPath, c.ServerName, c.Impersonate)
}

// Identity tells apart who asks which server. It holds no readable secret.
func (a *Account) Identity() string {
	c := a.REST
	if c == nil {
		return ""
	}
	identity := []any{
		a.Server(), c.Username, c.Password, c.BearerToken, c.BearerTokenFile,
		c.Insecure, c.CertFile, c.KeyFile, c.CAFile, c.CertData, c.KeyData, c.CAData, a.Credential,
	}
	if e := c.ExecProvider; e != nil {
		identity = append(identity, e.Command, e.Args, e.Env, e.APIVersion, e.InteractiveMode)
	}
	return digest(identity...)
}

func digest(identity ...any) string {
	encoded, err := json.Marshal(identity)
	if err != nil {
		encoded = fmt.Append(nil, identity...) // as good for telling apart
	}
	sum := sha256.Sum256(encoded)
	return hex.EncodeToString(sum[:])
}

// Guarded says whether only some may write to the account (accounts.md 8.8).
func (a *Account) Guarded() bool { return a.Restricted() || len(a.RequiredGroupMembership) > 0 }

// Restricted says whether only some roles may use the account.
func (a *Account) Restricted() bool {
	for _, roles := range a.Permissions {
		if len(roles) > 0 {
			return true
		}
	}
	return false
}

// NormalRoles trims, lower-cases and de-duplicates role names, as Java
// Clouddriver does with configured permissions.
func NormalRoles(permissions map[string][]string) map[string][]string {
	out := map[string][]string{}
	for authorization, roles := range permissions {
		var normal []string
		for _, role := range roles {
			if role = strings.ToLower(strings.TrimSpace(role)); role != "" && !slices.Contains(normal, role) {
				normal = append(normal, role)
			}
		}
		if len(normal) > 0 {
			slices.Sort(normal)
			out[strings.ToUpper(authorization)] = normal
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
