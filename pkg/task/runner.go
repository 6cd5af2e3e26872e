package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

// Store is what tasks are kept in; store.Store is one.
type Store interface {
	CreateTask(ctx context.Context, t store.Task, life time.Duration) (store.Task, bool, error)
	Task(ctx context.Context, id string) (store.Task, error)
	TaskWithRequest(ctx context.Context, id string) (store.Task, error)
	TaskOfRequest(ctx context.Context, requestID string) (store.Task, error)
	RunningTasks(ctx context.Context) ([]store.Task, error)
	TaskSteps(ctx context.Context, id string) ([]store.TaskStep, error)
	RecordTask(ctx context.Context, t *store.Task, r store.Record) error
	RenewTasks(ctx context.Context, owner string, fences map[string]int64, life time.Duration) (held map[string]bool, err error)
	ReleaseTasks(ctx context.Context, owner string) error
	TakeExpired(ctx context.Context, owner string, life time.Duration, most int) ([]store.Task, error)
	RetryTask(ctx context.Context, t *store.Task, owner string, life time.Duration) error
	MarkTask(ctx context.Context, id string, retryable bool) error
	TaskWrites(ctx context.Context, account, operation string, is func(taskContext string) bool) ([]store.Write, error)
	TaskResources(ctx context.Context, taskID string) ([]store.Resource, error)
}

// Clusters gives the client of an account.
type Clusters interface {
	Client(accountName string) (operation.Writer, error)
}

// Sealer seals what may hold secrets; account.Keyring is one.
type Sealer interface {
	Empty() bool
	Seal(purpose account.Purpose, text string, to ...string) (store.Sealed, error)
	Open(purpose account.Purpose, sealed store.Sealed, to ...string) (string, error)
}

// Options are the limits of tasks.
type Options struct {
	// Host is the end of the owner's id: the pod's name.
	Host string
	// MaxWaiting is how many tasks may be under way before new ones are
	// refused; PerAccount is how many of them act on one account at once.
	MaxWaiting, PerAccount int
	// MaxBytes is how large the requests of tasks under way may be together before
	// new ones are refused; 0 for no bound. One always runs.
	MaxBytes int64
	// Lease is how long a task stays with a silent owner.
	Lease time.Duration
	// Drain is how long running tasks may go on after a stop.
	Drain time.Duration
	// GoneWithin bounds the wait for a deleted object.
	GoneWithin time.Duration
	Operations operation.Settings
	// Observe, when set, is told of every operation that has ended here.
	Observe func(operation string, failed bool, took time.Duration)
	// Tracer makes a span of each task and operation; nil for none.
	Tracer trace.Tracer
}

// Runner runs tasks.
type Runner struct {
	db       Store
	accounts *account.Registry
	clusters Clusters
	keys     Sealer
	observer Observer
	options  Options
	log      *slog.Logger
	owner    string

	mu       sync.Mutex
	running  map[string]*execution
	slots    map[string]chan struct{}
	bytes    int64 // of the requests of those that run
	draining bool
	tasks    sync.WaitGroup
	base     context.Context
	stop     context.CancelFunc
	// held is until when the leases are surely ours, by the monotonic clock.
	held atomic.Pointer[time.Time]
}

// NewRunner makes a runner; Run starts it.
func NewRunner(db Store, accounts *account.Registry, clusters Clusters, keys Sealer, observer Observer, o Options, log *slog.Logger) *Runner {
	base, stop := context.WithCancel(context.Background())
	if o.Tracer == nil {
		o.Tracer = noop.NewTracerProvider().Tracer("")
	}
	r := &Runner{
		db: db, accounts: accounts, clusters: clusters, keys: keys, observer: observer, options: o, log: log,
		owner: uuid.NewString() + "@" + o.Host, running: map[string]*execution{}, slots: map[string]chan struct{}{}, base: base, stop: stop,
	}
	r.hold(time.Now())
	return r
}

func (r *Runner) hold(since time.Time) {
	until := since.Add(r.options.Lease)
	r.held.Store(&until)
}

// Run keeps the leases, takes over what others left, and at the end lets
// running tasks finish.
func (r *Runner) Run(ctx context.Context) error {
	every := max(r.options.Lease/4, 10*time.Millisecond)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		r.beat(r.base)
		select {
		case <-ctx.Done():
			return r.drain()
		case <-tick.C:
		}
	}
}

