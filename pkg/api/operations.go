package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
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
	Rediscover(ctx context.Context) (*cluster.Catalog, error)
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

// refused is a request that does not hold up to validation.
func refused(errs []string) error {
	return problem{status: http.StatusBadRequest, message: "Validation Failed", errors: errs}
}

func bad(format string, args ...any) error {
	return problem{status: http.StatusBadRequest, message: fmt.Sprintf(format, args...)}
}

// operate accepts a request of operations: everything that can be refused is
// refused here, and what goes wrong later is a failed task (operations.md 1).
func (s *Server) operate(r *request) (reply, error) {
	requests, ops, err := s.requested(r)
	if err != nil {
		return reply{}, err
	}
	c := contextOf(r, ops)
	c.ClientRequestID = r.URL.Query().Get("clientRequestId")
	const longest = 255
	if len(c.ClientRequestID) > longest {
		return reply{}, bad("clientRequestId: %d characters are more than %d", len(c.ClientRequestID), longest)
	}
	if boolean(r.URL.Query(), "dryRun", false) {
		return s.dryRun(r, c, ops)
	}
	id, err := s.Tasks.Submit(r.Context(), c, requests)
	if err != nil {
		return reply{}, taskProblem(err)
	}
	return answerTask(id)
}

func answerTask(id string) (reply, error) {
	return model(map[string]string{"id": id, "resourceUri": "/task/" + id})
}

// requested takes the operations of a request apart and validates them.
func (s *Server) requested(r *request) ([]operation.Request, []operation.Operation, error) {
	provider := r.path["provider"]
	if provider != "" && provider != kubernetes {
		return nil, nil, bad("cloudProvider: %q is not supported, only kubernetes", provider)
	}
	values, err := withinLimits(r.body)
	if err != nil {
		return nil, nil, err
	}
	free, err := s.Memory.Take(values * valueBytes)
	defer free()
	if err != nil {
		return nil, nil, memoryProblem(err)
	}
	requests, err := operationsOf(r)
	if err != nil {
		return nil, nil, err
	}
	freeExpanded, err := s.expandAll(r, requests)
	defer freeExpanded()
	if err != nil {
		return nil, nil, err
	}
	if err := manifestsWithinLimit(requests); err != nil {
		return nil, nil, err
	}
	ops, err := s.validated(r, provider, requests)
	for i := range requests {
		requests[i] = operation.Trimmed(requests[i])
	}
	return requests, ops, err
}

// expandAll puts stored manifests into the requests, and takes the memory that they
// add.
func (s *Server) expandAll(r *request, requests []operation.Request) (free func(), err error) {
	more := int64(0)
	for i, request := range requests {
		if requests[i], err = s.expanded(r, request); err != nil {
			return func() {}, err
		}
		if len(requests[i].Body) == len(request.Body) {
			continue
		}
		values, err := withinLimits(requests[i].Body)
		if err != nil {
			return func() {}, err
		}
		more += values*valueBytes + int64(len(requests[i].Body))
	}
	if free, err = s.Memory.Take(more); err != nil {
		return free, memoryProblem(err)
	}
	return free, nil
}

// operationsOf takes the operations of a request apart: a single one is named in
// the path.
func operationsOf(r *request) ([]operation.Request, error) {
	if name := r.path["name"]; name != "" {
		return []operation.Request{{Name: name, Body: r.body}}, nil
	}
	requests, err := operation.Split(r.body)
	if err != nil {
		return nil, bad("%v", err)
	}
	return requests, nil
}

// The limits that the Java services have since 2025.4 (operations.md 1.1).
const (
	textLimit  = 50_000_000
	depthLimit = 2000
)

// valueBytes is what a decoded value takes, and a little more: an empty object
// of a map is 48 bytes, and stands in an interface in a list.
const valueBytes = 128

