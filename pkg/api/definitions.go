package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// Definitions are the accounts that are managed by /credentials;
// account.Definitions are some.
type Definitions interface {
	Definitions(ctx context.Context, kind, from string, most int) ([]store.Definition, error)
	Definition(ctx context.Context, name string) (store.Definition, error)
	DefinitionHistory(ctx context.Context, name string) ([]store.DefinitionVersion, error)
	Kinds() []string
	Check(row store.Definition) error
	Save(ctx context.Context, row store.Definition, how store.Saving, by string) error
	Delete(ctx context.Context, name string) error
}

// errNoDefinitions is what Java says where they are switched off (accounts.md 2).
var errNoDefinitions = problem{status: http.StatusInternalServerError, message: "Cannot use AccountDefinitionService endpoints without enabling AccountDefinitionService bean"}

// maxDefinition bounds a body: a kubeconfig is in it.
const maxDefinition = 1 << 20

const definitionsPage = 100

// definitions lists those of a type, from a name on (accounts.md 2.2).
func (s *Server) definitions(r *request) (reply, error) {
	if s.Definitions == nil {
		return reply{}, errNoDefinitions
	}
	q := r.URL.Query()
	most, err := positive(q, "limit", definitionsPage, 1000)
	if err != nil {
		return reply{}, err
	}
	rows, err := s.Definitions.Definitions(r.Context(), r.path["type"], q.Get("startingAccountName"), most)
	if err != nil {
		return reply{}, definitionProblem(err)
	}
	out := make([]json.RawMessage, 0, len(rows))
	for _, row := range rows {
		if r.caller.Account(row.Name, auth.Write) != nil {
			continue
		}
		shown, err := withoutNulls([]byte(row.Body))
		if err != nil {
			s.Log.Warn("an account definition that is no JSON is left out of a list", "account", row.Name)
			continue
		}
		out = append(out, shown)
	}
	return model(out)
}

// withoutNulls is an object without the members that say nothing.
func withoutNulls(body []byte) (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		return nil, errors.New("it is no JSON object")
	}
	for key, value := range object {
		if bytes.Equal(bytes.TrimSpace(value), []byte("null")) {
			delete(object, key)
		}
	}
	return json.Marshal(object)
}

// definitionOf reads a definition from a body.
func (s *Server) definitionOf(r *request) (store.Definition, error) {
	body, err := r.within(maxDefinition)
	if err != nil {
		return store.Definition{}, err
	}
	shown, err := withoutNulls(body)
	if err != nil {
		return store.Definition{}, bad("the body must be an account definition, an object with name and type")
	}
	var d struct {
		Name, Type string
		AtType     string `json:"@type"`
	}
	if err := json.Unmarshal(shown, &d); err != nil {
		return store.Definition{}, bad("name and type must be texts")
	}
	if d.Type == "" {
		d.Type = d.AtType
	}
	r.about = d.Name
	switch {
	case d.Name == "":
		return store.Definition{}, bad("name: must be given")
	case d.Type == "":
		return store.Definition{}, bad("type: must be given")
	case !slices.Contains(s.Definitions.Kinds(), d.Type):
		return store.Definition{}, bad("type: %q is not supported, only %s", d.Type, strings.Join(s.Definitions.Kinds(), " and "))
	}
	return store.Definition{Name: d.Name, Type: d.Type, Body: string(shown)}, nil
}

// mayModify says whether the caller may change an account that is there.
func (s *Server) mayModify(r *request, name string) error {
	if s.Auth.On() {
		if err := r.caller.Account(name, auth.Write); err != nil {
			return refusal(err)
		}
	}
	return nil
}

// spelledOnce refuses a name that another account has in other letters: Fiat, and
// many databases, take both for one.
func (s *Server) spelledOnce(name string) error {
	accounts, _ := s.Accounts.List()
	names := make([]string, 0, len(accounts))
	for _, a := range accounts {
		names = append(names, a.Name)
	}
	for _, a := range s.registries() {
		names = append(names, a.Name)
	}
	for _, taken := range names {
		if taken != name && strings.EqualFold(taken, name) {
			return bad("name: there is an account %s already, which differs in its letters' case only", taken)
		}
	}
	return nil
}

