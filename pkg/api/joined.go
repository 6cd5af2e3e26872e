package api

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
)

// Fallback is another Clouddriver, which has the accounts and providers that
// this one has not; fallback.Fallback is one.
type Fallback interface {
	HandOver(w http.ResponseWriter, r *http.Request, fail func(error))
	List(r *http.Request, route string) (fallback.Answer, error)
	Combine(j *fallback.Join, q fallback.Question, mine []byte, part fallback.Answer, err error) (body []byte, failed error)
}

// FallbackHeader says that a list goes without what the fallback has.
const FallbackHeader = "X-Clouddriver-Fallback"

// elsewhere lets the fallback answer for what this service has not, alone or
// beside it; false when the request is ours.
func (s *Server) elsewhere(w http.ResponseWriter, r *request) bool {
	who, err := s.whose(r)
	switch {
	case err != nil:
		s.fail(w, r, err)
	case who == fallback.Theirs:
		s.handOver(w, r)
	case who == fallback.OursFirst:
		s.oursFirst(w, r)
	case who == fallback.Joined:
		s.joined(w, r)
	default:
		return false
	}
	return true
}

func (s *Server) isOurs(accountName string) bool {
	_, registry := s.registry(accountName)
	return registry || s.isCluster(accountName)
}

// whose decides by the route's row, and by the account and the provider.
func (s *Server) whose(r *request) (fallback.Whose, error) {
	if !fallback.MayHandOver(r.URL.Path) {
		return fallback.Ours, nil
	}
	accountName, provider := r.path["account"], r.path["provider"]
	switch r.route.side {
	case theirs:
		return fallback.Theirs, nil
	case byAccount:
		if !s.isOurs(accountName) {
			return fallback.Theirs, nil
		}
	case byProvider:
		if provider != kubernetes {
			return fallback.Theirs, nil
		}
	case firstOurs:
		if provider != "" && provider != kubernetes {
			return fallback.Theirs, nil
		}
		return fallback.OursFirst, nil
	case byOperations:
		return s.whoseOperations(r)
	case byBody:
		return s.whoseBody(r)
	case byArtifact:
		return s.whoseArtifact(r), nil
	case byStore:
		if s.ArtifactStore == nil {
			return fallback.Theirs, nil
		}
	case byRegistry:
		return s.whoseTags(r), nil
	case joined:
		return fallback.Joined, nil
	case ours:
	}
	return fallback.Ours, nil
}

// otherMethods answers a path that there is for other methods: it is ours if one
// of those would be.
func (s *Server) otherMethods(matches chi.Routes, wrong http.HandlerFunc) http.HandlerFunc {
	rows := map[string]route{}
	for _, row := range routes() {
		rows[row.method+" "+row.pattern] = row
	}
	return func(w http.ResponseWriter, plain *http.Request) {
		for _, method := range []string{get, post, put, del, patch} {
			matched := chi.NewRouteContext()
			row, ok := rows[method+" "+matches.Find(matched, method, plain.URL.RawPath)]
			if !ok || row.side == theirs {
				continue
			}
			row.errors = spinnakers
			r := &request{Request: plain, route: &row, path: map[string]string{"account": matched.URLParam("account"), "provider": matched.URLParam("provider")}}
			if row.side == byAccount && !s.isOurs(r.path["account"]) || r.path["provider"] != "" && r.path["provider"] != kubernetes {
				continue
			}
			s.fail(w, r, problem{status: http.StatusMethodNotAllowed, message: "Request method '" + plain.Method + "' not supported"})
			return
		}
		wrong(w, plain)
	}
}

// whoseOperations reads a request of operations.
func (s *Server) whoseOperations(r *request) (fallback.Whose, error) {
	provider := r.path["provider"]
	requests, err := operationsOf(r)
	switch {
	case provider != "" && provider != kubernetes:
		if err == nil {
			err = s.mayHandOver(r, requests)
		}
		return fallback.Theirs, err
	case err != nil:
		return fallback.Ours, nil //nolint:nilerr // the handler says what is wrong
	}
	var operations []fallback.Operation
	for _, request := range requests {
		var d struct{ Account, Credentials, CloudProvider string }
		if json.Unmarshal(request.Body, &d) != nil {
			return fallback.Ours, nil //nolint:nilerr // as above
		}
		bare, _, _ := strings.Cut(request.Name, "@")
		operations = append(operations, fallback.Operation{
			Name: request.Name, Account: cmp.Or(d.Account, d.Credentials), Provider: cmp.Or(provider, d.CloudProvider),
			Known: slices.Contains(operation.Names(), bare),
		})
	}
	who, err := fallback.WhoseOperations(operations, s.isOurs)
	if err != nil {
		return who, bad("%v", err)
	}
	if who == fallback.Theirs {
		return who, s.mayHandOver(r, requests)
	}
	return who, nil
}

// mayHandOver refuses operations on accounts of the other that the caller may
// not write to: it may trust whoever is let through here.
func (s *Server) mayHandOver(r *request, requests []operation.Request) error {
	if err := r.caller.Known(); err != nil {
		return refusal(err)
	}
	var findings []string
	for _, request := range requests {
		names, err := accountsOf(request.Body)
		if err != nil {
			return bad("%s: %v", request.Name, err)
		}
		for _, name := range names {
			if finding, ok := s.mayOperate(r, name, request.Name); !ok {
				findings = append(findings, finding)
			}
		}
	}
	if len(findings) > 0 {
		return refused(findings)
	}
	return nil
}

