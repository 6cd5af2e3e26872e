package api

import (
	"fmt"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// credential is the short form of an account (accounts.md 1.2), with the two
// constants that old versions of Deck select their Kubernetes pages by.
type credential struct {
	Name                        string              `json:"name"`
	Environment                 string              `json:"environment"`
	AccountType                 string              `json:"accountType"`
	CloudProvider               string              `json:"cloudProvider"`
	RequiredGroupMembership     []string            `json:"requiredGroupMembership"`
	Permissions                 map[string][]string `json:"permissions,omitempty"`
	Type                        string              `json:"type"`
	ChallengeDestructiveActions bool                `json:"challengeDestructiveActions"`
	PrimaryAccount              bool                `json:"primaryAccount"`
	Skin                        string              `json:"skin"`
	ProviderVersion             string              `json:"providerVersion"`
}

// fullCredential is the form with everything (1.3).
type fullCredential struct {
	credential
	CacheThreads         int                        `json:"cacheThreads"`
	CacheIntervalSeconds *int                       `json:"cacheIntervalSeconds,omitempty"`
	Enabled              bool                       `json:"enabled"`
	Namespaces           []string                   `json:"namespaces"`
	SpinnakerKindMap     map[string]spinnaker.Class `json:"spinnakerKindMap"`
	DockerRegistries     []string                   `json:"dockerRegistries"`
}

func (s *Server) newCredential(a *account.Account) credential {
	c := credential{
		Name: a.Name, Environment: a.Environment, AccountType: a.AccountType,
		CloudProvider: kubernetes, Type: kubernetes, RequiredGroupMembership: []string{},
		ChallengeDestructiveActions: slices.Contains(s.Credentials.ChallengeDestructiveActionsEnvironments, a.Environment),
		PrimaryAccount:              slices.Contains(s.Credentials.PrimaryAccountTypes, a.AccountType),
		Skin:                        "v2", ProviderVersion: "v2",
	}
	if a.Restricted() {
		c.Permissions = a.Permissions
	} else if a.RequiredGroupMembership != nil {
		c.RequiredGroupMembership = a.RequiredGroupMembership
	}
	return c
}

func (s *Server) newFullCredential(a *account.Account) fullCredential {
	c := fullCredential{
		credential: s.newCredential(a), CacheThreads: a.CacheThreads, CacheIntervalSeconds: a.CacheIntervalSeconds,
		Enabled: true, Namespaces: a.Namespaces, SpinnakerKindMap: spinnaker.KindMap(), DockerRegistries: []string{},
	}
	if len(c.Namespaces) == 0 {
		c.Namespaces = s.Index.Namespaces(a.Name)
	}
	for kind, class := range a.CustomResources {
		c.SpinnakerKindMap[kind] = class
	}
	return c
}

// credentials lists every account to every caller: Fiat reads it without a
// user. It asks no cluster and waits for none.
func (s *Server) credentials(r *request) (reply, error) {
	full := false
	switch strings.ToLower(r.URL.Query().Get("expand")) {
	case "true", "on", "yes", "1":
		full = true
	}
	version := fmt.Sprint(s.Accounts.Revision(), " ", s.Index.NamespacesVersion())
	if s.Registries != nil {
		version += fmt.Sprint(" ", s.Registries.Revision())
	}
	return answered(s.latest.answer(fmt.Sprint("credentials ", full), version, func() *answer { return s.allCredentials(full) })), nil
}

func (s *Server) allCredentials(full bool) *answer {
	accounts, _ := s.Accounts.List()
	registries := s.registries()
	all := make([]any, 0, len(accounts)+len(registries))
	for _, a := range accounts {
		if full {
			all = append(all, s.newFullCredential(a))
		} else {
			all = append(all, s.newCredential(a))
		}
	}
	for _, a := range registries {
		if full {
			all = append(all, s.newFullRegistryCredential(a))
		} else {
			all = append(all, s.newRegistryCredential(a))
		}
	}
	return newAnswer(view.Encode(all))
}

func (s *Server) credential(r *request) (reply, error) {
	p := r.segments("account")
	if a, is := s.registry(p[0]); is {
		return answered(newAnswer(view.Encode(s.newFullRegistryCredential(a)))), nil
	}
	a, ok := s.Accounts.Get(p[0])
	if !ok {
		return reply{}, view.NotFoundError("Account does not exist (name: " + p[0] + ")")
	}
	return answered(newAnswer(view.Encode(s.newFullCredential(a)))), nil
}
