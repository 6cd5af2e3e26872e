package localkube

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options choose what Start brings up. The zero value is a control plane of
// the newest version with one node.
type Options struct {
	// Name is the context's name in the kubeconfig; "local" when empty.
	Name string
	// Nodes that kwok plays; 1 when 0, none when negative.
	Nodes int
	// Oldest runs the API server of the oldest supported Kubernetes version,
	// without controllers, scheduler or nodes.
	Oldest bool
	// Log receives progress; os.Stderr when nil.
	Log io.Writer
}

// Cluster is one running control plane.
type Cluster struct {
	// Name is the kubeconfig context.
	Name string
	// URL, CA (PEM) and Token are what a client needs. The token's user is in
	// system:masters; UserToken has no rights until a test binds some.
	URL       string
	CA        []byte
	Token     string
	UserToken string
	// Version is the API server's, as built; "" when it was found on PATH.
	Version string

	dir      string
	ca       *authority
	binaries *Binaries
	client   *http.Client
	etcdURL  string
	port     int

	mu        sync.Mutex
	processes map[component]*process
	proxies   []*Proxy
}

// User is the user of Cluster.UserToken.
const User = "restricted"

// startTimeout bounds the start of one control plane, which takes 6 s on an
// idle machine.
const startTimeout = 2 * time.Minute

// Start brings a control plane up and returns when its API server is ready
// and its nodes are. The caller stops it.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	if o.Name == "" {
		o.Name = "local"
	}
	if o.Nodes == 0 {
		o.Nodes = 1
	}
	binaries, err := EnsureBinaries(ctx, o.Oldest, o.Log)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "localkube-")
	if err != nil {
		return nil, fmt.Errorf("make the control plane's folder: %w", err)
	}
	c := &Cluster{Name: o.Name, Version: binaries.Version, dir: dir, binaries: binaries, processes: map[component]*process{}}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := c.start(ctx, o); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context, o Options) error {
	if err := c.writeFiles(); err != nil {
		return err
	}
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	if err := c.StartAPIServer(ctx); err != nil {
		return err
	}
	if o.Oldest {
		return nil
	}
	if err := c.startControllers(ctx); err != nil {
		return err
	}
	for i := range max(0, o.Nodes) {
		if err := c.createNode(ctx, fmt.Sprintf("node-%d", i)); err != nil {
			return err
		}
	}
	return c.waitAPI(ctx, "/api/v1/namespaces/default/serviceaccounts/default")
}

func (c *Cluster) writeFiles() error {
	ca, err := newAuthority()
	if err != nil {
		return err
	}
	serverCert, serverKey, err := ca.issue("")
	if err != nil {
		return err
	}
	_, accountKey, err := ca.issue("service-accounts")
	if err != nil {
		return err
	}
	c.ca, c.CA = ca, ca.pem
	c.Token, c.UserToken = rand.Text(), rand.Text()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca.pem)
	c.client = &http.Client{
		Timeout:   30 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
	}
	return writeAll(c.dir, map[string][]byte{
		"ca.crt": ca.pem, "server.crt": serverCert, "server.key": serverKey, "accounts.key": accountKey,
		"tokens.csv": fmt.Appendf(nil, "%s,admin,admin,\"system:masters\"\n%s,%s,%s\n", c.Token, c.UserToken, User, User),
	})
}

func (c *Cluster) startEtcd(ctx context.Context) error {
	ports, err := freePorts(2)
	if err != nil {
		return err
	}
	c.etcdURL = "http://127.0.0.1:" + strconv.Itoa(ports[0])
	peer := "http://127.0.0.1:" + strconv.Itoa(ports[1])
	p, err := c.run(etcd,
		"--data-dir=etcd", "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+c.etcdURL, "--advertise-client-urls="+c.etcdURL,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	if err != nil {
		return err
	}
	return p.waitReady(ctx, func(ctx context.Context) error { return c.get(ctx, c.etcdURL+"/health") })
}

