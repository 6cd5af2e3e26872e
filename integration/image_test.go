package integration

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/testcontainers/testcontainers-go"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

const (
	// imageName is the image that is built of this tree.
	imageName = "clouddriver-test/clouddriver:built"
	// golangImage is used where it can be pulled; golangLocal, made of this
	// machine's Go and Debian's packages, where it cannot.
	golangImage = "golang:1.26"
)

// golangLocal is of the Go that runs the test.
var golangLocal = "clouddriver-test/golang:" + strings.TrimPrefix(runtime.Version(), "go")

var built = sync.OnceValue(func() error {
	golang, err := pulledOrMade(golangImage, "golang", golangLocal)
	if err != nil {
		return err
	}
	out, err := exec.Command("docker", "build", "--build-arg", "GO_IMAGE="+golang, "--build-arg", "VERSION=test", "--build-arg", "REVISION=none", "-t", imageName, "..").CombinedOutput()
	if err != nil {
		return fmt.Errorf("build the image: %w: %s", err, out[max(0, len(out)-4000):])
	}
	return nil
})

// imageBuilt builds the image once for all tests.
func imageBuilt(t *testing.T) {
	t.Helper()
	needEngine(t, built())
}

// bridge is the address of this machine that containers reach it by.
func bridge(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	// An engine that has just made its bridge does not say the gateway; it is the
	// address of the interface.
	if gateway := strings.TrimSpace(string(out)); net.ParseIP(gateway) != nil {
		return gateway
	}
	docker0, err := net.InterfaceByName("docker0")
	if err != nil {
		t.Fatal("the engine does not say its bridge's gateway:", err)
	}
	addresses, err := docker0.Addrs()
	if err != nil || len(addresses) == 0 {
		t.Fatal("the bridge has no address:", addresses, err)
	}
	return addresses[0].(*net.IPNet).IP.String()
}

