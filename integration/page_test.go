package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// browser is a real Chromium with one tab, and what it asked for.
type browser struct {
	t   *testing.T
	ctx context.Context
	at  string

	bytes atomic.Int64
	mu    sync.Mutex
	hosts map[string]bool
}

// mustHave skips a test whose program is missing, but in CI, which installs it.
func mustHave(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "" {
		t.Skip("no ", program)
	}
	t.Fatal(err)
	return ""
}

func startBrowser(t *testing.T, at string) *browser {
	t.Helper()
	path := mustHave(t, "chromium")
	ctx, cancel := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU))
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, at: at, hosts: map[string]bool{}}
	if err := chromedp.Do(ctx, command(network.Enable, network.EnableParams{}), command(network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: true})); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, b.saw); err != nil {
		t.Fatal(err)
	}
	b.screen(1280, 900, "light")
	return b
}

// saw takes note of what the page asks for.
func (b *browser) saw(event any) {
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.mu.Lock()
		defer b.mu.Unlock()
		if u, err := url.Parse(e.Request.URL); err == nil {
			b.hosts[u.Scheme+"://"+u.Host] = true
		}
	case *network.EventLoadingFinished:
		b.bytes.Add(int64(e.EncodedDataLength))
	}
}

type step = chromedp.Action[chromedp.Void]

func command[P, R any](c cdp.Command[P, R], params P) step {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, c, params)
		return err
	})
}

// do carries out actions within a time.
func (b *browser) do(steps ...step) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// get carries out an action with a result.
func get[T any](b *browser, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	out, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *browser) screen(width, height int64, scheme string) {
	b.t.Helper()
	b.do(
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}),
	)
}

// scripts switches scripts on or off.
func (b *browser) scripts(on bool) {
	b.t.Helper()
	b.do(command(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}))
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.at+path), chromedp.WaitReady("#main"))
}

// value evaluates a script in the page.
func value[T any](b *browser, script string) T {
	b.t.Helper()
	return get(b, chromedp.Evaluate[T](script))
}

// becomes waits until the script is true. While another page is loaded it may
// fail.
func (b *browser) becomes(within time.Duration, script string) {
	b.t.Helper()
	eventually(b.t, within, func() error {
		ctx, cancel := context.WithTimeout(b.ctx, within)
		defer cancel()
		is, err := chromedp.Run(ctx, chromedp.Evaluate[bool](script))
		if err != nil {
			return err
		}
		if !is {
			shown, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n" + document.body.innerText`))
			return errors.Join(fmt.Errorf("%s is not so on %.3000s", script, shown), err)
		}
		return nil
	})
}

func (b *browser) keys(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// picture keeps a screenshot for docs/ when that is asked for.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("INTEGRATION_PICTURES")
	if dir == "" {
		return
	}
	png := get(b, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// axe is the checker of accessibility, from npm.
var axe = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "axe")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	cmd := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir, "axe-core@4.14.1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	return string(text), err
})

// accessible lets axe look at the page.
func (b *browser) accessible(page string) {
	b.t.Helper()
	source, err := axe()
	if err != nil {
		b.t.Fatal(err)
	}
	value[any](b, source+"; null")
	type violation struct {
		ID, Help string
		Nodes    []struct{ HTML string }
	}
	found := get(b, chromedp.Evaluate[[]violation](`axe.run().then(r => r.violations.map(v => ({ID: v.id, Help: v.help, Nodes: v.nodes.map(n => ({HTML: n.html}))})))`, chromedp.EvalAsValue, awaited))
	for _, v := range found {
		b.t.Errorf("%s: %s: %s: %.300v", page, v.ID, v.Help, v.Nodes)
	}
}