// StartAPIServer starts the API server, again after KillAPIServer on the
// same port, and waits until it is ready.
func (c *Cluster) StartAPIServer(ctx context.Context) error {
	if c.port == 0 {
		ports, err := freePorts(1)
		if err != nil {
			return err
		}
		c.port = ports[0]
		c.URL = "https://127.0.0.1:" + strconv.Itoa(c.port)
	}
	p, err := c.run(apiServer,
		"--etcd-servers="+c.etcdURL,
		"--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+strconv.Itoa(c.port),
		"--tls-cert-file=server.crt", "--tls-private-key-file=server.key", "--client-ca-file=ca.crt",
		"--token-auth-file=tokens.csv", "--authorization-mode=RBAC",
		"--service-account-key-file=accounts.key", "--service-account-signing-key-file=accounts.key",
		"--service-account-issuer=https://localkube", "--service-cluster-ip-range=10.0.0.0/16",
		"--endpoint-reconciler-type=none", "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000")
	if err != nil {
		return err
	}
	return p.waitReady(ctx, func(ctx context.Context) error { return c.get(ctx, c.URL+"/readyz") })
}

// KillAPIServer ends the API server as a crash would.
func (c *Cluster) KillAPIServer() {
	c.mu.Lock()
	p := c.processes[apiServer]
	delete(c.processes, apiServer)
	c.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

func (c *Cluster) startControllers(ctx context.Context) error {
	stages, err := c.binaries.stages(ctx)
	if err != nil {
		return fmt.Errorf("read kwok's stages: %w", err)
	}
	if err := writeAll(c.dir, map[string][]byte{"kubeconfig": c.Kubeconfig(), "stages.yaml": append(stages, c.logConfig()...)}); err != nil {
		return err
	}
	ports, err := freePorts(3)
	if err != nil {
		return err
	}
	if _, err := c.run(controllerManager,
		"--kubeconfig=kubeconfig", "--leader-elect=false", "--use-service-account-credentials",
		"--service-account-private-key-file=accounts.key", "--root-ca-file=ca.crt",
		"--kube-api-qps=500", "--kube-api-burst=1000", "--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20",
		// On a busy machine a heartbeat may be late; a simulated node never fails.
		"--node-monitor-grace-period=24h",
		"--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(ports[0])); err != nil {
		return err
	}
	schedulerConfig := fmt.Appendf(nil, `{"apiVersion":"kubescheduler.config.k8s.io/v1","kind":"KubeSchedulerConfiguration",
"leaderElection":{"leaderElect":false},"clientConnection":{"kubeconfig":"kubeconfig","qps":500,"burst":1000}}`)
	if err := writeAll(c.dir, map[string][]byte{"scheduler.yaml": schedulerConfig}); err != nil {
		return err
	}
	if _, err := c.run(scheduler, "--config=scheduler.yaml", "--bind-address=127.0.0.1", "--secure-port="+strconv.Itoa(ports[1])); err != nil {
		return err
	}
	_, err = c.run(kwok, "--kubeconfig=kubeconfig", "--config=stages.yaml", "--manage-all-nodes=false", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake", "--node-ip=127.0.0.1",
		"--cidr=10.64.0.0/10", "--server-address=127.0.0.1:"+strconv.Itoa(ports[2]),
		// The API server asks it for logs as it would ask a kubelet.
		"--node-port="+strconv.Itoa(ports[2]), "--tls-cert-file=server.crt", "--tls-private-key-file=server.key")
	return err
}

// LoggedContainers are the names of containers that have logs: the others have
// none, as containers that never started.
var LoggedContainers = []string{"main", "init", "side"}

// logConfig says where kwok finds the logs of containers, by their names.
func (c *Cluster) logConfig() []byte {
	var b bytes.Buffer
	b.WriteString("\n---\napiVersion: kwok.x-k8s.io/v1alpha1\nkind: ClusterLogs\nmetadata: {name: logs}\nspec:\n  logs:\n")
	for _, name := range LoggedContainers {
		fmt.Fprintf(&b, "  - {containers: [%s], logsFile: %q}\n", name, c.logFile(name))
	}
	return b.Bytes()
}

func (c *Cluster) logFile(container string) string {
	return filepath.Join(c.dir, "log-"+container)
}

// SetLog makes a text the log of all containers of a name, which must be one
// of LoggedContainers.
func (c *Cluster) SetLog(container, text string) error {
	var b bytes.Buffer
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		fmt.Fprintf(&b, "2026-01-01T00:00:00.000000001Z stdout F %s\n", line)
	}
	return os.WriteFile(c.logFile(container), b.Bytes(), 0o600)
}

