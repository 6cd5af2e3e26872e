package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

// memoryOf reads a process's largest resident memory, in bytes.
func memoryOf(t testing.TB, pid int) int64 {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// repeated is a text again and again, without ever being in memory.
type repeated struct {
	text string
	left int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for n < len(p) && r.left > 0 {
		copied := copy(p[n:], r.text)
		n, r.left = n+copied, r.left-int64(copied)
	}
	return n, nil
}

// TestAttacks_TheServiceStandsWithin512MiB runs the attacks side by side against a
// process that is told to keep below 512 MiB, while others ask whether it is
// healthy and read.
func TestAttacks_TheServiceStandsWithin512MiB(t *testing.T) {
	const most = 512 << 20
	c := pool.Shared(t, 1)[0]
	dir := t.TempDir()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := localkube.WriteKubeconfig(kubeconfig, c); err != nil {
		t.Fatal(err)
	}
	p := startBinaryWith(t, clouddriver.Path(t), dir, []string{"GOMEMLIMIT=400MiB"}, "--kubernetes.kubeconfig="+kubeconfig, "--watch.maxListBytes=67108864").up(t)
	address := strings.TrimPrefix(p.URL, "http://")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 15 * time.Second}
	var answers sync.Map // by attack and status: *atomic.Int64
	count := func(attack string, status int) {
		n, _ := answers.LoadOrStore(fmt.Sprintf("%s %d", attack, status), &atomic.Int64{})
		n.(*atomic.Int64).Add(1)
	}
	send := func(attack, method, path string, body io.Reader) {
		req, err := http.NewRequestWithContext(ctx, method, p.URL+path, body)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			count(attack, 0) // the connection was ended
			return
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		count(attack, res.StatusCode)
	}
	var all sync.WaitGroup
	attack := func(at int, do func()) {
		for range at {
			all.Go(func() {
				for ctx.Err() == nil {
					do()
					time.Sleep(50 * time.Millisecond) // the attackers share this machine's processors
				}
			})
		}
	}
	attack(3, func() {
		send("empty operations", http.MethodPost, "/kubernetes/ops", io.MultiReader(strings.NewReader("["), &repeated{"{},", 60 << 20}, strings.NewReader("{}]")))
	})
	attack(3, func() {
		send("empty manifests", http.MethodPost, "/kubernetes/ops", io.MultiReader(strings.NewReader(`[{"deployManifest":{"account":"`+c.Name+`","manifests":[`), &repeated{"{},", 60 << 20}, strings.NewReader("{}]}}]")))
	})
	attack(2, func() { send("a gigabyte", http.MethodPost, "/kubernetes/ops", &repeated{"[1,", 1 << 30}) })
	many := url.Values{}
	for i := range 9000 {
		many.Add("applications", fmt.Sprintf("a%d", i))
	}
	attack(4, func() { send("9,000 applications", http.MethodGet, "/serverGroups?"+many.Encode(), nil) })
	attack(4, func() {
		send("one application 900 times", http.MethodGet, "/serverGroups?"+strings.Repeat("applications=shop&", 900), nil)
	})
	manifest := `[{"deployManifest":{"account":"` + c.Name + `","manifests":[{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x"},"data":{"a":"` + strings.Repeat("x", 4<<20) + `"}}]}}]`
	attack(2, func() { send("a manifest of 4 MiB", http.MethodPost, "/kubernetes/ops", strings.NewReader(manifest)) })
	namespaces := strings.TrimSuffix(strings.Repeat(`"n",`, 5000), ",")
	for i := range 5000 {
		namespaces = strings.Replace(namespaces, `"n"`, fmt.Sprintf(`"n%d"`, i), 1)
	}
	attack(1, func() {
		send("5,000 namespaces", http.MethodPost, providersPath, strings.NewReader(`{"name":"many","host":"https://10.1.2.3","tokenProvider":"static","bearerToken":"t","namespaces":[`+namespaces+`]}`))
	})
	attack(1, func() {
		send("600,000 groups", http.MethodPost, providersPath, io.MultiReader(strings.NewReader(`{"name":"many","host":"https://10.1.2.3","tokenProvider":"static","bearerToken":"t","permissions":{"read":[`), &repeated{`"g1",`, 3_000_000}, strings.NewReader(`"g"]}}`)))
	})
	headers := "GET /applications HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Spinnaker-Flood: "+strings.Repeat("y", 1000)+"\r\n", 200) + "\r\n"
	attack(2, func() { raw(ctx, address, headers, 0) })
	// A byte a second, of bodies, of headers, and of nothing at all.
	attack(1000, func() {
		raw(ctx, address, "POST /kubernetes/ops HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n[", time.Second)
	})
	attack(500, func() { raw(ctx, address, "GET /applications HTTP/1.1\r\nX-A: ", time.Second) })
	attack(1000, func() { raw(ctx, address, "", 5*time.Second) })

	var healths []time.Duration
	reads, refused := 0, 0
	probing := &http.Client{Timeout: 5 * time.Second}
	ask := func(path string) (time.Duration, int) {
		begun := time.Now()
		res, err := probing.Get(p.URL + path)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return time.Since(begun), 0
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		return time.Since(begun), res.StatusCode
	}
	for ctx.Err() == nil {
		took, status := ask("/health")
		if status != http.StatusOK {
			t.Errorf("/health: %d", status)
		}
		healths = append(healths, took)
		if _, status := ask("/applications"); status == http.StatusOK {
			reads++
		} else {
			refused++
		}
		time.Sleep(20 * time.Millisecond) // as often as probes and people ask together
	}
	cancel()
	all.Wait()
	select {
	case <-p.exited:
		t.Fatal("the process has ended")
	default:
	}
	slices.Sort(healths)
	p99, resident := healths[len(healths)*99/100], memoryOf(t, p.cmd.Process.Pid)
	answers.Range(func(key, n any) bool {
		t.Logf("%s: %d times", key, n.(*atomic.Int64).Load())
		return true
	})
	t.Logf("/health: %d times, p99 %s; reads: %d served, %d refused; resident memory at most %d MiB", len(healths), p99.Round(time.Millisecond), reads, refused, resident>>20)
	if resident > most {
		t.Errorf("resident memory: %d MiB are more than %d", resident>>20, most>>20)
	}
	if p99 > 2*time.Second { // the attackers have the same processors
		t.Errorf("/health: p99 %s", p99)
	}
	if reads == 0 || refused > reads/10 {
		t.Errorf("%d reads were served, and %d refused", reads, refused)
	}
}

