package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// heldBack delivers what watches bring only after a while.
type heldBack struct {
	next  http.RoundTripper
	delay time.Duration
}

func (h heldBack) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := h.next.RoundTrip(r)
	if err != nil || r.URL.Query().Get("watch") == "" {
		return res, err
	}
	res.Body = newSlowBody(res.Body, h.delay)
	return res, nil
}

type chunk struct {
	at   time.Time
	data []byte
	err  error
}

type slowBody struct {
	io.Closer
	delay  time.Duration
	chunks chan chunk
	rest   []byte
}

func newSlowBody(body io.ReadCloser, delay time.Duration) *slowBody {
	s := &slowBody{Closer: body, delay: delay, chunks: make(chan chunk, 10_000)}
	go func() {
		for {
			buffer := make([]byte, 32<<10)
			n, err := body.Read(buffer)
			s.chunks <- chunk{time.Now(), buffer[:n], err}
			if err != nil {
				return
			}
		}
	}()
	return s
}

func (s *slowBody) Read(into []byte) (int, error) {
	if len(s.rest) == 0 {
		c := <-s.chunks
		time.Sleep(time.Until(c.at.Add(s.delay)))
		if len(c.data) == 0 && c.err != nil {
			s.chunks <- c
			return 0, c.err
		}
		s.rest = c.data
	}
	n := copy(into, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

// javaAccounts are a cluster's settings as accounts that watch everything.
func javaAccounts(clusters ...*localkube.Cluster) (out []config.Account) {
	for _, c := range clusters {
		out = append(out, config.Account{Name: c.Name, KubeconfigContents: string(c.Kubeconfig())})
	}
	return out
}

// TestReadYourWrites_OnEveryReplica has writers deploy and readers look, on
// two replicas of one database, one of which gets its watches seconds late. A
// read that begins after a task has completed must not show what was before.
func TestReadYourWrites_OnEveryReplica(t *testing.T) {
	const writers, readers, held = 8, 32, 3 * time.Second
	lasting := 20 * time.Second
	if os.Getenv("INTEGRATION_EVERYTHING") != "" {
		lasting = time.Minute
	}
	c := pool.Shared(t, 1)[0]
	const name = "ryw"
	namespace(t, name, c)
	cfg := settings()
	cfg.Kubernetes.Accounts = javaAccounts(c)
	m := newDatabase(t, "utf8mb4")
	one := &ops{service: startShared(t, storeOptions(t, m), cfg, nil).ready(t), c: c, namespace: name}
	two := &ops{startShared(t, storeOptions(t, m), cfg, func(next http.RoundTripper) http.RoundTripper { return heldBack{next, held} }).ready(t), c, name}
	replicas := []*ops{one, two}

	// written is the last number of each writer that a task has completed with.
	var written [writers]atomic.Int64
	var stale, looked [3]atomic.Int64
	var tasks atomic.Int64
	manifest := func(w int, n int64) string {
		return fmt.Sprintf("apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {name: w%[1]d, namespace: %[2]s, annotations: {strategy.spinnaker.io/versioned: 'false'}, labels: {number: '%[3]d'}}\nspec: {replicas: 0, selector: {matchLabels: {w: w%[1]d}}, template: {metadata: {labels: {w: w%[1]d}}, spec: {containers: [{name: a, image: x}]}}}", w, name, n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasting)
	defer cancel()
	var wg sync.WaitGroup
	var lagsMu sync.Mutex
	var lags []time.Duration
	for w := range writers {
		wg.Go(func() {
			for n := int64(1); ctx.Err() == nil; n++ {
				o := replicas[rand.IntN(2)]
				d := o.deploy(t, manifest(w, n), "")
				d.only(t)
				done := time.Now()
				written[w].Store(n)
				tasks.Add(1)
				if w != 0 {
					continue
				}
				// How long the list of the other replica takes to show it.
				other := one
				if o == one {
					other = two
				}
				for ctx.Err() == nil {
					if number, _ := numberIn(other, t, "/applications/"+name+"/serverGroups", w); number >= n {
						lagsMu.Lock()
						lags = append(lags, time.Since(done))
						lagsMu.Unlock()
						break
					}
					time.Sleep(2 * time.Millisecond)
				}
			}
		})
	}
	kinds := []string{"single manifest", "cluster", "cluster by type"}
	for range readers {
		wg.Go(func() {
			for ctx.Err() == nil {
				w, o := rand.IntN(writers), replicas[rand.IntN(2)]
				least := written[w].Load()
				if least == 0 {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				kind := rand.IntN(3)
				path := []string{
					fmt.Sprintf("/manifests/%s/%s/replicaSet%%20w%d?includeEvents=false", c.Name, name, w),
					fmt.Sprintf("/applications/%s/clusters/%s/replicaSet%%20w%d", name, c.Name, w),
					fmt.Sprintf("/applications/%s/clusters/%s/replicaSet%%20w%d/kubernetes", name, c.Name, w),
				}[kind]
				number, body := numberIn(o, t, path, w)
				looked[kind].Add(1)
				if number < least {
					stale[kind].Add(1)
					if stale[kind].Load() < 3 {
						t.Errorf("%s shows %d after %d: %.2000s", kinds[kind], number, least, body)
					}
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(lags)
	if len(lags) == 0 {
		t.Fatal("no lag was measured")
	}
	for i, kind := range kinds {
		t.Logf("%s: %d reads, %d stale", kind, looked[i].Load(), stale[i].Load())
		if looked[i].Load() < 50 {
			t.Errorf("%s: too few reads", kind)
		}
	}
	at := func(percent int) time.Duration { return lags[len(lags)*percent/100].Round(time.Millisecond) }
	t.Logf("%d tasks; the other replica's list, with watches held back by %s on one: p50 %s, p90 %s, p99 %s after completion", tasks.Load(), held, at(50), at(90), at(99))
	if at(90) > held {
		t.Error("the list waits for the watch instead of following the record of writes")
	}
}

// numberIn finds a writer's number in an answer: its label, or the tag of its
// image.
func numberIn(o *ops, t testing.TB, path string, writer int) (int64, string) {
	t.Helper()
	r, err := o.tryGet(path)
	if err != nil || r.status != http.StatusOK {
		t.Errorf("%s: %v %d %s", path, err, r.status, r.body)
		return 1 << 60, ""
	}
	var found []any
	var v any
	if err := json.Unmarshal([]byte(r.body), &v); err != nil {
		t.Error(err)
	}
	collect(v, func(m map[string]any) {
		if labels, ok := m["labels"].(map[string]any); ok && labels["number"] != nil {
			if n, _ := m["name"].(string); n == "" || strings.HasSuffix(n, " w"+strconv.Itoa(writer)) || n == "w"+strconv.Itoa(writer) {
				found = append(found, labels["number"])
			}
		}
	})
	if len(found) == 0 {
		return 0, r.body
	}
	n, err := strconv.ParseInt(fmt.Sprint(found[0]), 10, 64)
	return n, errors.Join(err, errors.New(r.body)).Error()
}

func collect(v any, visit func(map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v)
		for _, child := range v {
			collect(child, visit)
		}
	case []any:
		for _, child := range v {
			collect(child, visit)
		}
	}
}