// withinLimits refuses what the Java services refuse, too, naming the limit, and
// counts the values.
func withinLimits(body []byte) (values int64, err error) {
	depth, text := 0, 0
	inText, escaped := false, false
	for _, b := range body {
		switch {
		case inText && escaped:
			escaped = false
		case inText && b == '\\':
			escaped = true
		case b == '"':
			inText, text = !inText, 0
		case inText:
			if text++; text > textLimit {
				return 0, bad("the body holds a text of more than %d bytes", textLimit)
			}
		case b == '{' || b == '[':
			values++
			if depth++; depth > depthLimit {
				return 0, bad("the body is nested more than %d levels deep", depthLimit)
			}
		case b == '}' || b == ']':
			depth--
		case b == ',' || b == ':':
			values++
		}
	}
	return values, nil
}

// manifestLimit is more than a cluster takes: etcd has a limit of 1.5 MiB, and
// API servers one of 3 MiB.
const manifestLimit = 3 << 20

// manifestsWithinLimit refuses manifests that no cluster takes, before they are
// decoded.
func manifestsWithinLimit(requests []operation.Request) error {
	for _, request := range requests {
		var d struct {
			Manifest  json.RawMessage   `json:"manifest"`
			Manifests []json.RawMessage `json:"manifests"`
		}
		if json.Unmarshal(request.Body, &d) != nil {
			continue // Decode says what is wrong
		}
		for i, manifest := range d.Manifests {
			if len(manifest) > manifestLimit {
				return bad("%s.manifests[%d]: %d bytes are more than %d, which is what API servers take", request.Name, i, len(manifest), manifestLimit)
			}
		}
		if len(d.Manifest) > manifestLimit {
			return bad("%s.manifest: %d bytes are more than %d, which is what API servers take", request.Name, len(d.Manifest), manifestLimit)
		}
	}
	return nil
}

// validated decodes operations and refuses what can be refused before anything
// acts. Without a provider each operation names its own.
func (s *Server) validated(r *request, provider string, requests []operation.Request) ([]operation.Operation, error) {
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
			return nil, bad("cloudProvider: %q is not supported, only kubernetes", said)
		}
		op, err := operation.Decode(request)
		var finding operation.FindingError
		if errors.As(err, &finding) {
			return nil, refused([]string{finding.Error()})
		}
		if err != nil {
			return nil, bad("%v", err)
		}
		ops = append(ops, op)
	}
	var findings []string
	scopes := map[string]func(string) bool{}
	for _, op := range ops {
		a, ok := s.Accounts.Get(op.AccountName())
		if !ok {
			return nil, bad("credentials not found (name: %s)", op.AccountName())
		}
		if finding, ok := s.mayOperate(r, a.Name, op.Name()); !ok {
			findings = append(findings, finding)
			continue
		}
		if scopes[a.Name] == nil {
			scopes[a.Name] = s.namespaced(r.Context(), a.Name)
		}
		findings = append(findings, op.Validate(&operation.Validation{Account: a, Namespaced: scopes[a.Name], OnCancel: s.Jobs.OnCancel})...)
	}
	if len(findings) > 0 {
		return nil, refused(slices.Compact(findings))
	}
	return ops, nil
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

// contextOf is who asks for what: recorded with the task, for those who look at
// it or go on with it.
func contextOf(r *request, ops []operation.Operation) task.Context {
	h := r.Header
	accounts := map[string]bool{}
	for _, op := range ops {
		accounts[op.AccountName()] = true
	}
	return task.Context{
		Accounts: slices.Sorted(maps.Keys(accounts)),
		User:     h.Get("X-Spinnaker-User"), Application: h.Get("X-Spinnaker-Application"), RequestID: h.Get("X-Spinnaker-Request-Id"),
		ExecutionID: h.Get("X-Spinnaker-Execution-Id"), ExecutionType: h.Get("X-Spinnaker-Execution-Type"), UserOrigin: h.Get("X-Spinnaker-User-Origin"),
	}
}

// taskProblem maps the errors of tasks. 500 would end Orca's stage at once, 503
// makes it ask again (operations.md 0.1).
func taskProblem(err error) error {
	if p := problemOf(err); p.status != http.StatusInternalServerError {
		return p
	}
	message := err.Error()
	if errors.Is(err, store.ErrUnavailable) {
		message = "the database of tasks cannot be used: " + message
	}
	return problem{status: http.StatusServiceUnavailable, message: message}
}

