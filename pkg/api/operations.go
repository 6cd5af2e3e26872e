package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-chi/chi/v5"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
)

// Tasks runs requests; task.Runner is one.
type Tasks interface {
	Submit(ctx context.Context, c task.Context, requests []operation.Request) (id string, err error)
	Get(ctx context.Context, id string) (task.Task, error)
	Running(ctx context.Context) ([]task.Task, error)
	Resume(ctx context.Context, id string) error
	Mark(ctx context.Context, id string, retryable bool) error
	DryRun(ctx context.Context, c task.Context, ops []operation.Operation) ([]operation.Preview, error)
}

// Cluster is what the API reads of a cluster beside the index; cluster.Client
// is one.
type Cluster interface {
	operation.Cluster
	Events(ctx context.Context, namespace, kind, name string) ([]*unstructured.Unstructured, error)
	Logs(ctx context.Context, namespace, pod, container string) (io.ReadCloser, error)
	Metrics(ctx context.Context, namespace, pod string) (*unstructured.Unstructured, error)
	Delete(ctx context.Context, r cluster.Resource, namespace, name string, options metav1.DeleteOptions) error
}

// Clients gives the client of an account.
type Clients interface {
	Client(accountName string) (Cluster, error)
}

// ClientFunc makes Clients of a fleet's; it spares everybody a type for it.
type ClientFunc func(accountName string) (*cluster.Client, error)

