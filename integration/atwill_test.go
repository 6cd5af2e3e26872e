package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// balancer hands requests to replicas as a Kubernetes Service does: to those that are
// ready, one after the other. Who is not served tries once more, elsewhere.
type balancer struct {
	client http.Client
	mu     sync.Mutex
	ready  []string // addresses, "" for a replica that is not ready
	next   int
}

func (b *balancer) set(replica int, address string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready[replica] = address
}

// pick is the next one that is ready, not an address if there is another.
func (b *balancer) pick(not string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := not
	for range b.ready {
		b.next = (b.next + 1) % len(b.ready)
		if at := b.ready[b.next]; at != "" && at != not {
			return at
		}
	}
	return last
}

// do is a request with one retry.
func (b *balancer) do(ctx context.Context, method, path, body string) (status int, answer string, err error) {
	first := b.pick("")
	if status, answer, err = b.once(ctx, method, first+path, body); err == nil && status < http.StatusInternalServerError {
		return status, answer, nil
	}
	failed := err
	if status, answer, err = b.once(ctx, method, b.pick(first)+path, body); err != nil {
		err = fmt.Errorf("%w; before: %w", err, failed)
	}
	return status, answer, err
}

func (b *balancer) once(ctx context.Context, method, address, body string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := b.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// tally is what the callers have seen.
type tally struct {
	mu                         sync.Mutex
	reads, deploys, jobs       int
	failedReads, stale, broken []string
	jobNames                   map[string]bool
}

func (c *tally) note(count *int, list *[]string, wrong string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*count++
	if wrong != "" {
		*list = append(*list, wrong)
	}
}

// TestReplicas_KilledAtWill has three replicas on one database, of which one is killed
// every ten seconds and comes back, under reads and deploys. KILLED_FOR is for how
// long.
func TestReplicas_KilledAtWill(t *testing.T) {
	t.Parallel() // it keeps apart by namespace, and waits most of the time
	const replicas, every = 3, 10 * time.Second
	lasting := 40 * time.Second
	if text := os.Getenv("KILLED_FOR"); text != "" {
		var err error
		if lasting, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	c := pool.Shared(t, 1)[0]
	const ns = "atwill"
	namespace(t, ns, c)
	apply(t, c, deployment(ns, ns, 1))
	database := newDatabase(t, "utf8mb4")
	b := &balancer{ready: make([]string, replicas), client: http.Client{Timeout: 30 * time.Second}}
	folder := t.TempDir()
	running := make([]*process, replicas)
	begin := func(n int) {
		in := replicaInput{MySQL: database, Snapshots: filepath.Join(folder, fmt.Sprint(n))}
		running[n] = startProcess(t, in, c, ns)
		eventually(t, time.Minute, func() error {
			r, err := running[n].tryGet("/readyz")
			if err == nil && r.status != http.StatusOK {
				err = errors.New(r.body)
			}
			return err
		})
		b.set(n, running[n].URL)
	}
	for n := range replicas {
		begin(n)
	}
	seen := &tally{jobNames: map[string]bool{}}
	going, over := context.WithTimeout(t.Context(), lasting)
	defer over()
	var callers sync.WaitGroup
	for n := range 4 {
		callers.Go(func() { reading(going, t, b, seen, c.Name, n) })
		callers.Go(func() { deploying(going, t, b, seen, running[0].ops, n) })
	}
	kills := 0
	tick := time.NewTicker(every)
	defer tick.Stop()
	for going.Err() == nil {
		select {
		case <-tick.C:
			n := kills % replicas
			running[n].kill() // the balancer learns of it as callers do
			kills++
			b.set(n, "")
			begin(n)
		case <-going.Done():
		}
	}
	callers.Wait()
	if seen.reads < 100 || seen.deploys < 10 || seen.jobs < 5 || kills < 2 {
		t.Errorf("%d reads, %d deploys, %d jobs, %d kills: that proves nothing", seen.reads, seen.deploys, seen.jobs, kills)
	}
	for what, list := range map[string][]string{"failed reads": seen.failedReads, "stale answers": seen.stale, "lost or failed tasks": seen.broken} {
		if len(list) > 0 {
			t.Errorf("%d %s, the first: %s", len(list), what, list[0])
		}
	}
	var jobs struct{ Items []object }
	if err := json.Unmarshal(call(t, c, http.MethodGet, "/apis/batch/v1/namespaces/"+ns+"/jobs", "", ""), &jobs); err != nil {
		t.Fatal(err)
	}
	if len(jobs.Items) != seen.jobs || len(seen.jobNames) != seen.jobs {
		t.Errorf("%d jobs of %d tasks, which tell of %d", len(jobs.Items), seen.jobs, len(seen.jobNames))
	}
	t.Logf("%d kills in %s: %d reads, %d deploys, %d jobs", kills, lasting, seen.reads, seen.deploys, seen.jobs)
}

// reading asks for lists and objects until the context is over.
func reading(ctx context.Context, t *testing.T, b *balancer, seen *tally, account string, n int) {
	paths := []string{
		"/applications/atwill/serverGroups", "/applications", "/applications/atwill/clusters", "/search?q=atwill&type=serverGroups&pageSize=50",
		escaped("manifests", account, "atwill", "deployment atwill"),
	}
	for n := n; ctx.Err() == nil; n++ {
		path := paths[n%len(paths)]
		status, answer, err := b.do(t.Context(), http.MethodGet, path, "")
		wrong := ""
		if err != nil || status != http.StatusOK || !strings.Contains(answer, "atwill") {
			wrong = fmt.Sprintf("%s: %d %.300s %v", path, status, answer, err)
		}
		seen.note(&seen.reads, &seen.failedReads, wrong)
		pausing(ctx, 20*time.Millisecond)
	}
}

func pausing(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// deploying writes one config map again and again, and runs jobs, each once the one
// before is through, and looks whether what it reads then is what it has written.
func deploying(ctx context.Context, t *testing.T, b *balancer, seen *tally, o *ops, n int) {
	name := fmt.Sprintf("cm-%d", n)
	for i := 0; ctx.Err() == nil; i++ {
		id := fmt.Sprintf("atwill-%d-%d", n, i)
		if i%2 == 1 {
			job := strings.Replace(o.job("run", ""), "name: run", "generateName: run-", 1)
			d, err := taken(t.Context(), b, o.body(t, "runJob", o.runJobFields(job)), id)
			wrong := ""
			if err != nil {
				wrong = fmt.Sprintf("%s: %v", id, err)
			} else {
				seen.mu.Lock()
				for _, result := range d.results {
					for _, made := range result.Manifests {
						seen.jobNames[made.text("metadata", "name")] = true
					}
				}
				seen.mu.Unlock()
			}
			seen.note(&seen.jobs, &seen.broken, wrong)
			continue
		}
		value := fmt.Sprint("v", i)
		_, err := taken(t.Context(), b, o.body(t, "deployManifest", o.deployFields(t, o.configMap(name, "{k: "+value+"}"), "versioned: false")), id)
		if err != nil {
			seen.note(&seen.deploys, &seen.broken, fmt.Sprintf("%s: %v", id, err))
			continue
		}
		wrong := ""
		path := escaped("manifests", o.c.Name, "atwill", "configMap "+name)
		for range 3 { // on each replica
			status, answer, err := b.do(t.Context(), http.MethodGet, path, "")
			if err != nil || status != http.StatusOK || !strings.Contains(answer, `"k":"`+value+`"`) {
				wrong = fmt.Sprintf("%s after %s=%s: %d %.500s %v", path, name, value, status, answer, err)
			}
		}
		seen.note(&seen.deploys, &seen.stale, wrong)
	}
}

// taken posts an operation and polls its task to the end. One whose answer is lost is
// posted again under its id.
func taken(ctx context.Context, b *balancer, body, id string) (done, error) {
	status, answer, err := b.do(ctx, http.MethodPost, "/kubernetes/ops?clientRequestId="+id, body)
	if err != nil || status != http.StatusOK {
		return done{}, fmt.Errorf("post: %d %.300s %w", status, answer, err)
	}
	var accepted struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &accepted); err != nil {
		return done{}, err
	}
	for deadline := time.Now().Add(time.Minute); ; pausing(ctx, 50*time.Millisecond) {
		status, answer, err := b.do(ctx, http.MethodGet, "/task/"+accepted.ID, "")
		if err != nil || status != http.StatusOK {
			return done{}, fmt.Errorf("poll: %d %.300s %w", status, answer, err)
		}
		d := done{raw: answer}
		if err := json.Unmarshal([]byte(answer), &d.Task); err != nil {
			return done{}, err
		}
		switch {
		case d.Status.Failed:
			return d, errors.New(answer)
		case d.Status.Completed:
			return d, d.decode()
		case time.Now().After(deadline):
			return d, fmt.Errorf("not through in a minute: %s", answer)
		}
	}
}