// TestPage_InABrowser: a person's way through the page, on a healthy, a dead, a
// forbidden and a slow account.
func TestPage_InABrowser(t *testing.T) {
	mustHave(t, "npm")
	c := pool.Shared(t, 1)[0]
	namespace(t, "paged", c)
	long := strings.Repeat("n", 63)
	apply(t, c, deployment("paged", "paged", 3)+"\n---\n"+deployment("paged", long, 1))
	slow, err := c.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slow.Close)
	slow.Delay(300 * time.Millisecond)
	yes := true
	entry := func(name string, at *localkube.Cluster) config.Account {
		return config.Account{Name: name, KubeconfigContents: string(at.Kubeconfig()), OnlySpinnakerManaged: &yes}
	}
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{
		entry("healthy", c),
		entry("dead", &localkube.Cluster{Name: "x", URL: "https://127.0.0.1:1", CA: c.CA, Token: c.Token}),
		entry("forbidden", &localkube.Cluster{Name: "x", URL: c.URL, CA: c.CA, Token: c.UserToken}),
		entry("slow", &localkube.Cluster{Name: "x", URL: "https://" + slow.Addr(), CA: c.CA, Token: c.Token}),
		entry(strings.Repeat("a", 250), &localkube.Cluster{Name: "x", URL: "https://127.0.0.1:1", CA: c.CA, Token: c.Token}),
	}
	s := start(t, cfg)
	eventually(t, time.Minute, func() error {
		if a := statusOf(s, "healthy"); a.State != watch.Synced || a.Stale {
			return fmt.Errorf("%+v", a)
		}
		if a := statusOf(s, "forbidden"); a.Message == "" {
			return errors.New("not refused yet")
		}
		return nil
	})
	waitPods(t, s, "paged", "healthy", 3)
	o := &ops{service: s, c: c, namespace: "paged"}
	run := o.run(t, "scaleManifest", "account: healthy\nmanifestName: deployment paged\nlocation: paged\nreplicas: 4").ID
	waitPods(t, s, "paged", "healthy", 4)
	b := startBrowser(t, s.URL)
	pages := map[string]string{
		"applications": "/ui", "application": "/ui/applications/paged", "long": "/ui/applications/" + long, "nobody": "/ui/applications/nobody", "accounts": "/ui/accounts",
		"account": "/ui/accounts/healthy", "dead account": "/ui/accounts/dead", "tasks": "/ui/tasks", "task": "/ui/tasks/" + run, "history": "/ui/applications/paged/history",
		"search": "/ui/search?q=paged", "figures": "/ui/figures", "problem": "/ui/tasks/unknown",
	}

	t.Run("is light, whole without its script, and asks nobody else", func(t *testing.T) {
		b.t = t
		b.scripts(false)
		for name, path := range pages {
			b.bytes.Store(0)
			b.open(path)
			text := get(b, chromedp.Text("#main"))
			if len(text) < 10 {
				t.Errorf("%s shows nothing of its own: %q", name, text)
			}
			if n := b.bytes.Load(); n > 100<<10 || n == 0 {
				t.Errorf("%s weighs %d bytes", name, n)
			}
		}
		b.scripts(true)
		if len(b.hosts) != 1 || !b.hosts[s.URL] {
			t.Errorf("asked %v", b.hosts)
		}
	})

	t.Run("is accessible, dark too", func(t *testing.T) {
		b.t = t
		for _, scheme := range []string{"light", "dark"} {
			b.screen(1280, 900, scheme)
			for name, path := range pages {
				b.open(path)
				b.accessible(name + ", " + scheme)
			}
		}
		b.open("/ui/applications/paged")
		if paper := value[string](b, "getComputedStyle(document.documentElement).backgroundColor"); paper != "rgb(18, 23, 29)" {
			t.Errorf("the paper is %s in the dark", paper)
		}
		b.picture("dark")
		b.screen(1280, 900, "light")
	})

	t.Run("fits on 320 pixels", func(t *testing.T) {
		b.t = t
		b.screen(320, 640, "light")
		for name, path := range pages {
			b.open(path)
			if w := value[float64](b, "document.documentElement.scrollWidth"); w > 320 {
				t.Errorf("%s is %v wide", name, w)
			}
		}
		b.open("/ui/applications/paged")
		b.picture("narrow")
		b.screen(1280, 900, "light")
	})

	t.Run("tells of each account what is wrong", func(t *testing.T) {
		b.t = t
		b.open("/ui/accounts?sort=state")
		b.becomes(time.Minute, `["nothing answers there", "may not do this", "healthy"].every(x => document.getElementById("main").innerText.includes(x))`)
		b.picture("accounts")
	})

	t.Run("changes as the cluster does", func(t *testing.T) {
		b.t = t
		b.open("/ui/applications/paged")
		b.becomes(10*time.Second, `document.getElementById("live").innerText.startsWith("live")`)
		best := time.Duration(math.MaxInt64)
		for round := range 3 { // the machine has other work: the best counts
			want := 6 + round
			scale(t, c, "paged", "paged", want)
			begin := time.Now()
			b.becomes(20*time.Second, fmt.Sprintf(`document.getElementById("main").innerText.includes("of %d up")`, want))
			best = min(best, time.Since(begin))
		}
		t.Log("seen after", best)
		if best > time.Second {
			t.Errorf("a scaled deployment is seen after %s", best)
		}
		b.becomes(20*time.Second, `document.querySelector(".squares").querySelectorAll("i.Up").length == 8`)
		b.picture("application")
	})

	t.Run("is used with the keyboard alone", func(t *testing.T) {
		b.t = t
		b.open("/ui")
		b.keys(kb.Tab)
		if got := value[string](b, "document.activeElement.innerText"); got != "To the content" {
			t.Errorf("the first stop is %q", got)
		}
		b.do(command(input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: input.DispatchKeyEventTypeRawKeyDown, Key: "/"})) // a browser sends no character when the key is taken
		b.becomes(5*time.Second, `document.activeElement.id == "everything"`)
		b.keys("paged" + kb.Enter)
		b.becomes(10*time.Second, `location.pathname == "/ui/search" && document.readyState == "complete" && document.querySelector("h1").innerText == "Search"`)
		for range 30 {
			b.keys(kb.Tab)
			if value[string](b, `document.activeElement.getAttribute("href") || ""`) == "/ui/applications/paged" {
				break
			}
		}
		if got := value[string](b, "location.search + document.activeElement.innerText"); got != "?q=pagedpaged" {
			t.Errorf("the hit is not reached: %s", got)
		}
		b.keys(kb.Enter)
		b.becomes(10*time.Second, `document.querySelector("h1").innerText == "paged"`)
		if value[float64](b, `document.querySelectorAll("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").length`) > 0 {
			t.Error("an order of its own confuses")
		}
	})

	t.Run("finds as one types", func(t *testing.T) {
		b.t = t
		b.open("/ui/applications")
		b.do(chromedp.Focus("#q"))
		b.keys("page")
		b.becomes(10*time.Second, `document.querySelectorAll("tbody tr").length == 1 && document.activeElement.id == "q" && location.search == "?q=page"`)
		b.keys("zzz")
		b.becomes(10*time.Second, `document.getElementById("main").innerText.includes("No application has")`)
	})

	t.Run("shows what a task has changed", func(t *testing.T) {
		b.t = t
		b.open("/ui/tasks/" + run)
		b.becomes(10*time.Second, `["succeeded", "/spec/replicas", "updated deployment paged"].every(x => document.getElementById("main").innerText.includes(x))`)
		b.picture("task")
	})
}

