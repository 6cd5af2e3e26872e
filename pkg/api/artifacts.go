package api

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/artifact"
	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// Artifacts are the artifact accounts; artifact.Accounts are.
type Artifacts interface {
	List() []*artifact.Account
	Has(account, kind string) bool
	Fetch(ctx context.Context, a spinnaker.Artifact) (artifact.Content, error)
	Names(ctx context.Context, account, kind string) ([]string, error)
	Versions(ctx context.Context, account, kind, name string) ([]string, error)
}

// artifactAccount is an artifact account in the list (artifacts.md 2.1): nothing
// but its names.
type artifactAccount struct {
	Name  string   `json:"name"`
	Types []string `json:"types"`
	Type  string   `json:"type,omitempty"`
}

func (s *Server) artifactAccounts(*request) (reply, error) {
	out := []artifactAccount{}
	for _, a := range s.Artifacts.List() {
		out = append(out, artifactAccount{a.Name, a.Types, a.Type})
	}
	return model(out)
}

// ArtifactStore is where Orca keeps what it does not send along; artifact.Store is
// one.
type ArtifactStore interface {
	Read(ctx context.Context, reference string, may func(application string) error, take func(bytes int64) error) ([]byte, error)
}

// stored reads from the artifact store what the caller may see. Nobody in particular
// may see nothing, with and without Fiat (artifacts.md 6).
func (s *Server) stored(r *request, reference string) ([]byte, error) {
	if !auth.Named(r.Header) {
		return nil, problem{status: http.StatusUnauthorized, message: "Could not authenticate due to missing user id"}
	}
	caller := s.Auth.Caller(r.Context(), r.Header)
	return s.ArtifactStore.Read(r.Context(), reference, func(application string) error {
		if err := caller.Application(application, auth.Read); err != nil {
			return refusal(err)
		}
		return nil
	}, func(bytes int64) error {
		free, err := s.Memory.Take(bytes)
		if err != nil {
			return memoryProblem(err)
		}
		context.AfterFunc(r.Context(), free) // when the request is over
		return nil
	})
}

// storedArtifact shows an object of the store.
func (s *Server) storedArtifact(r *request) (reply, error) {
	if s.ArtifactStore == nil {
		return reply{}, view.NotFoundError("there is no artifact store")
	}
	content, err := s.stored(r, artifact.Reference(r.path["application"], r.path["hash"]))
	if err != nil {
		return reply{}, artifactProblem(err)
	}
	return model(map[string][]byte{"reference": content})
}

// expanded puts manifests of the store into the place of their references. Orca
// repeats a request after 503 only.
func (s *Server) expanded(r *request, of operation.Request) (operation.Request, error) {
	if s.ArtifactStore == nil || !s.ExpandManifests {
		return of, nil
	}
	out, err := operation.Expand(of, func(reference string) ([]byte, error) { return s.stored(r, reference) })
	var refused problem
	switch {
	case err == nil:
		return out, nil
	case errors.As(err, &refused):
		refused.message = err.Error()
		return out, refused
	case errors.Is(err, artifact.ErrDown):
		return out, problem{status: http.StatusServiceUnavailable, message: err.Error()}
	case errors.Is(err, artifact.ErrForbidden):
		return out, problem{status: http.StatusForbidden, message: err.Error()}
	}
	return out, bad("%v", err)
}

// artifactOf reads the artifact that a body names. Gate sends metadata that may be
// a text, since it makes texts of everything.
func artifactOf(body []byte) (spinnaker.Artifact, error) {
	var a spinnaker.Artifact
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return a, bad("the body must be an artifact: %v", err)
	}
	for name, into := range map[string]*string{"type": &a.Type, "name": &a.Name, "version": &a.Version, "location": &a.Location, "reference": &a.Reference, "artifactAccount": &a.ArtifactAccount} {
		if text, there := fields[name]; there {
			if err := json.Unmarshal(text, into); err != nil {
				return a, bad("%s must be a text", name)
			}
		}
	}
	if text, there := fields["metadata"]; there {
		if err := json.Unmarshal(text, &a.Metadata); err != nil {
			a.Metadata = nil
		}
	}
	return a, nil
}

// fetchArtifact is sent by Orca with a trailing slash, which the router takes
// off.
func (s *Server) fetchArtifact(r *request) (reply, error) {
	a, err := artifactOf(r.body)
	if err != nil {
		return reply{}, err
	}
	content, err := s.fetched(r, a)
	if err != nil {
		return reply{}, artifactProblem(err)
	}
	// What fails before the first byte has a status that says so.
	begun := bufio.NewReaderSize(content, fetchChunk)
	if _, err := begun.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		_ = content.Close()
		return reply{}, artifactProblem(err)
	}
	return reply{open: func(w http.ResponseWriter) { s.sendContent(w, r, a, content, begun) }}, nil
}