// reachable is a control plane as containers see it.
func reachable(t *testing.T, c *localkube.Cluster) *localkube.Cluster {
	t.Helper()
	p, err := c.ProxyOn(bridge(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &localkube.Cluster{Name: c.Name, URL: "https://" + p.Addr(), CA: c.CA, Token: c.Token}
}

// boxed is the service as a container.
type boxed struct {
	*ops
	container testcontainers.Container
}

// oddUser owns nothing anywhere.
const oddUser = "54321:54321"

// startBox runs the image as a user that it does not know, on a read-only root
// file system.
func startBox(t *testing.T, c *localkube.Cluster, namespace string, env map[string]string, binds ...string) *boxed {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(path, reachable(t, c).Kubeconfig(), 0o644); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"KUBECONFIG": "/etc/clouddriver/kubeconfig", "TASKS_LEASE": "3s", "SERVER_SHUTDOWNGRACE": "200ms", "LOG_FORMAT": "json"}
	for k, v := range env {
		all[k] = v
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	box, err := testcontainers.Run(ctx, imageName, testcontainers.WithEnv(all), testcontainers.WithExposedPorts("7002/tcp"),
		testcontainers.WithConfigModifier(func(c *container.Config) { c.User = oddUser }),
		testcontainers.WithHostConfigModifier(func(h *container.HostConfig) {
			h.ReadonlyRootfs, h.CapDrop, h.SecurityOpt = true, []string{"ALL"}, []string{"no-new-privileges"}
			h.Binds = append([]string{dir + ":/etc/clouddriver:ro"}, binds...)
			h.Tmpfs = map[string]string{"/tmp": "rw,mode=1777"}
		}))
	b := &boxed{container: box}
	t.Cleanup(func() {
		if t.Failed() && box != nil {
			t.Logf("log of the container:\n%s", b.log())
		}
		if box != nil {
			_ = box.Terminate(context.Background()) // at the end there is nobody to tell
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	endpoint, err := box.PortEndpoint(ctx, "7002/tcp", "http")
	if err != nil {
		t.Fatal(err)
	}
	b.ops = &ops{&service{URL: endpoint}, c, namespace}
	return b
}

func (b *boxed) log() string {
	r, err := b.container.Logs(context.Background())
	if err != nil {
		return err.Error()
	}
	defer func() { _ = r.Close() }()
	text, _ := io.ReadAll(io.LimitReader(r, 1<<20)) // what there is of it
	return string(text)
}

func (b *boxed) up(t *testing.T) *boxed {
	t.Helper()
	eventually(t, time.Minute, func() error {
		r, err := b.tryGet("/readyz")
		if err == nil && r.status != http.StatusOK {
			err = errors.New(r.body)
		}
		return err
	})
	return b
}

// mysqlEnv is a new database as a container reaches it.
func mysqlEnv(t *testing.T) map[string]string {
	t.Helper()
	m := newDatabase(t, "utf8mb4")
	_, port, err := net.SplitHostPort(m.Host)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"DB_HOST": bridge(t), "DB_PORT": port, "DB_NAME": m.Name, "DB_USER": m.User, "DB_PASS": m.Password}
}

func TestImage_IsSmallAndHoldsTheProgramOnly(t *testing.T) {
	t.Parallel() // the image is there when the others are over
	imageBuilt(t)
	save := exec.Command("docker", "save", imageName)
	out, err := save.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := save.Start(); err != nil {
		t.Fatal(err)
	}
	size := &counted{}
	z := gzip.NewWriter(size)
	if _, err := io.Copy(z, out); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), save.Wait()); err != nil {
		t.Fatal(err)
	}
	t.Logf("the image has %.1f MB, compressed", float64(size.n)/1e6)
	if size.n > 40e6 {
		t.Errorf("it has %d bytes, compressed", size.n)
	}
	labels, err := exec.Command("docker", "image", "inspect", imageName, "--format", `{{index .Config.Labels "org.opencontainers.image.version"}} {{index .Config.Labels "org.opencontainers.image.licenses"}} {{.Config.User}}`).Output()
	if err != nil || strings.TrimSpace(string(labels)) != "test Apache-2.0 10111:10111" {
		t.Errorf("%v %s", err, labels)
	}
	if out, err := exec.Command("docker", "run", "--rm", "--entrypoint", "sh", imageName).CombinedOutput(); err == nil {
		t.Errorf("there is a shell: %s", out)
	}
	if out, err := exec.Command("docker", "run", "--rm", "--read-only", imageName, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "test ") {
		t.Errorf("%v %s", err, out)
	}
}

type counted struct{ n int }

func (c *counted) Write(p []byte) (int, error) {
	c.n += len(p)
	return len(p), nil
}

func TestImage_SaysWhichFolderIsNotWritable(t *testing.T) {
	t.Parallel() // the image is there when the others are over
	imageBuilt(t)
	out, err := exec.Command("docker", "run", "--rm", "--read-only", "--user", oddUser, imageName).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "/var/lib/clouddriver") || !strings.Contains(string(out), "SQLite database") || !strings.Contains(string(out), "DB_HOST") {
		t.Errorf("%v %s", err, out)
	}
}

// TestImage_ServesIsKilledAndResumes: with MySQL, as another user on a read-only
// file system.
func TestImage_ServesIsKilledAndResumes(t *testing.T) {
	t.Parallel() // the image is there when the others are over
	imageBuilt(t)
	c := pool.Shared(t, 1)[0]
	namespace(t, "boxed", c)
	env := mysqlEnv(t)
	first := startBox(t, c, "boxed", env).up(t)
	first.deploy(t, first.configMap("settings", "{k: v}")+"\n---\n"+first.deployment("web", "web:1"), "")
	eventually(t, 30*time.Second, func() error {
		if body := first.get(t, "/applications").body; !strings.Contains(body, `"boxed"`) {
			return errors.New(body)
		}
		return nil
	})
	if body := first.get(t, "/ui/applications/boxed").body; !strings.Contains(body, "deployment web") {
		t.Error(body)
	}
	call(t, c, http.MethodPatch, first.core("configmaps", "settings-v000"), mergePatch, `{"metadata":{"finalizers":["boxed.example.com/stuck"]}}`)
	id := first.submit(t, first.body(t, "deleteManifest", "manifestName: configMap settings-v000\nlocation: boxed"), "")
	eventually(t, 30*time.Second, func() error {
		if out := string(call(t, c, http.MethodGet, first.core("configmaps", "settings-v000"), "", "")); !strings.Contains(out, "deletionTimestamp") {
			return errors.New("the deletion has not begun")
		}
		return nil
	})
	if out, err := exec.Command("docker", "kill", "-s", "KILL", first.container.GetContainerID()).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	second := startBox(t, c, "boxed", env).up(t)
	call(t, c, http.MethodPatch, second.core("configmaps", "settings-v000"), mergePatch, `{"metadata":{"finalizers":null}}`)
	if d := second.await(t, id); d.Status.Failed {
		t.Error(d.raw)
	}
}

// TestImage_IsUpgradedFromEachEarlierSchema on both databases, and keeps what is
// in it.
func TestImage_IsUpgradedFromEachEarlierSchema(t *testing.T) {
	t.Parallel() // the image is there when the others are over
	imageBuilt(t)
	c := pool.Shared(t, 1)[0]
	folder := func() string {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		return dir + ":/var/lib/clouddriver"
	}
	const token = "opens-the-provider-api"
	for _, back := range []int{1, 2, 3, 4, 5} {
		for name, database := range map[string]struct {
			env  map[string]string
			bind []string
		}{"SQLite": {nil, []string{folder()}}, "MySQL": {mysqlEnv(t), nil}} {
			t.Run(name+", "+strconv.Itoa(back)+" releases back", func(t *testing.T) {
				env := map[string]string{"CLOUDDRIVER_ADMIN_TOKEN": token}
				maps.Copy(env, database.env)
				migrate := func(args ...string) string {
					t.Helper()
					all := []string{"run", "--rm", "--read-only", "--user", oddUser}
					for k, v := range database.env {
						all = append(all, "-e", k+"="+v)
					}
					for _, b := range database.bind {
						all = append(all, "-v", b)
					}
					out, err := exec.Command("docker", append(append(all, imageName, "migrate"), args...)...).CombinedOutput()
					if err != nil {
						t.Fatal(err, string(out))
					}
					return string(out)
				}
				migrate("up")
				box := startBox(t, c, "upgraded", env, database.bind...).up(t)
				kept := `{"name":"kept","host":"https://192.0.2.1","tokenProvider":"static","bearerToken":"x"}`
				if r := box.send(t, http.MethodPost, providersPath, kept); r.status != http.StatusForbidden {
					t.Errorf("without the token: %d %s", r.status, r.body)
				}
				if r := box.with(t, token, http.MethodPost, providersPath, kept); r.status != http.StatusCreated {
					t.Fatal(r.status, r.body)
				}
				if err := box.container.Terminate(context.Background()); err != nil {
					t.Fatal(err)
				}
				for range back {
					migrate("down")
				}
				before := migrate("status")
				box = startBox(t, c, "upgraded", env, database.bind...).up(t)
				if body := box.get(t, "/credentials").body; !strings.Contains(body, `"kept"`) {
					t.Errorf("from %s: %s", before, body)
				}
				if err := box.container.Terminate(context.Background()); err != nil {
					t.Fatal(err)
				}
				if after := migrate("status"); after == before || !strings.Contains(after, "6 of 6") {
					t.Errorf("from %s to %s", before, after)
				}
			})
		}
	}
}
