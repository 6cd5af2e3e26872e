package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/registry"
)

// Registries know what Docker registries have; registry.Registries do.
type Registries interface {
	List() ([]*registry.Account, <-chan struct{})
	// Revision is another number after every change of the list.
	Revision() uint64
	Get(name string) (*registry.Account, bool)
	State(account string) registry.State
	Find(accounts []*registry.Account, family registry.Family, q registry.Query) iter.Seq[registry.Hit]
	TagNames(a *registry.Account, family registry.Family, repository string) []string
}

// dockerRegistry is the provider's name.
const dockerRegistry = "dockerRegistry"

// registries are those that no cluster has the name of.
func (s *Server) registries() []*registry.Account {
	if s.Registries == nil {
		return nil
	}
	all, _ := s.Registries.List()
	return slices.DeleteFunc(slices.Clone(all), func(a *registry.Account) bool { return s.isCluster(a.Name) })
}

func (s *Server) registry(name string) (*registry.Account, bool) {
	if s.Registries == nil || s.isCluster(name) {
		return nil, false
	}
	return s.Registries.Get(name)
}

func (s *Server) isCluster(name string) bool {
	_, known := s.Accounts.Get(name)
	return known
}

// registryCredential is the short form of a registry among the accounts
// (docker-registry.md 3): permissions are always there.
type registryCredential struct {
	Name                        string              `json:"name"`
	Environment                 string              `json:"environment"`
	AccountType                 string              `json:"accountType"`
	CloudProvider               string              `json:"cloudProvider"`
	RequiredGroupMembership     []string            `json:"requiredGroupMembership"`
	Permissions                 map[string][]string `json:"permissions"`
	Type                        string              `json:"type"`
	ChallengeDestructiveActions bool                `json:"challengeDestructiveActions"`
	PrimaryAccount              bool                `json:"primaryAccount"`
}

// fullRegistryCredential tells nothing of how the registry is asked.
type fullRegistryCredential struct {
	registryCredential
	Enabled              bool     `json:"enabled"`
	Address              string   `json:"address"`
	Registry             string   `json:"registry"`
	V2Endpoint           string   `json:"v2Endpoint"`
	TrackDigests         bool     `json:"trackDigests"`
	InspectDigests       bool     `json:"inspectDigests"`
	SortTagsByDate       bool     `json:"sortTagsByDate"`
	InsecureRegistry     bool     `json:"insecureRegistry"`
	CacheThreads         int      `json:"cacheThreads"`
	CacheIntervalSeconds int64    `json:"cacheIntervalSeconds"`
	ClientTimeoutMillis  int64    `json:"clientTimeoutMillis"`
	PaginateSize         int      `json:"paginateSize"`
	Skip                 []string `json:"skip"`
	RepositoriesRegex    string   `json:"repositoriesRegex,omitempty"`
	Email                string   `json:"email,omitempty"`
	ItemUpperThreshold   int      `json:"itemUpperThreshold,omitempty"`
}

func (s *Server) newRegistryCredential(a *registry.Account) registryCredential {
	return registryCredential{
		Name: a.Name, Environment: a.Environment, AccountType: a.AccountType,
		CloudProvider: dockerRegistry, Type: dockerRegistry, RequiredGroupMembership: []string{}, Permissions: a.Roles,
		ChallengeDestructiveActions: slices.Contains(s.Credentials.ChallengeDestructiveActionsEnvironments, a.Environment),
		PrimaryAccount:              slices.Contains(s.Credentials.PrimaryAccountTypes, a.AccountType),
	}
}

func (s *Server) newFullRegistryCredential(a *registry.Account) fullRegistryCredential {
	return fullRegistryCredential{
		registryCredential: s.newRegistryCredential(a), Enabled: true,
		Address: a.Address, Registry: a.Registry, V2Endpoint: a.Address + "/v2",
		TrackDigests: a.TrackDigests, InspectDigests: a.InspectDigests, SortTagsByDate: a.SortTagsByDate, InsecureRegistry: a.InsecureRegistry,
		CacheThreads: a.CacheThreads, CacheIntervalSeconds: a.CacheIntervalSeconds, ClientTimeoutMillis: a.ClientTimeoutMillis, PaginateSize: a.PaginateSize,
		Skip: append([]string{}, a.Skip...), RepositoriesRegex: a.RepositoriesRegex, Email: a.Email, ItemUpperThreshold: a.ItemUpperThreshold,
	}
}

// whoseTags goes by the account that the query names. Where registries are switched
// off here, they may be in the other.
func (s *Server) whoseTags(r *request) fallback.Whose {
	name := queriedAccount(r)
	switch {
	case s.Registries == nil:
		return fallback.Theirs
	case name == "":
		return fallback.Joined
	case s.isOurs(name):
		return fallback.Ours
	}
	return fallback.Theirs
}

// taggedImage is an element of the lists (5.1). Igor and Keel decode it into fixed
// types.
type taggedImage struct {
	Repository  string         `json:"repository"`
	Tag         string         `json:"tag"`
	Account     string         `json:"account"`
	Registry    string         `json:"registry"`
	Digest      string         `json:"digest,omitempty"`
	CommitID    string         `json:"commitId,omitempty"`
	BuildNumber string         `json:"buildNumber,omitempty"`
	Branch      string         `json:"branch,omitempty"`
	Artifact    taggedArtifact `json:"artifact"`
}

type taggedArtifact struct {
	Type      string         `json:"type"`
	Name      string         `json:"name"`
	Version   string         `json:"version"`
	Reference string         `json:"reference"`
	Metadata  taggedMetadata `json:"metadata"`
}

type taggedMetadata struct {
	Registry string `json:"registry"`
	Labels   any    `json:"labels,omitempty"`
}