func (s *Server) tasks(r *request) (reply, error) {
	running, err := s.Tasks.Running(r.Context())
	if err != nil {
		return reply{}, taskProblem(err)
	}
	return model(slices.DeleteFunc(running, func(t task.Task) bool { return !seesTask(r.caller, t.User, t.Accounts) }))
}

func (s *Server) task(r *request) (reply, error) {
	t, err := s.taskOf(r)
	if err != nil {
		return reply{}, err
	}
	return model(t)
}

func noTask(id string) error { return view.NotFoundError("Task not found (id: " + id + ")") }

func (s *Server) taskOf(r *request) (task.Task, error) {
	t, err := s.Tasks.Get(r.Context(), r.path["id"])
	if errors.Is(err, task.ErrNotFound) {
		return t, noTask(r.path["id"])
	}
	if err != nil {
		return t, taskProblem(err)
	}
	return t, nil
}

// resume is POST /task/{id}:resume; the router sees one segment.
func (s *Server) resume(r *request) (reply, error) {
	id, ok := strings.CutSuffix(r.path["id"], ":resume")
	if !ok {
		return reply{}, problem{status: http.StatusNotFound, message: "No handler found for POST " + r.URL.Path}
	}
	err := s.Tasks.Resume(r.Context(), id)
	if errors.Is(err, task.ErrNotFound) {
		return reply{}, noTask(id)
	}
	if err != nil {
		return reply{}, taskProblem(err)
	}
	return answerTask(id)
}

// own refuses task routes of other providers.
func own(r *request) error {
	if r.path["provider"] != kubernetes {
		return bad("cloudProvider: %q is not supported, only kubernetes", r.path["provider"])
	}
	return nil
}

func (s *Server) markTask(r *request) (reply, error) {
	if err := own(r); err != nil {
		return reply{}, err
	}
	var body struct {
		Retry *bool `json:"retry"`
	}
	const most = 1 << 20
	if err := json.NewDecoder(io.LimitReader(r.Body, most)).Decode(&body); err != nil || body.Retry == nil {
		return reply{}, bad(`the body must be {"retry": true} or {"retry": false}`)
	}
	if err := s.Tasks.Mark(r.Context(), r.path["id"], *body.Retry); err != nil {
		return reply{}, taskProblem(err)
	}
	return answerTask(r.path["id"])
}

// restartTask runs the operations of a task again under its request.
func (s *Server) restartTask(r *request) (reply, error) {
	if err := own(r); err != nil {
		return reply{}, err
	}
	t, err := s.taskOf(r)
	if err != nil {
		return reply{}, err
	}
	if !t.Restartable {
		return reply{}, taskProblem(task.ErrNotRetryable)
	}
	requests, ops, err := s.requested(r)
	if err != nil {
		return reply{}, err
	}
	c := contextOf(r, ops)
	c.ClientRequestID = t.RequestID
	id, err := s.Tasks.Submit(r.Context(), c, requests)
	if err != nil {
		return reply{}, taskProblem(err)
	}
	return answerTask(id)
}

func (s *Server) taskOwner(r *request) (reply, error) {
	if err := own(r); err != nil {
		return reply{}, err
	}
	t, err := s.taskOf(r)
	if err != nil {
		return reply{}, err
	}
	_, host, _ := strings.Cut(t.OwnerID, "@")
	return model(map[string]string{"name": host})
}

const dryRunTimeout = time.Minute

// dryRun answers what a request would do.
func (s *Server) dryRun(r *request, c task.Context, ops []operation.Operation) (reply, error) {
	ctx, cancel := context.WithTimeout(r.Context(), dryRunTimeout)
	defer cancel()
	previews, err := s.Tasks.DryRun(ctx, c, ops)
	if err != nil {
		return reply{}, bad("%v", err)
	}
	return model(map[string]any{"dryRun": true, "operations": previews})
}
