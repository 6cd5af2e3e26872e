package page

import (
	"encoding/json"
	"fmt"
	"net/url"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
)

// TasksPerPage is how many ended tasks are shown at once.
const TasksPerPage = 50

type tasksPage struct {
	Running, Ended []taskRow
	// Older is where those before are, "" when there are none.
	Older string
}

type taskRow struct {
	ID, Address     string
	State           string
	Started         time.Time
	Took            string
	Application     string
	User, Execution string
	Last            string
}

func newTask(t store.Task) taskRow {
	var said task.Context
	_ = json.Unmarshal([]byte(t.Context), &said) // what cannot be read is not shown
	out := taskRow{ID: t.ID, Address: "/ui/tasks/" + url.PathEscape(t.ID), State: stateOfTask(t.State), Started: t.Started, Application: said.Application, User: said.User, Execution: said.ExecutionID}
	end := time.Now()
	if !t.Ended.IsZero() {
		end = t.Ended
	}
	out.Took = ago(end.Sub(t.Started))
	if n := len(t.History); n > 0 {
		out.Last = t.History[n-1].Status
	}
	return out
}

func stateOfTask(state string) string {
	switch state {
	case store.TaskRunning:
		return "running"
	case store.TaskCompleted:
		return "succeeded"
	}
	return "failed"
}

// Tasks is the list of those under way, and of those that have ended.
func (p *Pages) Tasks(running, ended []store.Task) ([]byte, error) {
	var m tasksPage
	running, _ = first(running, perPage)
	for _, t := range running {
		m.Running = append(m.Running, newTask(t))
	}
	for _, t := range ended {
		m.Ended = append(m.Ended, newTask(t))
	}
	if len(ended) == TasksPerPage {
		last := ended[len(ended)-1]
		m.Older = fmt.Sprintf("/ui/tasks?before=%d-%s", last.Ended.UnixMilli(), url.QueryEscape(last.ID))
	}
	return p.render("tasks", frame{Title: "Tasks", Section: "tasks", Every: 2000, Model: m})
}

type taskPage struct {
	taskRow
	Steps []store.HistoryLine
	// Before are older steps, which are not shown.
	Before  int
	Changes []changeRow
	Leaf    Leaf
}

const (
	// mostSteps are shown, the last ones.
	mostSteps = 200
	// mostChanges are shown at once: each may have forty fields.
	mostChanges = 20
)

type changeRow struct {
	Account, Namespace, Name string
	Action                   string
	Diff                     []diffRow
}

type diffRow struct{ Path, Before, After string }

// actions are what became of objects, for people.
var actions = map[string]string{"create": "created", "update": "updated", "unchanged": "unchanged", "delete": "deleted", "absent": "gone meanwhile"}

// Task is the page of one: its steps, and what it did to each object.
func (p *Pages) Task(t store.Task, changes []store.TaskChange, page int) ([]byte, error) {
	m := taskPage{taskRow: newTask(t), Before: max(0, len(t.History)-mostSteps)}
	m.Steps = t.History[m.Before:]
	changes, m.Leaf = leaf(changes, page, mostChanges, m.Address+"?")
	for _, c := range changes {
		row := changeRow{Account: c.Account, Namespace: c.Namespace, Name: spinnaker.FullName(c.Kind, c.Name), Action: c.Action}
		if text, ok := actions[c.Action]; ok {
			row.Action = text
		}
		var diff []operation.Diff
		_ = json.Unmarshal([]byte(c.Diff), &diff) // what cannot be read is not shown
		for _, d := range diff {
			row.Diff = append(row.Diff, diffRow{d.Path, valueOf(d.Before), valueOf(d.After)})
		}
		m.Changes = append(m.Changes, row)
	}
	every := 0
	if m.State == "running" {
		every = 500
	}
	return p.render("task", frame{Title: "Task " + t.ID, Section: "tasks", Every: every, Model: m})
}

func valueOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "–"
	case string:
		return v
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

type historyPage struct {
	Application string
	Rows        []historyRow
	// Older is where those before are, "" when there are none.
	Older string
}

type historyRow struct {
	At                       time.Time
	Account, Namespace, Name string
	Operation                string
	Deleted                  bool
	Task, User, Execution    string
}

// History is what was written to an application.
func (p *Pages) History(app string, entries []store.HistoryEntry, most int) ([]byte, error) {
	m := historyPage{Application: app}
	for _, e := range entries {
		var said task.Context
		_ = json.Unmarshal(e.Context, &said) // what cannot be read is not shown
		m.Rows = append(m.Rows, historyRow{
			At: time.UnixMilli(e.Time), Account: e.Account, Namespace: e.Namespace, Name: e.Name, Operation: e.Operation, Deleted: e.Deleted,
			Task: "/ui/tasks/" + url.PathEscape(e.Task), User: said.User, Execution: said.ExecutionID,
		})
	}
	if n := len(entries); n == most && n > 0 {
		m.Older = fmt.Sprintf("%s/history?before=%d", application(app), entries[n-1].ID)
	}
	return p.render("history", frame{Title: app + " · history", Section: "applications", Every: 5000, Model: m})
}

// Problem is the page of an error.
func (p *Pages) Problem(status int, text string) ([]byte, error) {
	return p.render("problem", frame{Title: fmt.Sprint(status), Model: text})
}