// artifactTypes are those of the families: an image is no docker/image here.
var artifactTypes = map[registry.Family]string{registry.Images: "docker", registry.Charts: "helm/image"}

func newTaggedImage(h registry.Hit, family registry.Family, details bool) taggedImage {
	out := taggedImage{
		Repository: h.Repository, Tag: h.Tag.Name, Account: h.Account.Name, Registry: h.Account.Registry,
		Artifact: taggedArtifact{
			Type: artifactTypes[family], Name: h.Repository, Version: h.Tag.Name, Reference: h.Reference(),
			Metadata: taggedMetadata{Registry: h.Account.Registry, Labels: struct{}{}},
		},
	}
	if h.Account.ShowsDigests() {
		out.Digest = h.Tag.Digest
	}
	if !details {
		return out
	}
	out.Artifact.Metadata.Labels = nil
	if i := h.Tag.Image; i != nil && i.Labels != nil && h.Account.InspectDigests {
		out.Artifact.Metadata.Labels = i.Labels
		out.CommitID, out.BuildNumber, out.Branch = i.Labels["commitId"], i.Labels["buildNumber"], i.Labels["branch"]
	}
	return out
}

// asked are the registries that a query is about, and the caller may see.
func (s *Server) asked(r *request) []*registry.Account {
	name, out := queriedAccount(r), []*registry.Account{}
	for _, a := range s.registries() {
		if (name == "" || name == a.Name) && r.caller.SeesAccount(a.Name) {
			out = append(out, a)
		}
	}
	return out
}

// findTags looks for images or charts in memory.
func findTags(family registry.Family) handler {
	return func(s *Server, r *request) (reply, error) {
		q, err := tagQuery(r)
		if err != nil {
			return reply{}, err
		}
		asked, details := s.asked(r), boolean(r.URL.Query(), "includeDetails", false)
		write := func(to io.Writer) error {
			if s.Registries == nil {
				_, err := io.WriteString(to, "[]")
				return err
			}
			return writeTags(to, s.Registries.Find(asked, family, q), family, details)
		}
		if s.Fallback != nil && queriedAccount(r) == "" { // it is joined with another
			var body bytes.Buffer
			err := write(&body)
			return answered(newAnswer(body.Bytes())), err
		}
		return reply{open: func(w http.ResponseWriter) {
			s.markUnread(w.Header(), asked)
			sendTags(w, r, write)
		}}, nil
	}
}

func tagQuery(r *request) (registry.Query, error) {
	q := r.URL.Query()
	out := registry.Query{Text: q.Get("q"), Repository: q.Get("repository"), Tag: q.Get("tag")}
	if text := q.Get("count"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			return out, bad("count: %q is not a number", text)
		}
		out.Most = max(n, 0)
	}
	return out, nil
}

func writeTags(to io.Writer, hits iter.Seq[registry.Hit], family registry.Family, details bool) error {
	buffered := bufio.NewWriterSize(to, fetchChunk)
	encoder := json.NewEncoder(buffered)
	encoder.SetEscapeHTML(false)
	_ = buffered.WriteByte('[') // its errors stay until the end
	first := true
	for hit := range hits {
		if !first {
			_ = buffered.WriteByte(',')
		}
		first = false
		if err := encoder.Encode(newTaggedImage(hit, family, details)); err != nil {
			return err
		}
	}
	_ = buffered.WriteByte(']')
	return buffered.Flush()
}

// markUnread names the registries that could not be read lately.
func (s *Server) markUnread(header http.Header, accounts []*registry.Account) {
	var names []string
	for _, a := range accounts {
		if s.Registries.State(a.Name).Problem != "" {
			names = append(names, a.Name)
		}
	}
	if len(names) > 0 {
		header.Set(StaleHeader, strings.Join(names, ","))
	}
}

// sendTags sends a list as it is made: it may have a million elements.
func sendTags(w http.ResponseWriter, r *request, write func(io.Writer) error) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Vary", "Accept-Encoding")
	var to io.Writer = patient{w}
	if acceptsGzip(r.Header.Get("Accept-Encoding")) {
		header.Set("Content-Encoding", "gzip")
		zipped := zippers.on(to)
		defer zippers.leave(zipped)
		if write(zipped) != nil || zipped.Close() != nil {
			panic(http.ErrAbortHandler) // nobody takes a part for the whole
		}
		return
	}
	if write(to) != nil {
		panic(http.ErrAbortHandler)
	}
}

// patient gives each piece of an answer a time of its own.
type patient struct{ w http.ResponseWriter }

func (p patient) Write(piece []byte) (int, error) {
	lasts(p.w, eachChunk)
	return p.w.Write(piece)
}

// listTags are the tags of one repository, for forms.
func listTags(family registry.Family) handler {
	return func(s *Server, r *request) (reply, error) {
		if s.Registries == nil {
			return answered(newAnswer([]byte(emptyList))), nil
		}
		q := r.URL.Query()
		for _, name := range []string{"account", "repository"} {
			if q.Get(name) == "" {
				return reply{}, bad("Required request parameter '%s' is not present", name)
			}
		}
		a, ok := s.registry(q.Get("account"))
		if !ok {
			return answered(newAnswer([]byte(emptyList))), nil
		}
		return model(s.Registries.TagNames(a, family, q.Get("repository")))
	}
}

// registryHealth says how the registries do, nil where there are none.
func (s *Server) registryHealth() map[string]string {
	all := s.registries()
	if len(all) == 0 {
		return nil
	}
	out := map[string]string{}
	for _, a := range all {
		switch state := s.Registries.State(a.Name); {
		case state.Problem != "":
			out[a.Name] = "DOWN"
		case state.Polled.IsZero():
			out[a.Name] = "UNKNOWN"
		default:
			out[a.Name] = "UP"
		}
	}
	return out
}
