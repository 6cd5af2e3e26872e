// Package task runs requests of operations as tasks that survive: a task is
// recorded before it acts and after each step, has one owner at a time, and is
// gone on with by another process when its owner is gone (operations.md 2 and
// 7.3).
package task

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// Phases of a history beside those of operations.
const (
	PhaseOrchestration = "ORCHESTRATION"
)

// Context is who asked and in which pipeline; it stays with the task.
type Context struct {
	User            string `json:"user,omitempty"`
	Application     string `json:"application,omitempty"`
	RequestID       string `json:"requestId,omitempty"`
	ExecutionID     string `json:"executionId,omitempty"`
	ExecutionType   string `json:"executionType,omitempty"`
	UserOrigin      string `json:"userOrigin,omitempty"`
	ClientRequestID string `json:"-"`
	// Accounts are those that the operations act on.
	Accounts []string `json:"accounts,omitempty"`
	// Trace is the W3C traceparent of the request, so that a task belongs to its
	// trace on whichever replica it runs.
	Trace string `json:"trace,omitempty"`
}

// attributes are those of the log.
func (c Context) attributes() []any {
	var out []any
	for _, a := range [][2]string{{"application", c.Application}, {"execution", c.ExecutionID}} {
		if a[1] != "" {
			out = append(out, a[0], a[1])
		}
	}
	return out
}

// Status is the state of a task as callers read it.
type Status struct {
	Complete  bool   `json:"complete"`
	Completed bool   `json:"completed"`
	Failed    bool   `json:"failed"`
	Retryable bool   `json:"retryable"`
	Phase     string `json:"phase"`
	Status    string `json:"status"`
}

// Line is one entry of the history.
type Line struct {
	Phase  string `json:"phase"`
	Status string `json:"status"`
}

// Task is the JSON of GET /task/{id} (operations.md 2.1; spinnaker/clouddriver,
// TaskController). No array is ever null.
type Task struct {
	ID            string            `json:"id"`
	Status        Status            `json:"status"`
	History       []Line            `json:"history"`
	ResultObjects []json.RawMessage `json:"resultObjects"`
	Outputs       []string          `json:"outputs"`
	SagaIDs       []string          `json:"sagaIds"`
	Retryable     bool              `json:"retryable"`
	OwnerID       string            `json:"ownerId"`
	RequestID     string            `json:"requestId"`
	StartTimeMs   int64             `json:"startTimeMs"`

	// Restartable tasks have failed and may be run again with the operations of
	// another request. Those that say retryable can be gone on with as they are.
	Restartable bool `json:"-"`
	// User has asked for it, and Accounts are those that it acts on: who may look
	// at it or go on with it is decided by them.
	User     string   `json:"-"`
	Accounts []string `json:"-"`
}

func shown(t store.Task) (Task, error) {
	out := Task{
		ID: t.ID, History: []Line{}, ResultObjects: []json.RawMessage{}, Outputs: []string{}, SagaIDs: []string{},
		OwnerID: t.Owner, RequestID: t.RequestID, StartTimeMs: t.Started.UnixMilli(),
	}
	out.User, out.Accounts = Asked(t)
	for _, l := range t.History {
		out.History = append(out.History, Line(l))
	}
	if n := len(out.History); n > 0 {
		out.Status.Phase, out.Status.Status = out.History[n-1].Phase, out.History[n-1].Status
	}
	switch t.State {
	case store.TaskCompleted:
		out.Status.Completed = true
	case store.TaskFailed:
		out.Status.Completed, out.Status.Failed = true, true
	case store.TaskRetryable:
		out.Status.Completed, out.Status.Failed, out.Status.Retryable, out.Restartable = true, true, t.Kept, true
	}
	out.Status.Complete, out.Retryable = out.Status.Completed, out.Status.Retryable
	if t.Result != "" {
		if err := json.Unmarshal([]byte(t.Result), &out.ResultObjects); err != nil {
			return out, err
		}
	}
	return out, nil
}