// accountsOf are the accounts that a description names, by every member that the
// other may read: their spelling counts there, and here nothing is read for another.
func accountsOf(body []byte) ([]string, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, errors.New("the description must be an object")
	}
	var out []string
	for key, value := range members {
		if !strings.EqualFold(key, "account") && !strings.EqualFold(key, "credentials") {
			continue
		}
		var name string
		if err := json.Unmarshal(value, &name); err != nil {
			return nil, fmt.Errorf("%s: must be a text", key)
		}
		if name != "" {
			out = append(out, name)
		}
	}
	return out, nil
}

// whoseBody gives the refresh of an object to who has its account.
func (s *Server) whoseBody(r *request) (fallback.Whose, error) {
	if r.path["provider"] != kubernetes {
		return fallback.Theirs, nil
	}
	const most = 1 << 20
	body, err := r.within(most)
	if err != nil {
		return fallback.Ours, err
	}
	var d struct{ Account, Credentials string }
	if json.Unmarshal(body, &d) != nil {
		return fallback.Ours, nil //nolint:nilerr // the handler says what is wrong
	}
	if name := cmp.Or(d.Account, d.Credentials); name != "" && !s.isOurs(name) {
		return fallback.Theirs, nil
	}
	return fallback.Ours, nil
}

// handOver takes no place of ours: one that does not answer must not use them up.
func (s *Server) handOver(w http.ResponseWriter, r *request) {
	r.done()
	r.rewind()
	s.Fallback.HandOver(w, r.Request, func(err error) {
		status := http.StatusServiceUnavailable
		if errors.Is(err, fallback.ErrMethod) {
			status = http.StatusMethodNotAllowed
		}
		s.fail(w, r, problem{status: status, message: err.Error()})
	})
}

// oursFirst asks the fallback where we answer 404.
func (s *Server) oursFirst(w http.ResponseWriter, r *request) {
	rep, err := s.answer(r)
	switch {
	case err == nil:
		s.send(w, r, rep)
	case problemOf(err).status == http.StatusNotFound:
		s.handOver(w, r)
	default:
		s.fail(w, r, err)
	}
}

// joined answers with what both have. Where the fallback's part is missing, a
// list is ours alone and a header says so. What we do not know and could not ask
// for is not said to be absent: Orca takes that for leave to delete.
func (s *Server) joined(w http.ResponseWriter, r *request) {
	question := fallback.Question{Query: r.URL.Query(), IsOurs: s.isOurs}
	if !r.caller.SeesEverything() {
		question.SeesAccount, question.SeesApplication = r.caller.SeesAccount, r.caller.SeesApplication
	}
	type part struct {
		fallback.Answer
		err error
	}
	asked := make(chan part, 1)
	other := r.Request
	if r.route.join.Ask != nil {
		other = r.route.join.Ask(question, r.Request)
	}
	if other == nil {
		asked <- part{Answer: fallback.Answer{Status: http.StatusNotFound}} // it has nothing to add
	} else {
		go func() {
			a, err := s.Fallback.List(other, r.route.pattern)
			asked <- part{a, err}
		}()
	}
	taken := false
	defer func() {
		if !taken {
			go func() { (<-asked).Release() }() // it comes within its deadline
		}
	}()
	rep, err := s.answer(r)
	r.done() // waiting for the other takes no place
	found := err == nil
	if !found && problemOf(err).status != http.StatusNotFound {
		s.fail(w, r, err)
		return
	}
	var mine []byte
	if found {
		mine = rep.answer.body()
	}
	theirPart := <-asked
	taken = true
	defer theirPart.Release()
	body, failed := s.Fallback.Combine(r.route.join, question, mine, theirPart.Answer, theirPart.err)
	header := w.Header()
	for _, name := range []string{FallbackHeader, StaleHeader} {
		for _, value := range theirPart.Header.Values(name) {
			header.Add(name, value)
		}
	}
	switch {
	case failed == nil && body == nil: // nobody has it
		s.fail(w, r, err)
	case failed == nil:
		s.send(w, r, answered(newAnswer(body), rep.about...))
	case !found && theirPart.err == nil && theirPart.Status >= http.StatusBadRequest && theirPart.Status < http.StatusInternalServerError:
		header.Set("Content-Type", theirPart.Header.Get("Content-Type"))
		header.Set("Content-Length", strconv.Itoa(len(theirPart.Body)))
		w.WriteHeader(theirPart.Status) // what it refuses
		_, _ = w.Write(theirPart.Body)  // the caller may be gone
	case !found:
		s.fail(w, r, problem{status: http.StatusServiceUnavailable, message: "not known here, and the fallback could not be asked: " + failed.Error()})
	default:
		if !errors.Is(failed, fallback.ErrResting) {
			s.Log.Warn("a list goes without the fallback's part", "path", r.URL.Path, "error", failed)
		}
		header.Set(FallbackHeader, "unavailable")
		s.send(w, r, answered(newAnswer(body), rep.about...))
	}
}