// Client gives the client of an account.
func (f ClientFunc) Client(accountName string) (Cluster, error) {
	c, err := f(accountName)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// bodyLimit bounds a request of operations: Orca sends its whole stage context.
const bodyLimit = 64 << 20

func (s *Server) operationRoutes(r chi.Router) {
	r.Post("/{provider}/ops", s.operate)
	r.Post("/{provider}/ops/{name}", s.operate)
	r.Post("/ops", s.operate)
	r.Post("/ops/{name}", s.operate)
	r.Get("/task", s.tasks)
	r.Get("/task/{id}", s.task)
	r.Post("/task/{id}", s.resume)
	r.Patch("/{provider}/task/{id}", s.markTask)
	r.Post("/{provider}/task/{id}/restart", s.restartTask)
	r.Get("/{provider}/task/{id}/owner", s.taskOwner)
}

// refused is a request that does not hold up to validation.
func refused(errs []string) error {
	return problem{status: http.StatusBadRequest, message: "Validation Failed", errors: errs}
}

func bad(format string, args ...any) error {
	return problem{status: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

// operate accepts a request of operations: everything that can be refused is
// refused here, and what goes wrong later is a failed task (operations.md 1).
func (s *Server) operate(w http.ResponseWriter, r *http.Request) {
	requests, ops, err := s.requested(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	c := contextOf(r)
	c.ClientRequestID = r.URL.Query().Get("clientRequestId")
	const longest = 255
	if len(c.ClientRequestID) > longest {
		s.fail(w, r, bad("clientRequestId: %d characters are more than %d", len(c.ClientRequestID), longest))
		return
	}
	if boolean(r.URL.Query(), "dryRun", false) {
		s.dryRun(w, r, c, ops)
		return
	}
	id, err := s.Tasks.Submit(r.Context(), c, requests)
	if err != nil {
		s.failTask(w, r, err)
		return
	}
	s.answerTask(w, r, id)
}

func (s *Server) answerTask(w http.ResponseWriter, r *http.Request, id string) {
	s.json(w, r, map[string]string{"id": id, "resourceUri": "/task/" + id})
}

// json writes a model that is not worth caching.
func (s *Server) json(w http.ResponseWriter, r *http.Request, model any) {
	body, err := json.Marshal(model)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(body) // the caller may be gone
}

func (s *Server) requested(r *http.Request) ([]operation.Request, []operation.Operation, error) {
	p, err := segments(r, "provider", "name")
	if err != nil {
		return nil, nil, err
	}
	provider, name := p[0], p[1]
	if provider != "" && provider != kubernetes {
		return nil, nil, bad("cloudProvider: %q is not supported, only kubernetes", provider)
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, bodyLimit))
	if err != nil {
		return nil, nil, bad("read the body: %v", err)
	}
	requests := []operation.Request{{Name: name, Body: body}}
	if name == "" {
		if requests, err = operation.Split(body); err != nil {
			return nil, nil, bad("%v", err)
		}
	}
	ops := []operation.Operation{}
	for _, request := range requests {
		said := provider
		if provider == "" {
			var d struct {
				CloudProvider string `json:"cloudProvider"`
			}
			_ = json.Unmarshal(request.Body, &d) // Decode says what is wrong
			said = d.CloudProvider
		}
		if said != kubernetes {
			return nil, nil, bad("cloudProvider: %q is not supported, only kubernetes", said)
		}
		op, err := operation.Decode(request)
		var finding operation.FindingError
		if errors.As(err, &finding) {
			return nil, nil, refused([]string{finding.Error()})
		}
		if err != nil {
			return nil, nil, bad("%v", err)
		}
		ops = append(ops, op)
	}
	var findings []string
	scopes := map[string]func(string) bool{}
	for _, op := range ops {
		a, ok := s.Accounts.Get(op.AccountName())
		if !ok {
			return nil, nil, bad("credentials not found (name: %s)", op.AccountName())
		}
		if !allowed(a, r) {
			findings = append(findings, "Access denied to account "+a.Name)
			continue
		}
		if scopes[a.Name] == nil {
			scopes[a.Name] = s.namespaced(r.Context(), a.Name)
		}
		findings = append(findings, op.Validate(&operation.Validation{Account: a, Namespaced: scopes[a.Name]})...)
	}
	if len(findings) > 0 {
		return nil, nil, refused(slices.Compact(findings))
	}
	return requests, ops, nil
}

// allowed is the rule while there is no Fiat: who may use a restricted account
// is said by Gate (accounts.md 8.8).
func allowed(a *account.Account, r *http.Request) bool {
	if !a.Restricted() {
		return true
	}
	for name := range strings.SplitSeq(r.Header.Get("X-Spinnaker-Accounts"), ",") {
		if strings.EqualFold(strings.TrimSpace(name), a.Name) {
			return true
		}
	}
	return false
}

// namespaced tells the scope of kinds; the cluster is asked only for one that
// is not in the table, when it has not been asked before, and once at the most.
func (s *Server) namespaced(ctx context.Context, accountName string) func(string) bool {
	served := sync.OnceValue(func() *cluster.Catalog {
		ctx, cancel := context.WithTimeout(ctx, s.Limits.NotSyncedDeadline)
		defer cancel()
		client, err := s.Clients.Client(accountName)
		if err != nil {
			return cluster.NewCatalog()
		}
		catalog, err := client.Catalog(ctx)
		if err != nil {
			return cluster.NewCatalog()
		}
		return catalog
	})
	return func(kindText string) bool {
		if k, ok := spinnaker.LookupKind(kindText); ok {
			return !k.ClusterScoped
		}
		r, ok := served().Find(kindText)
		return !ok || r.Namespaced
	}
}

func contextOf(r *http.Request) task.Context {
	h := r.Header
	return task.Context{
		User: h.Get("X-Spinnaker-User"), Application: h.Get("X-Spinnaker-Application"), RequestID: h.Get("X-Spinnaker-Request-Id"),
		ExecutionID: h.Get("X-Spinnaker-Execution-Id"), ExecutionType: h.Get("X-Spinnaker-Execution-Type"), UserOrigin: h.Get("X-Spinnaker-User-Origin"),
	}
}

// failTask maps the errors of tasks. 500 would end Orca's stage at once, 503
// makes it ask again (operations.md 0.1).
func (s *Server) failTask(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, task.ErrNotFound):
		err = problem{status: http.StatusNotFound, message: err.Error()}
	case errors.Is(err, task.ErrNotRetryable):
		err = bad("%v", err)
	case errors.Is(err, store.ErrTooLarge):
		err = problem{status: http.StatusRequestEntityTooLarge, message: "the request is " + err.Error() + ": raise that, or deploy in parts"}
	case errors.Is(err, task.ErrRunning):
		err = problem{status: http.StatusConflict, message: err.Error()}
	default:
		w.Header().Set("Retry-After", "5")
		message := err.Error()
		if errors.Is(err, store.ErrUnavailable) {
			message = "the database of tasks cannot be used: " + message
		}
		err = problem{status: http.StatusServiceUnavailable, message: message}
	}
	s.fail(w, r, err)
}

func (s *Server) tasks(w http.ResponseWriter, r *http.Request) {
	running, err := s.Tasks.Running(r.Context())
	if err != nil {
		s.failTask(w, r, err)
		return
	}
	s.json(w, r, running)
}

func (s *Server) task(w http.ResponseWriter, r *http.Request) {
	if t, ok := s.taskOf(w, r, "id"); ok {
		s.json(w, r, t)
	}
}

func (s *Server) taskOf(w http.ResponseWriter, r *http.Request, parameter string) (task.Task, bool) {
	p, err := segments(r, parameter)
	if err != nil {
		s.fail(w, r, err)
		return task.Task{}, false
	}
	t, err := s.Tasks.Get(r.Context(), p[0])
	if err != nil {
		s.failTask(w, r, err)
		return task.Task{}, false
	}
	return t, true
}

// resume is POST /task/{id}:resume; the router sees one segment.
func (s *Server) resume(w http.ResponseWriter, r *http.Request) {
	p, err := segments(r, "id")
	if err != nil {
		s.fail(w, r, err)
		return
	}
	id, ok := strings.CutSuffix(p[0], ":resume")
	if !ok {
		s.fail(w, r, problem{status: http.StatusNotFound, message: "No handler found for POST " + r.URL.Path})
		return
	}
	if err := s.Tasks.Resume(r.Context(), id); err != nil {
		s.failTask(w, r, err)
		return
	}
	s.answerTask(w, r, id)
}

// own refuses task routes of other providers.
func own(r *http.Request) (id string, err error) {
	p, err := segments(r, "provider", "id")
	if err != nil {
		return "", err
	}
	if p[0] != kubernetes {
		return "", bad("cloudProvider: %q is not supported, only kubernetes", p[0])
	}
	return p[1], nil
}

func (s *Server) markTask(w http.ResponseWriter, r *http.Request) {
	id, err := own(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	var body struct {
		Retry *bool `json:"retry"`
	}
	const most = 1 << 20
	if err := json.NewDecoder(io.LimitReader(r.Body, most)).Decode(&body); err != nil || body.Retry == nil {
		s.fail(w, r, bad(`the body must be {"retry": true} or {"retry": false}`))
		return
	}
	if err := s.Tasks.Mark(r.Context(), id, *body.Retry); err != nil {
		s.failTask(w, r, err)
		return
	}
	s.answerTask(w, r, id)
}

// restartTask runs the operations of a task again under its request.
func (s *Server) restartTask(w http.ResponseWriter, r *http.Request) {
	if _, err := own(r); err != nil {
		s.fail(w, r, err)
		return
	}
	t, ok := s.taskOf(w, r, "id")
	if !ok {
		return
	}
	if !t.Restartable {
		s.failTask(w, r, task.ErrNotRetryable)
		return
	}
	requests, _, err := s.requested(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	c := contextOf(r)
	c.ClientRequestID = t.RequestID
	id, err := s.Tasks.Submit(r.Context(), c, requests)
	if err != nil {
		s.failTask(w, r, err)
		return
	}
	s.answerTask(w, r, id)
}

func (s *Server) taskOwner(w http.ResponseWriter, r *http.Request) {
	if _, err := own(r); err != nil {
		s.fail(w, r, err)
		return
	}
	if t, ok := s.taskOf(w, r, "id"); ok {
		_, host, _ := strings.Cut(t.OwnerID, "@")
		s.json(w, r, map[string]string{"name": host})
	}
}

const dryRunTimeout = time.Minute

// dryRun answers what a request would do.
func (s *Server) dryRun(w http.ResponseWriter, r *http.Request, c task.Context, ops []operation.Operation) {
	ctx, cancel := context.WithTimeout(r.Context(), dryRunTimeout)
	defer cancel()
	previews, err := s.Tasks.DryRun(ctx, c, ops)
	if err != nil {
		s.fail(w, r, bad("%v", err))
		return
	}
	s.json(w, r, map[string]any{"dryRun": true, "operations": previews})
}
