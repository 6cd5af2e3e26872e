package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/integration/program"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// readers read views without a pause and judge each answer: it is whole, or says
// that the service cannot tell.
type readers struct {
	url   string
	views map[string]string // a text that a whole answer has, by path
	ctx   context.Context

	answered, unavailable, unreached atomic.Int64
	mu                               sync.Mutex
	wrong                            []string
}

func (r *readers) run(n int) (wait func()) {
	var group sync.WaitGroup
	paths := []string{}
	for path := range r.views {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for i := range n {
		group.Go(func() {
			client := &http.Client{Transport: &http.Transport{}, Timeout: 20 * time.Second}
			defer client.CloseIdleConnections()
			for j := i; r.ctx.Err() == nil; j++ {
				r.read(client, paths[j%len(paths)])
			}
		})
	}
	return group.Wait
}

func (r *readers) read(client *http.Client, path string) {
	res, err := client.Get(r.url + path)
	if err != nil {
		r.unreached.Add(1)
		return
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	switch {
	case err != nil:
		r.unreached.Add(1)
	case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
		r.unavailable.Add(1)
	case res.StatusCode == http.StatusOK && strings.Contains(string(body), r.views[path]):
		r.answered.Add(1)
	default:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.wrong = append(r.wrong, fmt.Sprintf("%s: %d %.200s", path, res.StatusCode, body))
	}
}

// stopTimes is how often the process is stopped; INTEGRATION_EVERYTHING=1 has it
// stopped as often as a release deserves.
func stopTimes() int {
	if os.Getenv("INTEGRATION_EVERYTHING") != "" {
		return 200
	}
	return 20
}

// TestStop_NeverLies stops the program under load at random moments, with event
// streams open: no answer is wrong, it ends in time and with exit code 0.
func TestStop_NeverLies(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "stop", c)
	apply(t, c, deployment("stop", "stops", 2))
	path, dir := clouddriver.Path(t), t.TempDir()
	kubeconfig := dir + "/kubeconfig"
	if err := localkube.WriteKubeconfig(kubeconfig, c); err != nil {
		t.Fatal(err)
	}
	const grace = 300 * time.Millisecond
	port := program.FreePort(t)
	stops := stopTimes()
	var total, unavailable int64
	var longest time.Duration
	for n := range stops {
		p := startBinary(t, path, dir, fmt.Sprintf("--server.port=%d", port), "--kubernetes.kubeconfig="+kubeconfig, "--server.shutdownGrace="+grace.String()).up(t)
		waitPods(t, p.service, "stops", c.Name, 2)
		ctx, cancel := context.WithCancel(context.Background())
		load := &readers{url: p.URL, ctx: ctx, views: map[string]string{
			"/applications": `"stops"`, "/applications/stops": `"deployment stops"`, "/applications/stops/serverGroups": `"total":2`,
			"/applications/stops/clusters/" + c.Name: "deployment stops", escaped("manifests", c.Name, "stop", "deployment stops") + "?includeEvents=false": `"kind":"Deployment"`,
			"/search?q=stops&type=serverGroups": `"replicaSet stops-`,
		}}
		wait := load.run(4)
		ended := follow(t, ctx, p.URL+"/applications/stops/stream")
		until(time.Now().Add(rand.N(200 * time.Millisecond)))
		begin := time.Now()
		bounded, stop := context.WithTimeout(ctx, 20*time.Second)
		code, err := p.terminate(bounded)
		stop()
		took := time.Since(begin)
		cancel()
		wait()
		longest = max(longest, took)
		total, unavailable = total+load.answered.Load(), unavailable+load.unavailable.Load()
		if err != nil || code != 0 || took < grace || took > grace+3*time.Second {
			t.Errorf("stop %d: exit code %d after %s, %v", n, code, took, err)
		}
		if len(load.wrong) > 0 {
			t.Fatalf("stop %d: %d wrong answers: %s", n, len(load.wrong), load.wrong[0])
		}
		if last := <-ended; last != "closing" {
			t.Errorf("stop %d: the event stream ended with %q", n, last)
		}
	}
	t.Logf("%d stops, %d right answers, %d answered 503, 0 wrong; the longest stop took %s with a grace of %s", stops, total, unavailable, longest.Round(time.Millisecond), grace)
}

// follow reads a stream to its end and tells the name of its last event.
func follow(t *testing.T, ctx context.Context, url string) <-chan string {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	last := make(chan string, 1)
	go func() {
		defer func() { _ = res.Body.Close() }()
		name := ""
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			if event, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				name = event
			}
		}
		last <- name
	}()
	return last
}

