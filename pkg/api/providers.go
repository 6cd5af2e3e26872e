package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// Providers are the accounts of the provider API; account.Providers are some.
type Providers interface {
	List(ctx context.Context) ([]store.Provider, error)
	Get(ctx context.Context, name string) (store.Provider, error)
	Check(ctx context.Context, p store.Provider) error
	Create(ctx context.Context, p store.Provider) error
	Put(ctx context.Context, p store.Provider) error
	Delete(ctx context.Context, name string) error
}

// Resources are the recorded resources; store.Store has them.
type Resources interface {
	ReplaceResources(ctx context.Context, account string, rows []store.Resource) error
	DeleteResources(ctx context.Context, account string) error
}

// provider is the body of the provider API (homedepot/go-clouddriver,
// pkg/kubernetes/provider.go; accounts.md 3.1).
type provider struct {
	Name          string      `json:"name"`
	Host          string      `json:"host"`
	CAData        string      `json:"caData"`
	BearerToken   string      `json:"bearerToken,omitempty"`
	TokenProvider string      `json:"tokenProvider,omitempty"`
	Namespace     *string     `json:"namespace,omitempty"`
	Namespaces    []string    `json:"namespaces,omitempty"`
	Permissions   permissions `json:"permissions"`
}

type permissions struct {
	Read  []string `json:"read"`
	Write []string `json:"write"`
}

// maxProvider bounds a body; the fields have their own bounds.
const maxProvider = 8 << 20

func wireProvider(p store.Provider) provider {
	return provider{
		Name: p.Name, Host: p.Host, CAData: p.CAData, TokenProvider: p.TokenProvider, Namespaces: p.Namespaces,
		Permissions: permissions{Read: p.ReadGroups, Write: p.WriteGroups},
	}
}

func (p provider) stored() store.Provider {
	return store.Provider{
		Name: p.Name, Host: p.Host, CAData: p.CAData, BearerToken: p.BearerToken, TokenProvider: p.TokenProvider,
		Namespaces: p.Namespaces, ReadGroups: p.Permissions.Read, WriteGroups: p.Permissions.Write,
	}
}

func (s *Server) listProviders(r *request) (reply, error) {
	all, err := s.Providers.List(r.Context())
	if err != nil {
		return reply{}, err
	}
	out := make([]provider, 0, len(all))
	for _, p := range all {
		out = append(out, wireProvider(p))
	}
	return answerV1(http.StatusOK, out)
}

func (s *Server) getProvider(r *request) (reply, error) {
	name := r.segments("name")
	p, err := s.Providers.Get(r.Context(), name[0])
	if err != nil {
		return reply{}, err
	}
	return answerV1(http.StatusOK, wireProvider(p))
}

func (s *Server) createProvider(r *request) (reply, error) {
	p, err := decodeProvider(r)
	if err == nil {
		// Taken names are refused before anything else is looked at; a database
		// that fails here fails again below.
		if _, lookup := s.Providers.Get(r.Context(), p.Name); lookup == nil {
			err = store.ErrExists
		}
	}
	if err == nil {
		checked := p.stored()
		if p.Namespace != nil {
			checked.Namespaces = append(checked.Namespaces, *p.Namespace)
		}
		err = s.Providers.Check(r.Context(), checked)
	}
	if err == nil && p.Namespace != nil {
		if len(p.Namespaces) > 0 {
			err = problem{status: http.StatusBadRequest, message: "Cannot provide both namespace and namespaces field"}
		}
		p = p.withNamespace()
	}
	if err == nil {
		err = s.Providers.Create(r.Context(), p.stored())
	}
	if err != nil {
		return reply{}, err
	}
	return answerV1(http.StatusCreated, p)
}

func (s *Server) putProvider(r *request) (reply, error) {
	p, err := decodeProvider(r)
	if err == nil {
		if p.Namespace != nil {
			p = p.withNamespace()
		}
		err = s.Providers.Check(r.Context(), p.stored())
	}
	if err == nil {
		err = s.Providers.Put(r.Context(), p.stored())
	}
	if err != nil {
		return reply{}, err
	}
	return answerV1(http.StatusOK, p)
}

// withNamespace moves the deprecated single namespace to the list.
func (p provider) withNamespace() provider {
	p.Namespaces, p.Namespace = []string{*p.Namespace}, nil
	return p
}

func decodeProvider(r *request) (provider, error) {
	var p provider
	if err := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxProvider)).Decode(&p); err != nil {
		return p, problem{status: http.StatusBadRequest, message: err.Error()}
	}
	if p.Namespace != nil && strings.TrimSpace(*p.Namespace) == "" {
		p.Namespace = nil
	}
	r.about = p.Name
	return p, nil
}