// ofCallersRoles refuses a definition that its maker could not change any more.
func ofCallersRoles(r *request, row store.Definition) error {
	values, err := account.Values(row)
	if err != nil {
		return bad("%v", err)
	}
	permissions, err := config.PermissionsOf(values)
	if err != nil {
		return bad("permissions: %v", err)
	}
	var roles []string
	for authorization, of := range permissions {
		if strings.EqualFold(authorization, string(auth.Write)) {
			roles = append(roles, of...)
		}
	}
	if len(roles) > 0 && !r.caller.HasRole(roles) {
		return bad("permissions.WRITE: none of its roles is yours, so that you could not change the account any more")
	}
	return nil
}

func (s *Server) createDefinition(r *request) (reply, error) {
	return s.saveDefinition(r, store.Creating, func(row store.Definition, live bool) error {
		if live {
			return bad("name: there is an account %s already", row.Name)
		}
		return nil
	})
}

func (s *Server) putDefinition(r *request) (reply, error) {
	return s.saveDefinition(r, store.Upserting, func(row store.Definition, live bool) error {
		if live {
			return s.mayModify(r, row.Name)
		}
		return nil
	})
}

func (s *Server) updateDefinition(r *request) (reply, error) {
	return s.saveDefinition(r, store.Changing, func(row store.Definition, live bool) error {
		switch {
		case row.Name != r.path["account"]:
			return bad("name: %q is not the account of the path", row.Name)
		case !live:
			return bad("name: there is no account %s", row.Name)
		}
		return s.mayModify(r, row.Name)
	})
}

func (s *Server) saveDefinition(r *request, how store.Saving, may func(row store.Definition, live bool) error) (reply, error) {
	if s.Definitions == nil {
		return reply{}, errNoDefinitions
	}
	row, err := s.definitionOf(r)
	if err != nil {
		return reply{}, err
	}
	if err := s.spelledOnce(row.Name); err != nil {
		return reply{}, err
	}
	if err := may(row, s.isOurs(row.Name)); err != nil {
		return reply{}, err
	}
	// One that is kept but could not be loaded is not live, and somebody's all the
	// same.
	switch _, err := s.Definitions.Definition(r.Context(), row.Name); {
	case err == nil && how != store.Creating:
		if err := s.mayModify(r, row.Name); err != nil {
			return reply{}, err
		}
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return reply{}, definitionProblem(err)
	}
	if err := s.Definitions.Check(row); err != nil {
		return reply{}, bad("%v", err)
	}
	if err := ofCallersRoles(r, row); err != nil {
		return reply{}, err
	}
	if err := s.Definitions.Save(r.Context(), row, how, r.caller.User); err != nil {
		return reply{}, definitionProblem(err)
	}
	return reply{answer: newAnswer([]byte(row.Body))}, nil
}

func (s *Server) deleteDefinition(r *request) (reply, error) {
	r.about = r.path["account"]
	if s.Definitions == nil {
		return reply{}, errNoDefinitions
	}
	if err := s.mayModify(r, r.about); err != nil {
		return reply{}, err
	}
	if err := s.Definitions.Delete(r.Context(), r.about); err != nil {
		return reply{}, definitionProblem(err)
	}
	return reply{}, nil
}

// definitionHistory tells what a definition was, the newest first.
func (s *Server) definitionHistory(r *request) (reply, error) {
	if s.Definitions == nil {
		return reply{}, errNoDefinitions
	}
	if err := s.mayModify(r, r.path["account"]); err != nil {
		return reply{}, err
	}
	versions, err := s.Definitions.DefinitionHistory(r.Context(), r.path["account"])
	if err != nil {
		return reply{}, definitionProblem(err)
	}
	type version struct {
		Version   int             `json:"version"`
		Timestamp int64           `json:"timestamp"`
		Account   json.RawMessage `json:"account,omitempty"`
	}
	out := make([]version, 0, len(versions))
	for _, v := range versions {
		one := version{Version: v.Version, Timestamp: v.At.UnixMilli()}
		if v.Body != "" {
			if one.Account, err = withoutNulls([]byte(v.Body)); err != nil {
				continue // nobody can read it
			}
		}
		out = append(out, one)
	}
	return model(out)
}

// definitionProblem maps the errors of the database.
func definitionProblem(err error) error {
	switch {
	case errors.Is(err, store.ErrExists):
		return bad("name: there is a definition of that name already")
	case errors.Is(err, store.ErrNotFound):
		return problem{status: http.StatusNotFound, message: "Account definition not found"}
	case errors.Is(err, store.ErrUnavailable):
		return problem{status: http.StatusServiceUnavailable, message: "the database of accounts cannot be used: " + err.Error()}
	}
	return err
}