// TestStop_ReadinessTurnsFalseFirst looks at the probes while the service stops.
func TestStop_ReadinessTurnsFalseFirst(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	path, dir := clouddriver.Path(t), t.TempDir()
	kubeconfig := dir + "/kubeconfig"
	if err := localkube.WriteKubeconfig(kubeconfig, c); err != nil {
		t.Fatal(err)
	}
	p := startBinary(t, path, dir, "--kubernetes.kubeconfig="+kubeconfig, "--server.shutdownGrace=2s").up(t)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Second, func() error {
		r, err := p.tryGet("/readyz")
		if err == nil && r.status != http.StatusServiceUnavailable {
			err = fmt.Errorf("%d %s", r.status, r.body)
		}
		return err
	})
	p.get(t, "/health/readiness").says(t, 503, "OUT_OF_SERVICE")
	p.get(t, "/health/liveness").is(t, 200, `{"status":"UP"}`)
	p.get(t, "/applications").says(t, 200)
	if r := p.send(t, http.MethodPost, "/kubernetes/ops", `[{"deployManifest":{"account":"`+c.Name+`","moniker":{"app":"x"},"manifests":[]}}]`); r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
		t.Errorf("an operation is answered %d %v %s", r.status, r.header, r.body)
	}
	<-p.exited
	if p.code != 0 {
		t.Errorf("exit code %d", p.code)
	}
}

// TestStop_ASecondSignalEndsItAtOnce does not wait for the grace period.
func TestStop_ASecondSignalEndsItAtOnce(t *testing.T) {
	p := startBinary(t, clouddriver.Path(t), t.TempDir(), "--server.shutdownGrace=1h").up(t)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, func() error {
		if text := p.log(); !strings.Contains(text, "stopping") {
			return errors.New(text)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, err := p.terminate(ctx); err != nil {
		t.Error(err)
	}
}

// TestRestart_LosesNoPost has operations posted without a pause while one
// process follows another on the same port and the same database: each POST is
// taken, or answered 503 so that Orca repeats it. None of them breaks.
func TestRestart_LosesNoPost(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "restart", c)
	path, dir := clouddriver.Path(t), t.TempDir()
	kubeconfig := dir + "/kubeconfig"
	if err := localkube.WriteKubeconfig(kubeconfig, c); err != nil {
		t.Fatal(err)
	}
	port := program.FreePort(t)
	serve := func() *binary {
		return startBinary(t, path, dir, fmt.Sprintf("--server.port=%d", port), "--server.reusePort=true", "--kubernetes.kubeconfig="+kubeconfig, "--server.shutdownGrace=500ms")
	}
	p := serve().up(t)
	url := p.URL
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var taken, repeated atomic.Int64
	var mu sync.Mutex
	var ids, broken []string
	var posting sync.WaitGroup
	for i := range 3 {
		posting.Go(func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second} // each POST on a connection of its own, as after a pause
			for n := 0; ctx.Err() == nil; n++ {
				body := fmt.Sprintf(`[{"deployManifest":{"account":%q,"moniker":{"app":"restart"},"versioned":false,"manifests":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c-%d","namespace":"restart"},"data":{"n":"%d"}}]}}]`, c.Name, i, n)
				res, err := client.Post(url+"/kubernetes/ops", "application/json", strings.NewReader(body))
				if err != nil {
					mu.Lock()
					broken = append(broken, err.Error())
					mu.Unlock()
					continue
				}
				var answer struct{ ID string }
				text, _ := io.ReadAll(res.Body)
				_ = res.Body.Close()
				_ = json.Unmarshal(text, &answer)
				switch {
				case res.StatusCode == http.StatusOK && answer.ID != "":
					taken.Add(1)
					mu.Lock()
					ids = append(ids, answer.ID)
					mu.Unlock()
				case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
					repeated.Add(1)
				default:
					mu.Lock()
					broken = append(broken, fmt.Sprint(res.StatusCode, " ", string(text)))
					mu.Unlock()
				}
				until(time.Now().Add(20 * time.Millisecond))
			}
		})
	}
	const restarts = 4
	for range restarts {
		until(time.Now().Add(time.Second))
		before := taken.Load()
		next := serve()
		eventually(t, 20*time.Second, func() error { // it answers 503 until the database is free
			if text := next.log(); !strings.Contains(text, "waiting for another process") {
				return errors.New(text)
			}
			return nil
		})
		bounded, stop := context.WithTimeout(ctx, 20*time.Second)
		if code, err := p.terminate(bounded); err != nil || code != 0 {
			t.Errorf("exit code %d, %v", code, err)
		}
		stop()
		p = next
		eventually(t, 30*time.Second, func() error {
			if taken.Load() < before+20 {
				return errors.New("the successor takes nothing")
			}
			return nil
		})
	}
	cancel()
	posting.Wait()
	if len(broken) > 0 {
		t.Errorf("%d POSTs broke: %s", len(broken), broken[0])
	}
	for _, id := range ids {
		eventually(t, 30*time.Second, func() error {
			r, err := p.tryGet("/task/" + id)
			if err != nil {
				return err
			}
			if !strings.Contains(r.body, `"completed":true`) || strings.Contains(r.body, `"failed":true`) {
				return errors.New(r.body)
			}
			return nil
		})
	}
	t.Logf("%d restarts: %d POSTs were taken and done, %d were answered 503, none broke", restarts, taken.Load(), repeated.Load())
}
