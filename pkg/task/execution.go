package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// execution is one run of a task by one owner.
type execution struct {
	*Runner
	task    store.Task
	ctx     context.Context // ends when the task is no longer ours
	cancel  context.CancelFunc
	done    chan struct{}
	context Context
	log     *slog.Logger
	plans   map[int]*operation.Plan
	through map[int]map[int]operation.Done
	results []json.RawMessage
	// last is the record of what is done and not recorded yet: that of the last
	// step is written with the end.
	last store.Record
	// recorded is the task for those who ask, as it was recorded last.
	recorded atomic.Pointer[store.Task]
}

// show has readers see what is recorded now.
func (e *execution) show() {
	t := e.task
	t.Request = store.Sealable{}
	e.recorded.Store(&t)
}

// run goes through the operations until the end, a failure, or until the task
// is no longer ours.
func (e *execution) run(ctx context.Context) {
	name, err := PhaseOrchestration, e.stalled()
	if err == nil {
		name, err = e.operations(ctx)
	}
	switch {
	case err == nil:
		if err = e.end(ctx, store.TaskCompleted, line(PhaseOrchestration, "Orchestration completed.")); err != nil && !lost(err) {
			err = e.failed(ctx, name, fmt.Errorf("the end of the task cannot be recorded: %w", err))
		}
	case !lost(err) && ctx.Err() == nil:
		err = e.failed(ctx, name, err)
	}
	if err != nil {
		// Whoever holds the task next goes on with it.
		e.log.Warn("left a task", "error", err)
	}
}

// mostLost is how many owners in a row may be lost over a task without getting
// on with it.
const mostLost = 5

// stalled refuses to go on with a task that ends whoever runs it.
func (e *execution) stalled() error {
	if e.task.Stalled < mostLost {
		return nil
	}
	return fmt.Errorf("given up: %d servers in a row stopped while they ran this task, and none of them got on with it. Look into their logs, and for a lack of memory; then run the stage again", e.task.Stalled)
}

// failed ends the task with the reason. What the database will not take is left
// out piece by piece, so that a task always ends.
func (e *execution) failed(ctx context.Context, name string, cause error) error {
	e.log.Info("task failed", "operation", name, "error", cause)
	e.results = append(e.results, encode(exceptionOf(name, cause)))
	last := line(PhaseOrchestration, "Orchestration failed: "+name+": "+cause.Error())
	var err error
	for _, leaveOut := range []func(){
		func() {},
		func() { e.last.Resources = nil },
		func() { e.last.Changes = nil },
		func() { e.last.Writes = nil },
		func() { e.last.History, e.results = nil, []json.RawMessage{encode(exceptionOf(name, cause))} },
		func() {
			plain := ascii(cause.Error())
			last, e.results = line(PhaseOrchestration, "Orchestration failed: "+plain), []json.RawMessage{encode(exceptionOf(name, errors.New(plain)))}
		},
	} {
		leaveOut()
		if err = e.end(ctx, store.TaskFailed, last); err == nil || lost(err) || ctx.Err() != nil {
			return err
		}
		e.log.Error("the end of a task cannot be recorded", "error", err)
	}
	return err
}

// ascii is a text that every column takes.
func ascii(text string) string {
	const most = 200
	var b strings.Builder
	for _, r := range text[:min(len(text), most)] {
		if r < ' ' || r > '~' {
			r = '?'
		}
		b.WriteRune(r)
	}
	return b.String()
}

// lost says whether an error means that somebody else has the task, or may
// soon.
func lost(err error) bool {
	return errors.Is(err, store.ErrFenced) || errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.Canceled)
}

func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		raw, _ = json.Marshal(exceptionOf("", err)) // texts always encode
	}
	return raw
}

