package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func opened(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{
		Path: filepath.Join(t.TempDir(), "clouddriver.db"), Timeout: 5 * time.Second, MigrationTimeout: time.Minute, MaxOpen: 5, MaxIdle: 2, Lifetime: time.Minute,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func created(t *testing.T, s *Store, id string) Task {
	t.Helper()
	task, fresh, err := s.CreateTask(t.Context(), Task{ID: id, RequestID: "r" + id, Owner: "one", History: []HistoryLine{{"P", "accepted"}}, Request: Sealable{Text: "[]"}}, time.Minute)
	if err != nil || !fresh {
		t.Fatal(fresh, err)
	}
	return task
}

func TestTogether_OneThatIsRefusedSpoilsNothingForTheOthers(t *testing.T) {
	s := opened(t)
	var tasks []Task
	for i := range 20 {
		tasks = append(tasks, created(t, s, fmt.Sprint(i)))
	}
	tasks[3].Fence = 9 // another has taken it over
	var wg sync.WaitGroup
	errs := make([]error, len(tasks))
	for i := range tasks {
		wg.Go(func() {
			errs[i] = s.RecordTask(context.Background(), &tasks[i], Record{History: []HistoryLine{{"P", "step"}}, Steps: []TaskStep{{0, 0, Sealable{Text: "{}"}}}})
		})
	}
	var repeated error
	wg.Go(func() { // a request of the same id, at the same moment
		var fresh bool
		_, fresh, repeated = s.CreateTask(context.Background(), Task{ID: "other", RequestID: "r0", Owner: "one"}, time.Minute)
		if fresh {
			repeated = errors.New("two tasks of one request")
		}
	})
	wg.Wait()
	if repeated != nil {
		t.Error(repeated)
	}
	for i, err := range errs {
		if want := i == 3; errors.Is(err, ErrFenced) != want || !want && err != nil {
			t.Errorf("%d: %v", i, err)
		}
		steps, err := s.TaskSteps(t.Context(), tasks[i].ID)
		if want := map[bool]int{true: 0, false: 1}[i == 3]; err != nil || len(steps) != want {
			t.Errorf("%d: %d steps, %v", i, len(steps), err)
		}
	}
}

func TestBatches_OneThatFailsIsWrittenAlone(t *testing.T) {
	s := opened(t)
	broken := errors.New("no such column")
	insert := func(ctx context.Context, q queryer, one *batched[int]) error {
		if one.what == 7 {
			return broken
		}
		return exec(ctx, q, "INSERT INTO clouddriver_markers (name, version) VALUES (?, 1)", fmt.Sprint(one.what))
	}
	b := &batches[int]{most: 8, alone: insert, together: func(ctx context.Context, q queryer, batch []*batched[int]) error {
		for _, one := range batch {
			if err := insert(ctx, q, one); err != nil {
				return err
			}
		}
		return nil
	}}
	var wg sync.WaitGroup
	errs := make([]error, 30)
	for i := range errs {
		wg.Go(func() { errs[i] = b.write(context.Background(), s, i) })
	}
	wg.Wait()
	for i, err := range errs {
		if want := i == 7; errors.Is(err, broken) != want || !want && err != nil {
			t.Errorf("%d: %v", i, err)
		}
		there := false
		if err := s.read(t.Context(), func(ctx context.Context, q queryer) (err error) {
			there, err = exists(ctx, q, "SELECT 1 FROM clouddriver_markers WHERE name = ?", fmt.Sprint(i))
			return err
		}); err != nil || there != (i != 7) {
			t.Errorf("%d: there %v, %v", i, there, err)
		}
	}
}

func TestRecordTask_AddsNothingWhenItIsRepeated(t *testing.T) {
	s := opened(t)
	task := created(t, s, "1")
	record := Record{History: []HistoryLine{{"P", "made"}}, Steps: []TaskStep{{0, 0, Sealable{Text: "{}"}}}, Writes: []Write{{Operation: "x", Account: "a", Kind: "k", Name: "n"}}}
	again := task
	for _, one := range []*Task{&task, &again} { // the answer to the first was lost
		if err := s.RecordTask(t.Context(), one, record); err != nil {
			t.Fatal(err)
		}
	}
	found, err := s.Task(t.Context(), "1")
	if err != nil || len(found.History) != 2 {
		t.Errorf("%+v, %v", found.History, err)
	}
	if writes, err := s.WritesAfter(t.Context(), 0, nil, 10); err != nil || len(writes) != 1 {
		t.Errorf("%d rows, %v", len(writes), err)
	}
}

func TestTakeOver_AndALateRenewalDoNotBothWin(t *testing.T) {
	s := opened(t)
	task := created(t, s, "1")
	seen, err := s.TaskWithRequest(t.Context(), "1") // as one that looks for expired tasks has read it
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond) // the database counts milliseconds
	held, err := s.RenewTasks(t.Context(), "one", map[string]int64{"1": task.Fence}, time.Minute)
	if err != nil || !held["1"] {
		t.Fatal(held, err)
	}
	if err := s.takeOver(t.Context(), &seen, "two", time.Minute, TaskRunning); !errors.Is(err, ErrFenced) {
		t.Errorf("taken over after it was renewed: %v", err)
	}
}

func TestTakeOver_CountsOwnersThatCameToNothing(t *testing.T) {
	s := opened(t)
	task := created(t, s, "1")
	for n := 1; n <= 3; n++ {
		taken, err := s.TakeExpired(t.Context(), fmt.Sprint("owner", n), time.Minute, 10)
		if err != nil || len(taken) != 1 || taken[0].Stalled != n {
			t.Fatalf("%d: %+v, %v", n, taken, err)
		}
		task = taken[0]
	}
	if err := s.RecordTask(t.Context(), &task, Record{History: []HistoryLine{{"P", "got on"}}}); err != nil {
		t.Fatal(err)
	}
	if err := s.ReleaseTasks(t.Context(), task.Owner); err != nil {
		t.Fatal(err)
	}
	taken, err := s.TakeExpired(t.Context(), "next", time.Minute, 10)
	if err != nil || len(taken) != 1 || taken[0].Stalled != 0 {
		t.Errorf("an owner that was asked to stop counts: %+v, %v", taken, err)
	}
}

func TestSQLiteFile_ThatWasAwayIsWaitedForAndUsedAgain(t *testing.T) {
	s := opened(t)
	created(t, s, "before")
	path := s.options.Path
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("away: %v", err)
	}
	if _, _, err := s.CreateTask(t.Context(), Task{ID: "x", RequestID: "x"}, time.Minute); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a write to a file that is away: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("an empty file was made in its place")
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("back: %v", err)
	}
	created(t, s, "after")
	if _, err := s.Task(t.Context(), "before"); err != nil {
		t.Error(err)
	}
}

func TestSQLiteFile_ThatWasReplacedIsOpenedAgain(t *testing.T) {
	s := opened(t)
	created(t, s, "lost")
	path := s.options.Path
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(path + suffix) // there need not be one
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("without its tables: %v", err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(path + suffix)
	}
	if err := os.WriteFile(path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("restored: %v", err)
	}
	created(t, s, "after")
}
