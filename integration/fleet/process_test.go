package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/integration/program"
)

var clouddriver = program.Program{Package: "../../cmd/clouddriver"}

// process is the service as it ships, with the accounts of a fleet.
type process struct {
	t      testing.TB
	URL    string
	admin  string
	folder string
	cmd    *exec.Cmd
	log    *os.File
	began  time.Time
}

// serve starts the service, in a folder that an earlier one may have used.
func serve(t testing.TB, f *Fleet, folder string, environment ...string) *process {
	t.Helper()
	return serveSome(t, f, f.Clusters(), folder, environment...)
}

// serveSome does so with some of the clusters.
func serveSome(t testing.TB, f *Fleet, some []*Cluster, folder string, environment ...string) *process {
	t.Helper()
	path := clouddriver.Path(t)
	port, admin := program.FreePort(t), program.FreePort(t)
	// A folder of its own, since whatever changes beside it has it looked at.
	config := filepath.Join(folder, "config", "kubeconfig")
	if err := os.MkdirAll(filepath.Dir(config), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, f.KubeconfigOf(some), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, URL: "http://127.0.0.1:" + strconv.Itoa(port), admin: "http://127.0.0.1:" + strconv.Itoa(admin), folder: folder, began: time.Now()}
	var err error
	if p.log, err = os.OpenFile(filepath.Join(folder, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(path)
	p.cmd.Env = append(append(os.Environ(),
		"KUBECONFIG="+config, "SERVER_PORT="+strconv.Itoa(port), "ADMIN_PORT="+strconv.Itoa(admin),
		"DB_PATH="+filepath.Join(folder, "clouddriver.db"), "SERVER_SHUTDOWNGRACE=0s",
	), environment...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// stop ends the process; it may be called again.
func (p *process) stop() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	_ = p.cmd.Wait()
	late.Stop()
	_ = p.log.Close()
}

// ask is a GET; it takes what comes.
func (p *process) ask(ctx context.Context, path string) (status int, body []byte, header http.Header, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path, nil)
	if err != nil {
		return 0, nil, nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, res.Header, err
}

// timed is a GET as Gate sends it, whose body is not looked at: what a caller makes of
// it is not the service's time.
func (p *process) timed(ctx context.Context, path string) (took time.Duration, bytes int64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL+path, nil)
	if err != nil {
		return 0, 0, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	begin := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = res.Body.Close() }()
	bytes, err = io.Copy(io.Discard, res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = errors.New(res.Status)
	}
	return time.Since(begin), bytes, err
}

// until asks until an answer is as wanted, and says how long it took since the start.
func (p *process) until(within time.Duration, path string, is func(status int, body []byte, header http.Header) bool) (time.Duration, error) {
	last := errors.New("nothing was answered")
	for deadline := p.began.Add(within); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		status, body, header, err := p.ask(p.t.Context(), path)
		if err == nil && is(status, body, header) {
			return time.Since(p.began), nil
		}
		last = fmt.Errorf("%d %.200s %w", status, body, err)
	}
	return 0, fmt.Errorf("%s after %s: %w", path, within, last)
}

// usage is what the process has used so far.
type usage struct {
	cpu           time.Duration
	resident, top int64 // bytes, now and at most
}

// used reads Linux's accounts of a process.
func (p *process) used() usage {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	status, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		p.t.Fatal(err)
	}
	var out usage
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch name {
		case "VmRSS":
			out.resident = n << 10
		case "VmHWM":
			out.top = n << 10
		}
	}
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		p.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const userTime, systemTime, ticks = 11, 12, 100
	user, _ := strconv.ParseInt(fields[userTime], 10, 64)
	system, _ := strconv.ParseInt(fields[systemTime], 10, 64)
	out.cpu = time.Duration(user+system) * time.Second / ticks
	return out
}

// metric sums the values of a metric that have a label.
func (p *process) metric(name string, label ...string) float64 {
	res, err := http.Get(p.admin + "/metrics")
	if err != nil {
		return 0 // it is not there yet
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return 0
	}
	sum := 0.0
	for line := range strings.Lines(string(body)) {
		at, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if bare, _, _ := strings.Cut(at, "{"); bare == name && strings.Contains(at, strings.Join(label, "")) {
			v, _ := strconv.ParseFloat(value, 64)
			sum += v
		}
	}
	return sum
}