// fetched is an artifact of its account. What the embedded account only has a
// reference of is in the store.
func (s *Server) fetched(r *request, a spinnaker.Artifact) (artifact.Content, error) {
	if s.ArtifactStore == nil || !strings.HasPrefix(a.Type, "remote/") || !artifact.IsStored(a.Reference) {
		return s.Artifacts.Fetch(r.Context(), a)
	}
	if !s.Artifacts.Has(cmp.Or(a.ArtifactAccount, artifact.EmbeddedAccount), a.Type) {
		return s.Artifacts.Fetch(r.Context(), a) // it says so
	}
	content, err := s.stored(r, a.Reference)
	return artifact.ContentOf(content), err
}

const (
	fetchChunk = 64 << 10
	// eachChunk is how long a chunk may take, from its server and to the caller.
	eachChunk = time.Minute
	// fetchBegins is how long a fetch may take to begin: a repository is cloned
	// first.
	fetchBegins = 10 * time.Minute
)

// lasts gives a connection so much more time, in both directions: a caller counts
// as gone when the time to read from it is over.
func lasts(w http.ResponseWriter, more time.Duration) {
	connection, until := http.NewResponseController(w), time.Now().Add(more)
	_ = connection.SetReadDeadline(until) // a recorder has none
	_ = connection.SetWriteDeadline(until)
}

// sendContent sends what was fetched as it comes. A caller who goes, or who does
// not read, ends the fetch; what breaks off half way breaks the connection, so that
// nobody takes a part for the whole.
func (s *Server) sendContent(w http.ResponseWriter, r *request, a spinnaker.Artifact, content artifact.Content, from io.Reader) {
	defer func() { _ = content.Close() }()
	w.Header().Set("Content-Type", "application/octet-stream")
	if content.Size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(content.Size, 10))
	}
	w.WriteHeader(http.StatusOK)
	chunk, sent := make([]byte, fetchChunk), int64(0)
	for {
		lasts(w, eachChunk)
		n, err := from.Read(chunk)
		if n > 0 {
			if _, gone := w.Write(chunk[:n]); gone != nil {
				return
			}
			sent += int64(n)
		}
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			s.Log.Warn("an artifact broke off half way", "account", a.ArtifactAccount, "type", a.Type, "bytes", sent, "error", err, "execution", r.Header.Get("X-SPINNAKER-EXECUTION-ID"))
			panic(http.ErrAbortHandler)
		}
	}
}

// artifactProblem is the answer to a fetch that failed. Orca asks again after each;
// the status says whether that can help.
func artifactProblem(err error) error {
	var said problem
	switch {
	case errors.As(err, &said):
		return said
	case errors.Is(err, artifact.ErrForbidden):
		return problem{status: http.StatusForbidden, message: err.Error()}
	case errors.Is(err, artifact.ErrRefused):
		return problem{status: http.StatusBadRequest, message: err.Error()}
	case errors.Is(err, artifact.ErrMissing):
		return problem{status: http.StatusNotFound, message: err.Error()}
	case errors.Is(err, artifact.ErrUnsupported):
		return problem{status: http.StatusNotImplemented, message: err.Error()}
	}
	return problem{status: http.StatusInternalServerError, message: err.Error()}
}

func (s *Server) artifactNames(r *request) (reply, error) {
	return s.listed(r, func(account, kind string) ([]string, error) { return s.Artifacts.Names(r.Context(), account, kind) })
}

func (s *Server) artifactVersions(r *request) (reply, error) {
	q := r.URL.Query()
	if !q.Has("artifactName") {
		return reply{}, bad("Required request parameter 'artifactName' is not present")
	}
	return s.listed(r, func(account, kind string) ([]string, error) {
		return s.Artifacts.Versions(r.Context(), account, kind, q.Get("artifactName"))
	})
}

// listed answers with names. An account that is not there is a 404 without a body.
func (s *Server) listed(r *request, ask func(account, kind string) ([]string, error)) (reply, error) {
	q := r.URL.Query()
	if !q.Has("type") {
		return reply{}, bad("Required request parameter 'type' is not present")
	}
	if !s.Artifacts.Has(r.path["account"], q.Get("type")) {
		return reply{status: http.StatusNotFound}, nil
	}
	names, err := ask(r.path["account"], q.Get("type"))
	if err != nil {
		return reply{}, artifactProblem(err)
	}
	return model(names)
}

// whoseArtifact goes by the artifact account: what none of ours has is the
// other's.
func (s *Server) whoseArtifact(r *request) fallback.Whose {
	account, kind := r.path["account"], r.URL.Query().Get("type")
	if r.Method == put {
		a, err := artifactOf(r.body)
		if err != nil {
			return fallback.Ours
		}
		account, kind = a.ArtifactAccount, a.Type
	}
	if s.Artifacts.Has(account, kind) {
		return fallback.Ours
	}
	return fallback.Theirs
}