// Asked says who has asked for a task, and which accounts it acts on. Tasks of
// before the accounts were recorded have none.
func Asked(t store.Task) (user string, accounts []string) {
	var c Context
	if json.Unmarshal([]byte(t.Context), &c) != nil {
		return "", nil // one of another program
	}
	return c.User, c.Accounts
}

// historyLimit is where Java Clouddriver cuts a text.
const historyLimit = 10_000

// line is an entry of a history. What servers say need not be valid text.
func line(phase, status string) store.HistoryLine {
	status = strings.ToValidUTF8(status, "\uFFFD")
	if runes := []rune(status); len(runes) > historyLimit {
		status = string(runes[:historyLimit])
	}
	return store.HistoryLine{Phase: phase, Status: status}
}

// phases are Java Clouddriver's texts (operations.md 0.2).
var phases = map[string]string{
	"enableManifest": "ENABLE_MANIFEST", "disableManifest": "DISABLE_MANIFEST", "runJob": "RUN_KUBERNETES_JOB",
	"cleanupArtifacts": "CLEANUP_KUBERNETES_ARTIFACTS", "resizeServerGroup": "RESIZE_KUBERNETES_SERVER_GROUP", "destroyJob": "DESTROY_JOB",
}

// Phase is the phase text of an operation: deployManifest is
// DEPLOY_KUBERNETES_MANIFEST.
func Phase(name string) string {
	if p, ok := phases[name]; ok {
		return p
	}
	var b strings.Builder
	for _, r := range strings.TrimSuffix(name, "Manifest") {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToUpper(b.String()) + "_KUBERNETES_MANIFEST"
}

// exception is the result object of a failure (operations.md 2.2).
type exception struct {
	Type      string   `json:"type"`
	Operation string   `json:"operation"`
	Message   string   `json:"message"`
	Cause     string   `json:"cause"`
	Details   []detail `json:"details"`
}

type detail struct {
	Message string `json:"message"`
}

// exceptionOf has the members that the real Java sends (java-run.md).
func exceptionOf(operationName string, err error) exception {
	root := err
	for next := errors.Unwrap(root); next != nil; next = errors.Unwrap(root) {
		root = next
	}
	var acted *operation.ActError
	if errors.As(err, &acted) {
		root = acted // what it wraps may quote what it does not show
	}
	return exception{"EXCEPTION", operationName, err.Error(), root.Error(), []detail{{err.Error()}}}
}

var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// newID makes a ULID: ids sort by time, as Java Clouddriver's do.
func newID() string {
	var b [20]byte // 26 digits hold 130 bits: two zero bits come first
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16)
	var bits [16]byte
	copy(bits[:6], b[:6])
	_, _ = rand.Read(bits[6:]) // never fails
	// Base 32 takes five bits at a time from the top; a ULID's first digit has
	// three. Two zero bits in front put them right.
	var shifted [17]byte
	for i, v := range bits {
		shifted[i] |= v >> 2
		shifted[i+1] |= v << 6
	}
	return crockford.EncodeToString(shifted[:])[:26]
}

// Errors of the API.
var (
	ErrNotFound     = errors.New("task not found")
	ErrNotRetryable = errors.New("the task cannot be retried")
	ErrRunning      = errors.New("the task has completed, or its owner is alive and running it")
	ErrQueueFull    = errors.New("too many tasks are waiting; try again later")
	// ErrOtherAccounts is returned for a request whose id is that of a task on other
	// accounts.
	ErrOtherAccounts = errors.New("clientRequestId: the task of that id acts on other accounts")
	ErrDraining      = errors.New("the server is shutting down; try again")
)

// Observer is told what operations did, to bring it to the readers.
type Observer interface {
	// Written is called when an object was written or deleted, after it was
	// recorded and before the task goes on.
	Written(ctx context.Context, w store.Write, o *operation.Outcome)
}