func (r *Runner) beat(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.options.Lease/2)
	defer cancel()
	if err := r.renew(ctx); err != nil {
		r.log.Warn("the leases of running tasks cannot be renewed", "error", err)
		return
	}
	r.mu.Lock()
	room := min(r.options.MaxWaiting-len(r.running), takenAtOnce)
	if r.full(0) {
		room = 0
	}
	r.mu.Unlock()
	if room <= 0 {
		return
	}
	taken, err := r.db.TakeExpired(ctx, r.owner, r.options.Lease, room)
	if err != nil {
		r.log.Warn("tasks of lost replicas cannot be looked for", "error", err)
	}
	for _, t := range taken {
		r.log.Info("taking a task over", "task", t.ID)
		r.start(t)
	}
}

// takenAtOnce is how many tasks of lost replicas are taken over at a time: what they
// are is known only then.
const takenAtOnce = 20

// full says whether a request of a size has no room beside those that run. The lock
// is held.
func (r *Runner) full(size int) bool {
	return r.options.MaxBytes > 0 && len(r.running) > 0 && r.bytes+int64(size) > r.options.MaxBytes
}

// renew keeps the leases of what runs here. A task that was left is not among
// it, and goes to whoever takes it next.
func (r *Runner) renew(ctx context.Context) error {
	begin := time.Now()
	asked := map[string]*execution{}
	fences := map[string]int64{}
	r.mu.Lock()
	maps.Copy(asked, r.running)
	r.mu.Unlock()
	for id, e := range asked {
		fences[id] = e.task.Fence
	}
	held, err := r.db.RenewTasks(ctx, r.owner, fences, r.options.Lease)
	if err != nil {
		return err
	}
	// Those that are lost, or through meanwhile, must not act once more, now
	// that the others may.
	for id, e := range asked {
		if !held[id] {
			e.cancel()
		}
	}
	r.hold(begin)
	return nil
}

// drain takes no more work and lets running tasks end, for a while.
func (r *Runner) drain() error {
	r.mu.Lock()
	r.draining = true
	n := len(r.running)
	r.mu.Unlock()
	if n > 0 {
		r.log.Info("waiting for running tasks", "tasks", n, "atMost", r.options.Drain)
	}
	done := make(chan struct{})
	go func() {
		r.tasks.Wait()
		close(done)
	}()
	limit := time.NewTimer(r.options.Drain)
	defer limit.Stop()
	tick := time.NewTicker(max(r.options.Lease/4, 10*time.Millisecond))
	defer tick.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-limit.C:
			waiting = false
		case <-tick.C:
			if err := r.renew(r.base); err != nil {
				r.log.Warn("the leases of running tasks cannot be renewed", "error", err)
			}
		}
	}
	r.stop()
	<-done
	ctx, cancel := context.WithTimeout(context.Background(), r.options.Lease/2)
	defer cancel()
	if err := r.db.ReleaseTasks(ctx, r.owner); err != nil {
		r.log.Warn("tasks could not be released; others take them when their leases end", "error", err)
	}
	return nil
}

// Draining says whether the runner takes no more tasks.
func (r *Runner) Draining() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.draining
}

// Load is how many tasks are under way on this replica.
func (r *Runner) Load() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.running)
}

// Get reads a task: from memory while it runs here, since many may poll it.
func (r *Runner) Get(ctx context.Context, id string) (Task, error) {
	if t := r.runningHere(id); t != nil {
		return shown(*t)
	}
	t, err := r.db.Task(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return r.older(ctx, id)
	}
	if err != nil {
		return Task{}, err
	}
	return shown(t)
}

// runningHere is a task as it was recorded last, nil unless it is surely ours.
func (r *Runner) runningHere(id string) *store.Task {
	r.mu.Lock()
	e := r.running[id]
	r.mu.Unlock()
	if e == nil || e.guard() != nil {
		return nil
	}
	return e.recorded.Load()
}

// older answers for a task of the older Go rewrite, of which only rows are
// left (operations.md 7.1).
func (r *Runner) older(ctx context.Context, id string) (Task, error) {
	rows, err := r.db.TaskResources(ctx, id)
	if err != nil {
		return Task{}, err
	}
	if len(rows) == 0 {
		return Task{}, ErrNotFound
	}
	return ofRows(id, rows)
}