// record writes to the task, patiently: a database that is away comes back,
// and until the lease ends nobody else goes on with the task.
func (e *execution) record(ctx context.Context, r store.Record) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := e.db.RecordTask(ctx, &e.task, r)
		if err == nil && r.State == "" {
			e.show()
		}
		if !errors.Is(err, store.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
		// Without the database nobody can take the task over, so going on
		// trying is safe: the fence decides in the end.
	}
}

func (e *execution) end(ctx context.Context, state string, last store.HistoryLine) error {
	if e.results == nil {
		e.results = []json.RawMessage{}
	}
	r := e.last
	r.Steps = nil // what is left to do is dropped at the end
	r.History = append(slices.Clone(r.History), last)
	r.State, r.Result = state, string(encode(e.results))
	return e.record(ctx, r)
}

// operations runs the operations in order; it returns the name of the one that
// failed. A panic is a failure like others: left alone, it would end every
// replica in turn.
func (e *execution) operations(ctx context.Context) (name string, err error) {
	name = PhaseOrchestration
	defer func() {
		if cause := recover(); cause != nil {
			e.log.Error("a task panicked", "operation", name, "cause", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("internal error: %v", cause)
		}
	}()
	if err := json.Unmarshal([]byte(e.task.Context), &e.context); err != nil {
		return name, fmt.Errorf("read the task: %w", err)
	}
	e.log = e.log.With(e.context.attributes()...)
	ctx, span := e.traced(ctx)
	defer func() { endSpan(span, err) }()
	var requests []operation.Request
	if err := e.open(e.task.ID, e.task.Request, &requests); err != nil {
		return name, fmt.Errorf("read the task: %w", err)
	}
	if err := e.load(ctx); err != nil {
		return name, err
	}
	for i, request := range requests {
		name = request.Name
		op, err := operation.Decode(request)
		if err != nil {
			return name, err
		}
		begin := time.Now()
		acting, span := e.spanOf(ctx, op.Name(), op.AccountName())
		result, err := e.operate(acting, i, op, i == len(requests)-1)
		endSpan(span, err)
		if e.options.Observe != nil && !lost(err) {
			e.options.Observe(op.Name(), err != nil, time.Since(begin))
		}
		if err != nil {
			return op.Name(), err
		}
		if result != nil {
			e.results = append(e.results, encode(result))
		}
	}
	return "", nil
}

// load reads how far an earlier owner has come.
func (e *execution) load(ctx context.Context) error {
	e.plans, e.through = map[int]*operation.Plan{}, map[int]map[int]operation.Done{}
	if e.task.Fence == 1 {
		return nil
	}
	steps, err := e.db.TaskSteps(ctx, e.task.ID)
	if err != nil {
		return err
	}
	for _, s := range steps {
		if s.Step == store.StepPlan {
			plan := &operation.Plan{}
			if err := e.open(e.task.ID, s.Body, plan); err != nil {
				return fmt.Errorf("read the plan: %w", err)
			}
			e.plans[s.Operation] = plan
			continue
		}
		var d operation.Done
		if err := e.open(e.task.ID, s.Body, &d); err != nil {
			return fmt.Errorf("read a step: %w", err)
		}
		if e.through[s.Operation] == nil {
			e.through[s.Operation] = map[int]operation.Done{}
		}
		e.through[s.Operation][s.Step] = d
	}
	return nil
}

// operate plans one operation, or takes the recorded plan, and carries it out.
func (e *execution) operate(ctx context.Context, index int, op operation.Operation, isLast bool) (map[string]any, error) {
	a, ok := e.accounts.Get(op.AccountName())
	if !ok {
		return nil, fmt.Errorf("account %s is no longer there", op.AccountName())
	}
	release, err := e.slot(ctx, a.Name)
	if err != nil {
		return nil, err
	}
	defer func() { release() }()
	client, err := e.client(ctx, a.Name)
	if err != nil {
		return nil, err
	}
	phase := Phase(op.Name())
	plan, planned := e.plans[index]
	if !planned {
		plan, err = op.Plan(ctx, e.planner(a, client, e.context, e.task.ID))
		if err != nil {
			return nil, err
		}
		var lines []store.HistoryLine
		for _, l := range plan.Lines {
			lines = append(lines, line(phase, l))
		}
		if err := e.recordPlan(ctx, index, plan, lines); err != nil {
			return nil, err
		}
	}
	actor := &operation.Actor{
		Account: a.Name, Client: client, Task: e.task.ID, Guard: e.guard, Before: true, GoneWithin: e.options.GoneWithin,
		Choose: func(ctx context.Context, s *operation.Step, before string) error {
			plan.Rename(s, before)
			return e.recordPlan(ctx, index, plan, []store.HistoryLine{line(phase, "The name is taken; trying "+s.FullName())})
		},
		Sending: func(ctx context.Context, _ *operation.Step) error { return e.recordPlan(ctx, index, plan, nil) },
	}
	actor.Idle = func(wait func() error) error {
		release()
		release = func() {}
		waited := wait()
		again, err := e.slot(ctx, a.Name)
		if err == nil {
			release = again
			actor.Client, err = e.client(ctx, a.Name)
		}
		return errors.Join(waited, err)
	}
	var done []operation.Done
	for i := 0; i < len(plan.Steps); {
		if d, ok := e.through[index][i]; ok {
			done, i = append(done, d), i+1
			continue
		}
		// Only the first step that is not recorded may have been begun.
		n := together(plan.Steps[i:])
		ds, err := e.steps(ctx, stepping{index: index, first: i, n: n, op: op, actor: actor, plan: plan, phase: phase, again: planned})
		if err != nil {
			return nil, err
		}
		planned = false
		done, i = append(done, ds...), i+n
		if isLast && i == len(plan.Steps) {
			break // recorded with the end
		}
		if err := e.record(ctx, e.last); err != nil {
			return nil, err
		}
		e.last = store.Record{}
	}
	return operation.Result(plan, done), nil
}

// togetherMost bounds what is carried out, and recorded, at once.
const togetherMost = 200

// together is how many steps at the beginning are carried out side by side:
// deletions, of which each may take its time.
func together(steps []operation.Step) int {
	n := 0
	for n < min(len(steps), togetherMost) && steps[n].Action == operation.Delete {
		n++
	}
	return max(n, 1)
}

// stepping is one round of an operation: one step, or several side by side.
type stepping struct {
	index, first, n int
	op              operation.Operation
	actor           *operation.Actor
	plan            *operation.Plan
	phase           string
	again           bool
}

// steps carries steps out, brings them to the readers and leaves in e.last what
// there is to record: readers may be shown a write that is not recorded yet,
// but a task never goes on before both are done.
func (e *execution) steps(ctx context.Context, at stepping) ([]operation.Done, error) {
	if err := e.guard(); err != nil {
		return nil, err
	}
	if at.n == 1 {
		s := &at.plan.Steps[at.first]
		out, err := at.actor.Act(ctx, s, at.again)
		if out == nil {
			return nil, err
		}
		d, noteErr := e.note(ctx, at, at.first, out)
		return []operation.Done{d}, errors.Join(err, noteErr)
	}
	var all []*operation.Step
	for i := range at.n {
		all = append(all, &at.plan.Steps[at.first+i])
	}
	var done []operation.Done
	var failures []error
	for i, removal := range at.actor.RemoveTogether(ctx, all, at.again) {
		if removal.Err != nil {
			failures = append(failures, removal.Err)
			continue
		}
		d, err := e.note(ctx, at, at.first+i, removal.Outcome)
		if err != nil {
			return nil, err
		}
		done = append(done, d)
	}
	return done, first(failures)
}

// first is the first of several failures, and how many there are beside it.
func first(failures []error) error {
	switch len(failures) {
	case 0:
		return nil
	case 1:
		return failures[0]
	}
	if i := slices.IndexFunc(failures, lost); i >= 0 {
		return failures[i]
	}
	return fmt.Errorf("%w (and %d more failed)", failures[0], len(failures)-1)
}

// client is the account's. While the account is set up anew, for example for
// new credentials, there is none for a moment.
func (e *execution) client(ctx context.Context, accountName string) (operation.Writer, error) {
	const within, every = 10 * time.Second, 50 * time.Millisecond
	for begin := time.Now(); ; {
		client, err := e.clusters.Client(accountName)
		if _, there := e.accounts.Get(accountName); err == nil || !there || time.Since(begin) > within {
			return client, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(every):
		}
	}
}

func user(name string) string {
	if name == "" {
		return "anonymous"
	}
	return name
}

func (e *execution) recordPlan(ctx context.Context, index int, plan *operation.Plan, lines []store.HistoryLine) error {
	body, err := e.seal(e.task.ID, plan)
	if err != nil {
		return err
	}
	return e.record(ctx, store.Record{Steps: []store.TaskStep{{Operation: index, Step: store.StepPlan, Body: body}}, History: lines})
}

// note adds what a step did to what there is to record, and shows it to the
// readers.
func (e *execution) note(ctx context.Context, at stepping, i int, out *operation.Outcome) (operation.Done, error) {
	s := &at.plan.Steps[i]
	d := operation.NewDone(s, out)
	body, err := e.seal(e.task.ID, d)
	if err != nil {
		return d, err
	}
	r := &e.last
	r.Steps = append(r.Steps, store.TaskStep{Operation: at.index, Step: i, Body: body})
	r.History = append(r.History, line(at.phase, says(s, out)))
	r.Changes = append(r.Changes, change(at, i, s, out))
	w, written := e.write(at.op, s, out)
	if written {
		r.Writes = append(r.Writes, w)
	}
	if s.Action != operation.LabelPods {
		r.Resources = append(r.Resources, olderRow(e.task.ID, at.op.AccountName(), s, out, at.plan))
	}
	if written && e.observer != nil {
		e.observer.Written(ctx, w, out)
	}
	return d, nil
}

// change is what a step did, for people.
func change(at stepping, i int, s *operation.Step, out *operation.Outcome) store.TaskChange {
	c := store.TaskChange{
		Operation: at.index, Step: i, Account: at.op.AccountName(), Kind: s.KindText(), Namespace: s.Namespace, Name: s.Name,
		Action: string(out.Change), Diff: string(encode(operation.Changed(s.KindText(), out))),
	}
	if out.Object != nil {
		c.Namespace, c.Name = out.Object.GetNamespace(), out.Object.GetName()
	}
	return c
}

func says(s *operation.Step, o *operation.Outcome) string {
	switch {
	case s.Says != "":
		return s.Says
	case s.Action == operation.Nothing:
		return "Nothing to do"
	}
	verb := map[operation.Change]string{
		operation.Created: "Created ", operation.Updated: "Updated ", operation.Unchanged: "Unchanged: ", operation.Deleted: "Deleted ", operation.Absent: "Gone meanwhile: ",
	}[o.Change]
	return verb + s.FullName()
}

// write is the ledger's row of an outcome; written is false when nothing was.
func (e *execution) write(op operation.Operation, s *operation.Step, o *operation.Outcome) (w store.Write, written bool) {
	w = store.Write{
		TaskID: e.task.ID, Operation: op.Name(), Account: op.AccountName(), Kind: s.KindText(), Namespace: s.Namespace, Name: s.Name,
		UID: s.UID, Application: s.Application, Cluster: s.Cluster,
	}
	if o.Object != nil {
		w.Namespace, w.Name = o.Object.GetNamespace(), o.Object.GetName()
		w.UID, w.ResourceVersion = string(o.Object.GetUID()), o.Object.GetResourceVersion()
		return w, true
	}
	w.Deleted = o.Change == operation.Deleted
	return w, w.Deleted
}