// taskIDIn is the id in the answer to operations, "" for none.
func taskIDIn(answer string) string {
	_, rest, _ := strings.Cut(answer, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

// raw opens a connection, sends a text, and then a byte each pause until it is
// ended.
func raw(ctx context.Context, address, text string, pause time.Duration) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte(text)); err != nil {
		return
	}
	for pause > 0 && ctx.Err() == nil {
		_ = conn.SetReadDeadline(time.Now().Add(pause))
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			return // it was answered
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
	}
}

// TestRedirect_TakesNoCredentialsAlong has a cluster that sends everybody elsewhere:
// the token must not go there, and what is there must not come back.
func TestRedirect_TakesNoCredentialsAlong(t *testing.T) {
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = io.WriteString(w, "the metadata service's secret")
	}))
	t.Cleanup(elsewhere.Close)
	cluster := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/text") || strings.Contains(r.URL.Path, "configmaps") {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(http.StatusTeapot)
			_, _ = io.WriteString(w, "the metadata service's secret")
			return
		}
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(cluster.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cluster.Certificate().Raw})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: k, cluster: {server: %q, certificate-authority-data: %s}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\nusers: [{name: u, user: {token: hunter2}}]\n", cluster.URL, base64.StdEncoding.EncodeToString(ca))
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	c := settings()
	c.Kubernetes.Kubeconfig = path
	c.Database.Path = filepath.Join(t.TempDir(), "c.db")
	s := startWith(t, c, nil)
	for _, path := range []string{"/manifests/c/ns/pod%20x", "/manifests/c/ns/configMap%20x", "/instances/c/ns/pod%20x/console", "/ui/accounts/c"} {
		r := s.get(t, path)
		if strings.Contains(r.body, "metadata service") || strings.Contains(r.body, "hunter2") {
			t.Errorf("%s: %s", path, r.body)
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("%d requests were sent elsewhere", n)
	}
}

// TestNamespace_LeadsNowhereElse: a namespace is a part of a path.
func TestNamespace_LeadsNowhereElse(t *testing.T) {
	o := startOps(t, "leads")
	for _, namespace := range []string{"../../apis", "default/pods/x", "..", "a%2fb", "default/../kube-system"} {
		body := fmt.Sprintf(`[{"deployManifest":{"account":%q,"moniker":{"app":"x"},"source":"text","manifests":[{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"led","namespace":%q}}]}}]`, o.c.Name, namespace)
		r := o.send(t, http.MethodPost, "/kubernetes/ops", body)
		if r.status == http.StatusOK {
			eventually(t, 20*time.Second, func() error {
				done := o.get(t, "/task/"+taskIDIn(r.body))
				if !strings.Contains(done.body, `"failed":true`) {
					return fmt.Errorf("%d %.300s", done.status, done.body)
				}
				return nil
			})
		}
	}
	if found := call(t, o.c, http.MethodGet, "/api/v1/configmaps?fieldSelector=metadata.name%3Dled", "", ""); bytes.Contains(found, []byte(`"led"`)) {
		t.Errorf("an object was made: %s", found)
	}
}

// TestSQLiteFile_IsOnlyOurs: others on the machine read no secrets, also of a file
// that was there before, and none stay in free pages.
func TestSQLiteFile_IsOnlyOurs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clouddriver.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil { // as the older rewrite leaves it
		t.Fatal(err)
	}
	cluster := pool.Shared(t, 1)[0]
	namespace(t, "canary", cluster)
	c := settings()
	c.Database.Path = path
	s := start(t, c, cluster).ready(t)
	canary := "canary-" + strconv.FormatInt(time.Now().UnixNano(), 36)
	r := s.send(t, http.MethodPost, "/kubernetes/ops", fmt.Sprintf(`[{"deployManifest":{"account":%q,"moniker":{"app":"x"},"source":"text","manifests":[{"apiVersion":"v1","kind":"Secret","metadata":{"name":"kept","namespace":"canary"},"stringData":{"a":%q}}]}}]`, cluster.Name, canary))
	id := taskIDIn(r.body)
	eventually(t, 20*time.Second, func() error {
		if r := s.get(t, "/task/"+id); !strings.Contains(r.body, `"completed":true`) || strings.Contains(r.body, canary) {
			return fmt.Errorf("%d %.300s", r.status, r.body)
		}
		return nil
	})
	for _, page := range []string{"/ui/tasks/" + id, "/applications/x/history", "/metrics"} {
		if r := s.get(t, page); strings.Contains(r.body, canary) {
			t.Errorf("%s shows the secret", page)
		}
	}
	s.stop()
	files, err := filepath.Glob(path + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %s", file, info.Mode())
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(canary)) {
			t.Errorf("the secret is in %s", filepath.Base(file))
		}
	}
}
