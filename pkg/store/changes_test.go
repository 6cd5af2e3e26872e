package store

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestTaskChanges_AreKeptInOrderAndOnce(t *testing.T) {
	s := opened(t)
	task := created(t, s, "a")
	change := func(step int, action string) TaskChange {
		return TaskChange{Operation: 0, Step: step, Account: "prod", Kind: "deployment", Namespace: "n", Name: "web", Action: action, Diff: "[]"}
	}
	for i, changes := range [][]TaskChange{{change(1, "update")}, {change(0, "create")}, {change(1, "unchanged")}} { // step 1 by another owner, too
		if err := s.RecordTask(t.Context(), &task, Record{History: []HistoryLine{{"P", fmt.Sprint(i)}}, Changes: changes}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.TaskChanges(t.Context(), "a")
	if err != nil || len(got) != 2 || got[0].Action != "create" || got[1].Action != "unchanged" || got[1].Name != "web" {
		t.Errorf("%v %+v", err, got)
	}
	if got, err := s.TaskChanges(t.Context(), "b"); err != nil || len(got) != 0 || got == nil {
		t.Errorf("%v %+v", err, got)
	}
}

func TestEndedTasks_AreTheLatestFirstAndGoWithTheirChanges(t *testing.T) {
	s := opened(t)
	for i := range 5 {
		task := created(t, s, fmt.Sprint(i))
		r := Record{History: []HistoryLine{{"P", "done"}}, Changes: []TaskChange{{Diff: "[]"}}, State: TaskCompleted, Result: "[]"}
		if i == 4 {
			r.State = "" // it runs
		}
		if err := s.RecordTask(t.Context(), &task, r); err != nil {
			t.Fatal(err)
		}
	}
	first, err := s.EndedTasks(t.Context(), Place{}, 3)
	if err != nil || len(first) != 3 || first[0].Ended.Before(first[2].Ended) || first[0].State != TaskCompleted {
		t.Fatalf("%v %+v", err, first)
	}
	seen := map[string]bool{}
	for at := (Place{}); ; { // whatever ended in the same millisecond
		next, err := s.EndedTasks(t.Context(), at, 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(next) == 0 {
			break
		}
		seen[next[0].ID] = true
		at = Place{next[0].Ended.UnixMilli(), next[0].ID}
	}
	if len(seen) != 4 {
		t.Errorf("leafing shows %v", seen)
	}
	if _, err := s.CleanTasks(t.Context(), -time.Hour, time.Hour, 10, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 0, 0, 0, 1} {
		if got, err := s.TaskChanges(t.Context(), fmt.Sprint(i)); err != nil || len(got) != want {
			t.Errorf("task %d: %v, %d changes are left, want %d", i, err, len(got), want)
		}
	}
}