// createNode makes a node with room for thousands of pods, which kwok plays.
func (c *Cluster) createNode(ctx context.Context, name string) error {
	room := map[string]string{"cpu": "10000", "memory": "100Ti", "pods": "20000"}
	node, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Node",
		"metadata": map[string]any{"name": name, "annotations": map[string]string{"kwok.x-k8s.io/node": "fake"}},
		"status":   map[string]any{"allocatable": room, "capacity": room},
	})
	if err != nil {
		return fmt.Errorf("encode node %s: %w", name, err)
	}
	return c.do(ctx, http.MethodPost, c.URL+"/api/v1/nodes", node)
}

func (c *Cluster) run(name component, args ...string) (*process, error) {
	p, err := startProcess(name, c.binaries.command(name, args...), c.dir)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.processes[name] = p
	return p, nil
}

// Backup keeps the content as it is, for Restore. The API server is away
// meanwhile.
func (c *Cluster) Backup(ctx context.Context) error {
	return c.withoutData(ctx, func() error {
		return os.CopyFS(filepath.Join(c.dir, "backup"), os.DirFS(filepath.Join(c.dir, "etcd")))
	})
}

// Restore brings back the content of the Backup, as an operator does after a
// disaster: versions go backwards.
func (c *Cluster) Restore(ctx context.Context) error {
	return c.withoutData(ctx, func() error {
		data := filepath.Join(c.dir, "etcd")
		if err := os.RemoveAll(data); err != nil {
			return err
		}
		return os.Rename(filepath.Join(c.dir, "backup"), data)
	})
}

// withoutData stops the API server and etcd for a moment.
func (c *Cluster) withoutData(ctx context.Context, do func() error) error {
	c.KillAPIServer()
	c.mu.Lock()
	p := c.processes[etcd]
	c.mu.Unlock()
	p.kill()
	if err := do(); err != nil {
		return fmt.Errorf("the data of etcd: %w", err)
	}
	if err := c.startEtcd(ctx); err != nil {
		return err
	}
	return c.StartAPIServer(ctx)
}

// Stop ends every process of the control plane and removes its files.
func (c *Cluster) Stop() {
	c.mu.Lock()
	processes, proxies := c.processes, c.proxies
	c.processes, c.proxies = map[component]*process{}, nil
	c.mu.Unlock()
	for _, p := range proxies {
		p.Close()
	}
	for _, name := range []component{kwok, scheduler, controllerManager, apiServer, etcd} {
		if p := processes[name]; p != nil {
			p.kill() // nothing of a throw-away control plane is worth a graceful end
		}
	}
	_ = os.RemoveAll(c.dir)
}

// Compact makes etcd forget all history, so that a client that resumes a
// watch from before finds it gone once the API server's own cache is new.
func (c *Cluster) Compact(ctx context.Context) error {
	var status struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := c.etcdCall(ctx, "/v3/kv/range", `{"key":"AA=="}`, &status); err != nil {
		return err
	}
	return c.etcdCall(ctx, "/v3/kv/compaction", fmt.Sprintf(`{"revision":%q,"physical":true}`, status.Header.Revision), nil)
}

