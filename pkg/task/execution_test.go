package task

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// choosy is a database that refuses some records, each time.
type choosy struct {
	*store.Store
	refuses func(store.Record) bool
}

var errColumn = errors.New("incorrect string value: 'é' for column 'status'")

func (c *choosy) RecordTask(ctx context.Context, t *store.Task, r store.Record) error {
	if c.refuses(r) {
		return errColumn
	}
	return c.Store.RecordTask(ctx, t, r)
}

// nowhere has no clusters: what runs here needs none.
type nowhere struct{}

func (nowhere) Client(string) (operation.Writer, error) { return nil, nil }

func running(t *testing.T, refuses func(store.Record) bool) *Runner {
	t.Helper()
	db, err := store.Open(t.Context(), store.Options{
		Path: filepath.Join(t.TempDir(), "clouddriver.db"), Timeout: 5 * time.Second, MigrationTimeout: time.Minute, MaxOpen: 5, MaxIdle: 2, Lifetime: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	accounts := account.NewRegistry("test")
	accounts.Replace("test", []*account.Account{{Name: "a"}})
	r := NewRunner(&choosy{db, refuses}, accounts, nowhere{}, nil, nil, Options{MaxWaiting: 10, PerAccount: 2, Lease: 10 * time.Second, GoneWithin: time.Second}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() { r.stop(); r.tasks.Wait() })
	return r
}

var nothingToDo = []operation.Request{{Name: "cleanupArtifacts", Body: json.RawMessage(`{"account":"a","manifests":[]}`)}}

func ended(t *testing.T, r *Runner, id string) Task {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		task, err := r.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if task.Status.Completed {
			return task
		}
		if time.Now().After(deadline) {
			t.Fatalf("the task does not end: %+v", task)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRun_EndsWhateverTheDatabaseRefuses has a database that refuses a record
// as often as it is sent.
func TestRun_EndsWhateverTheDatabaseRefuses(t *testing.T) {
	for about, refuses := range map[string]func(store.Record) bool{
		"nothing": func(store.Record) bool { return false },
		"success": func(r store.Record) bool { return r.State == store.TaskCompleted },
		"plans":   func(r store.Record) bool { return r.State == "" },
		"more than one line": func(r store.Record) bool {
			return r.State != "" && len(r.History) > 1 || r.State == store.TaskCompleted
		},
		"all but plain texts": func(r store.Record) bool {
			return r.State == store.TaskCompleted || strings.Contains(r.Result, "é") || len(r.History) > 0 && strings.Contains(r.History[len(r.History)-1].Status, "é")
		},
	} {
		t.Run(about, func(t *testing.T) {
			r := running(t, refuses)
			id, err := r.Submit(t.Context(), Context{}, nothingToDo)
			if err != nil {
				t.Fatal(err)
			}
			task := ended(t, r, id)
			if failed := about != "nothing"; task.Status.Failed != failed || failed && !strings.Contains(task.Status.Status, "incorrect string value") {
				t.Errorf("%+v", task.Status)
			}
		})
	}
}

// TestRun_GivesUpATaskThatEndsEveryOwner takes a task over from owners that
// are lost one after the other.
func TestRun_GivesUpATaskThatEndsEveryOwner(t *testing.T) {
	r := running(t, func(store.Record) bool { return false })
	begun, err := json.Marshal(nothingToDo)
	if err != nil {
		t.Fatal(err)
	}
	db := r.db.(*choosy).Store
	task, _, err := db.CreateTask(t.Context(), store.Task{ID: "T", RequestID: "R", Owner: "first", Context: "{}", Request: store.Sealable{Text: string(begun)}, History: []store.HistoryLine{{Phase: "P", Status: "accepted"}}}, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for n := range mostLost {
		taken, err := db.TakeExpired(t.Context(), strings.Repeat("x", n+1), time.Minute, 1)
		if err != nil || len(taken) != 1 {
			t.Fatal(taken, err)
		}
		task = taken[0]
	}
	r.start(task)
	if got := ended(t, r, "T"); !got.Status.Failed || !strings.Contains(got.Status.Status, "given up: 5 servers in a row stopped") {
		t.Errorf("%+v", got.Status)
	}
}

func TestExceptionOf_HasWhatJavasHas(t *testing.T) {
	got := encode(exceptionOf("scaleManifest", errors.Join(errors.New("outer"), nil)))
	if want := `{"type":"EXCEPTION","operation":"scaleManifest","message":"outer","cause":"outer","details":[{"message":"outer"}]}`; string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
}