func (s *Server) deleteProvider(r *request) (reply, error) {
	r.about = r.path["name"]
	if err := s.Providers.Delete(r.Context(), r.path["name"]); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

func (s *Server) deleteResources(r *request) (reply, error) {
	r.about = r.path["name"]
	if err := s.Resources.DeleteResources(r.Context(), r.path["name"]); err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusNoContent}, nil
}

// resource is a row as the provider API shows it (accounts.md 3.4).
type resource struct {
	AccountName  string    `json:"accountName"`
	ID           string    `json:"id"`
	Timestamp    time.Time `json:"timestamp"`
	TaskID       string    `json:"taskId"`
	APIGroup     string    `json:"apiGroup"`
	Name         string    `json:"name"`
	Namespace    string    `json:"namespace"`
	Resource     string    `json:"resource"`
	Version      string    `json:"version"`
	Kind         string    `json:"kind"`
	SpinnakerApp string    `json:"spinnakerApp"`
}

// loadedKinds are the kinds that loading records, with their plurals.
var loadedKinds = map[string]string{
	"daemonSet": "daemonsets", "deployment": "deployments", "ingress": "ingresses",
	"replicaSet": "replicasets", "service": "services", "statefulSet": "statefulsets",
}

// loadResources records what the cluster holds. The older rewrite lists the
// cluster for it; here the index is the truth already, so that no request is
// made, and the rows are for that rewrite.
func (s *Server) loadResources(r *request) (reply, error) {
	name := r.segments("name")
	r.about = name[0]
	if _, err := s.Providers.Get(r.Context(), name[0]); err != nil {
		if errors.Is(err, store.ErrNotFound) {
			err = errors.New("internal: error getting kubernetes provider " + name[0] + ": record not found")
		}
		return reply{}, err
	}
	rows := recorded(name[0], s.Index)
	if err := s.Resources.ReplaceResources(r.Context(), name[0], rows); err != nil {
		return reply{}, err
	}
	out := make([]resource, 0, len(rows))
	for _, row := range rows {
		out = append(out, resource{
			row.AccountName, row.ID, row.Timestamp, row.TaskID, row.APIGroup, row.Name, row.Namespace,
			row.Resource, row.Version, row.Kind, row.SpinnakerApp,
		})
	}
	return answerV1(http.StatusOK, out)
}

func recorded(accountName string, ix *index.Index) []store.Resource {
	kinds := make([]string, 0, len(loadedKinds))
	for kind := range loadedKinds {
		kinds = append(kinds, kind)
	}
	now, task := time.Now().UTC().Truncate(time.Second), uuid.NewString()
	var rows []store.Resource
	for _, o := range ix.Objects(accountName, kinds...) {
		group, version, ok := strings.Cut(o.Kind.APIVersion, "/")
		if !ok {
			group, version = "", group
		}
		m := o.Moniker()
		bare := spinnaker.Unversioned(o.Name)
		rows = append(rows, store.Resource{
			AccountName: accountName, ID: uuid.NewString(), Timestamp: now, TaskID: task, APIGroup: group, Version: version,
			Name: o.Name, ArtifactName: bare, Namespace: o.Namespace, Resource: loadedKinds[o.Kind.Text],
			Kind: strings.ToUpper(o.Kind.Text[:1]) + o.Kind.Text[1:], SpinnakerApp: m.App,
			Cluster: spinnaker.FullName(o.Kind.Text, bare),
		})
	}
	return rows
}

const contentTypeV1 = "application/json; charset=utf-8"

// answerV1 is an answer of the provider API.
func answerV1(status int, m any) (reply, error) {
	out, err := model(m)
	out.status, out.mediaType = status, contentTypeV1
	return out, err
}

// providerProblem makes a problem of an error as the provider API does.
func providerProblem(err error) problem {
	p := problem{status: http.StatusInternalServerError, message: err.Error()}
	var invalid account.InvalidError
	switch {
	case errors.As(err, &p):
	case errors.As(err, &invalid):
		p = problem{status: http.StatusBadRequest, message: invalid.Error()}
	case errors.Is(err, store.ErrExists):
		p = problem{status: http.StatusConflict, message: "provider already exists"}
	case errors.Is(err, store.ErrNotFound):
		p = problem{status: http.StatusNotFound, message: "provider not found"}
	case errors.Is(err, store.ErrUnavailable):
		p.status = http.StatusServiceUnavailable
	}
	return p
}