// Running lists the tasks that run, of all replicas.
func (r *Runner) Running(ctx context.Context) ([]Task, error) {
	found, err := r.db.RunningTasks(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]Task, 0, len(found))
	for _, t := range found {
		one, err := shown(t)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (r *Runner) seal(id string, content any) (store.Sealable, error) {
	text, err := json.Marshal(content)
	if err != nil {
		return store.Sealable{}, err
	}
	if r.keys == nil || r.keys.Empty() {
		return store.Sealable{Text: string(text)}, nil
	}
	sealed, err := r.keys.Seal(account.ForTask, string(text), id)
	return store.Sealable(sealed), err
}

func (r *Runner) open(id string, s store.Sealable, into any) error {
	text := s.Text
	if s.KeyID != "" {
		if r.keys == nil {
			return fmt.Errorf("the task is sealed with the key %q, and there are no keys", s.KeyID)
		}
		var err error
		if text, err = r.keys.Open(account.ForTask, store.Sealed(s), id); err != nil {
			return err
		}
	}
	return json.Unmarshal([]byte(text), into)
}

// start runs a task that is ours. One that we have lost and got again is not
// run beside itself.
func (r *Runner) start(t store.Task) {
	ctx, cancel := context.WithCancel(r.base)
	e := &execution{Runner: r, task: t, log: r.log.With("task", t.ID), ctx: ctx, cancel: cancel, done: make(chan struct{})}
	e.show()
	r.mu.Lock()
	before := r.running[t.ID]
	r.running[t.ID] = e
	size := int64(len(t.Request.Text))
	r.bytes += size
	r.tasks.Add(1)
	r.mu.Unlock()
	go func() {
		defer r.tasks.Done()
		defer close(e.done)
		defer cancel()
		if before != nil {
			before.cancel()
			<-before.done
		}
		e.run(ctx)
		r.mu.Lock()
		if r.running[t.ID] == e { // and not of a later owner, who is us again
			delete(r.running, t.ID)
		}
		r.bytes -= size
		r.mu.Unlock()
	}()
}

// slot waits for the right to act on an account, so that a slow cluster holds
// up only its own tasks.
func (r *Runner) slot(ctx context.Context, accountName string) (release func(), err error) {
	r.mu.Lock()
	slots := r.slots[accountName]
	if slots == nil {
		slots = make(chan struct{}, r.options.PerAccount)
		r.slots[accountName] = slots
	}
	r.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// guard says whether the task is surely still ours. A process that was stopped
// for a while finds out here, before it acts.
func (e *execution) guard() error {
	if e.ctx.Err() != nil || time.Now().After(*e.held.Load()) {
		return store.ErrFenced
	}
	return nil
}

// DryRun tells what operations would do; it records and changes nothing. Each
// is looked at by itself: none sees what those before it would have done.
func (r *Runner) DryRun(ctx context.Context, c Context, ops []operation.Operation) ([]operation.Preview, error) {
	out := []operation.Preview{}
	for _, op := range ops {
		a, ok := r.accounts.Get(op.AccountName())
		if !ok {
			return nil, fmt.Errorf("account %s is no longer there", op.AccountName())
		}
		client, err := r.clusters.Client(a.Name)
		if err != nil {
			return nil, err
		}
		out = append(out, operation.DryRun(ctx, op, r.planner(a, client, c, "dry-run"), client))
	}
	return out, nil
}

// planner is what an operation plans with.
func (r *Runner) planner(a *account.Account, client operation.Writer, c Context, id string) *operation.Planner {
	return &operation.Planner{
		Account: a, Cluster: operation.Patient{Cluster: client}, Settings: r.options.Operations, Task: id, User: user(c.User),
		Execution: c.ExecutionID, Application: c.Application, Now: time.Now(), Ran: r.ran,
	}
}

// ran lists the jobs that an execution has run in an account.
func (r *Runner) ran(ctx context.Context, accountName, execution string) ([]operation.Ran, error) {
	writes, err := r.db.TaskWrites(ctx, accountName, "runJob", func(said string) bool {
		var c Context
		return json.Unmarshal([]byte(said), &c) == nil && c.ExecutionID == execution
	})
	var out []operation.Ran
	for _, w := range writes {
		out = append(out, operation.Ran{Namespace: w.Namespace, Name: w.Name, UID: w.UID})
	}
	return out, err
}
