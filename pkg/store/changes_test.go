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
	first, err := s.EndedTasks(t.Context(), 0, 3)
	if err != nil || len(first) != 3 || first[0].Ended.Before(first[2].Ended) || first[0].State != TaskCompleted {
		t.Fatalf("%v %+v", err, first)
	}
	all, err := s.EndedTasks(t.Context(), time.Now().Add(time.Hour).UnixMilli(), 10)
	if err != nil || len(all) != 4 {
		t.Errorf("%v %+v", err, all)
	}
	if none, err := s.EndedTasks(t.Context(), 1, 10); err != nil || len(none) != 0 {
		t.Errorf("%v %+v", err, none)
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