func (c *Cluster) etcdCall(ctx context.Context, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.etcdURL+path, bytes.NewBufferString(body))
	if err != nil {
		return fmt.Errorf("etcd %s: %w", path, err)
	}
	res, err := c.client.Do(req)
	if err != nil {
		return fmt.Errorf("etcd %s: %w", path, err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		return fmt.Errorf("etcd %s: %s: %s", path, res.Status, text)
	}
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		return fmt.Errorf("etcd %s: %w", path, err)
	}
	return nil
}

// Proxy puts a new proxy in front of the API server; it is closed by Stop.
func (c *Cluster) Proxy() (*Proxy, error) { return c.ProxyOn("127.0.0.1") }

// ProxyOn is Proxy on another address of this machine, like that of a bridge to
// containers.
func (c *Cluster) ProxyOn(host string) (*Proxy, error) {
	p, err := NewProxyOn(host, net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)))
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proxies = append(c.proxies, p)
	return p, nil
}

// ClientCertificate issues a certificate and key in PEM for a user in groups.
func (c *Cluster) ClientCertificate(user string, groups ...string) (cert, key []byte, err error) {
	return c.ca.issue(user, groups...)
}

func (c *Cluster) waitAPI(ctx context.Context, path string) error {
	c.mu.Lock()
	p := c.processes[apiServer]
	c.mu.Unlock()
	return p.waitReady(ctx, func(ctx context.Context) error { return c.get(ctx, c.URL+path) })
}

func (c *Cluster) get(ctx context.Context, url string) error {
	return c.do(ctx, http.MethodGet, url, nil)
}

func (c *Cluster) do(ctx context.Context, method, url string, body []byte) error {
	return c.send(ctx, method, url, "application/json", body)
}

func (c *Cluster) send(ctx context.Context, method, url, contentType string, body []byte) error {
	_, err := c.call(ctx, method, url, contentType, body)
	return err
}

// Call sends one request as the administrator and returns the answer's body;
// an answer that is not a success is an error.
func (c *Cluster) Call(ctx context.Context, method, path, contentType string, body []byte) ([]byte, error) {
	return c.call(ctx, method, c.URL+path, contentType, body)
}

func (c *Cluster) call(ctx context.Context, method, url, contentType string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	req.Header.Set("Content-Type", contentType)
	res, err := c.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, url, err)
	}
	if res.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s %s: %s: %s", method, url, res.Status, text[:min(len(text), 4<<10)])
	}
	return text, nil
}

// Kubeconfig returns a kubeconfig whose only context is the cluster's name
// with the admin token. JSON is YAML, so no library is needed.
func (c *Cluster) Kubeconfig() []byte { return Kubeconfig(c) }

// Kubeconfig returns one kubeconfig with a context for each cluster; the
// first is the current one.
func Kubeconfig(clusters ...*Cluster) []byte {
	type named map[string]any
	var cs, users, contexts []named
	for _, c := range clusters {
		cs = append(cs, named{"name": c.Name, "cluster": named{"server": c.URL, "certificate-authority-data": c.CA}})
		users = append(users, named{"name": c.Name, "user": named{"token": c.Token}})
		contexts = append(contexts, named{"name": c.Name, "context": named{"cluster": c.Name, "user": c.Name}})
	}
	current := ""
	if len(clusters) > 0 {
		current = clusters[0].Name
	}
	out, err := json.MarshalIndent(named{
		"apiVersion": "v1", "kind": "Config", "current-context": current,
		"clusters": cs, "users": users, "contexts": contexts,
	}, "", "  ")
	if err != nil {
		panic(err) // strings, bytes and maps of them always encode
	}
	return append(out, '\n')
}

// WriteKubeconfig writes Kubeconfig to a file, readable by the owner alone.
func WriteKubeconfig(path string, clusters ...*Cluster) error {
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), writeAll(filepath.Dir(path), map[string][]byte{filepath.Base(path): Kubeconfig(clusters...)}))
}

// freePorts returns n ports that were free a moment ago. They are held
// together so that they differ.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer func() { _ = l.Close() }()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