// awaited has an expression's promise waited for.
func awaited(p *runtime.EvaluateParams) {
	yes := true
	p.AwaitPromise = &yes
}

// scale does what kubectl scale does.
func scale(t *testing.T, c *localkube.Cluster, namespace, name string, replicas int) {
	t.Helper()
	call(t, c, http.MethodPatch, "/apis/apps/v1/namespaces/"+namespace+"/deployments/"+name+"/scale", "application/merge-patch+json", fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
}

// TestPage_OfAThousandAccounts: with 5,000 applications, too.
func TestPage_OfAThousandAccounts(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	namespace(t, "crowd", c)
	const applications = 5000
	var group errgroup.Group
	group.SetLimit(16)
	for i := range applications {
		name := fmt.Sprintf("crowd-%04d", i)
		body := fmt.Appendf(nil, `{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{"name":%[1]q,"labels":{"app.kubernetes.io/managed-by":"spinnaker"},"annotations":{"moniker.spinnaker.io/application":%[1]q,"moniker.spinnaker.io/cluster":"replicaSet %[1]s"}},"spec":{"replicas":0,"selector":{"matchLabels":{"x":"y"}},"template":{"metadata":{"labels":{"x":"y"}},"spec":{"containers":[{"name":"x","image":"x"}]}}}}`, name)
		group.Go(func() error {
			_, err := c.Call(context.Background(), http.MethodPost, "/apis/apps/v1/namespaces/crowd/replicasets", "application/json", bytes.Clone(body))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	yes := true
	cfg := settings()
	cfg.Kubernetes.Accounts = []config.Account{{Name: "healthy", KubeconfigContents: string(c.Kubeconfig()), OnlySpinnakerManaged: &yes}}
	dead := string((&localkube.Cluster{Name: "x", URL: "https://127.0.0.1:1", CA: c.CA, Token: c.Token}).Kubeconfig())
	for i := range 999 {
		cfg.Kubernetes.Accounts = append(cfg.Kubernetes.Accounts, config.Account{Name: fmt.Sprintf("dead-%03d", i), KubeconfigContents: dead, OnlySpinnakerManaged: &yes})
	}
	s := startWith(t, cfg, nil).ready(t)
	b := startBrowser(t, s.URL)
	for path, want := range map[string]string{
		"/ui":                                 "5000 applications",
		"/ui/applications?q=crowd-49":         "100 applications",
		"/ui/applications?page=50":            "crowd-4999",
		"/ui/accounts":                        "1000 accounts",
		"/ui/accounts?state=ok":               "healthy",
		"/ui/accounts?sort=objects":           "healthy",
		"/ui/accounts?q=dead-77&sort=state":   "dead-777",
		"/ui/search?q=crowd-1234":             "replicaSet crowd-1234",
		"/ui/applications/crowd-1234?q=crowd": "0 of 0 up",
	} {
		b.bytes.Store(0)
		b.open(path)
		b.becomes(30*time.Second, fmt.Sprintf(`document.getElementById("main").innerText.includes(%q)`, want))
		if n := b.bytes.Load(); n > 100<<10 {
			t.Errorf("%s weighs %d bytes", path, n)
		}
	}
}

func TestPage_CanBeSwitchedOff(t *testing.T) {
	cfg := settings()
	cfg.Page.Enabled = false
	s := start(t, cfg)
	for _, path := range []string{"/", "/ui", "/ui/accounts", "/ui/assets/style.css"} {
		if r := s.get(t, path); r.status != http.StatusNotFound || !strings.Contains(r.body, "No handler found for GET") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
}
