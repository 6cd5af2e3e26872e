package localkube

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// component names one program of a control plane.
type component string

const (
	etcd              component = "etcd"
	apiServer         component = "kube-apiserver"
	controllerManager component = "kube-controller-manager"
	scheduler         component = "kube-scheduler"
	kwok              component = "kwok"
)

// Binaries says how to call each component.
type Binaries struct {
	// Version is the Kubernetes version of the API server, "" when it was
	// found on the machine rather than built.
	Version string
	argv    map[component][]string
	// stages is kwok's configuration: what it plays.
	stages func(ctx context.Context) ([]byte, error)
}

func (b *Binaries) command(c component, args ...string) *exec.Cmd {
	argv := b.argv[c]
	return exec.Command(argv[0], append(append([]string{}, argv[1:]...), args...)...) //nolint:gosec // the programs that this package built or was pointed at
}

// components are the programs of a control plane.
var components = []component{etcd, apiServer, controllerManager, scheduler, kwok}

// EnsureBinaries finds the control plane's programs: those of KUBEBUILDER_ASSETS
// or PATH, else the official ones, downloaded and verified, else it builds them.
// The first build takes 10 to 15 minutes on two cores; progress goes to log. With
// oldest, the API server is the oldest supported version's, which is built.
func EnsureBinaries(ctx context.Context, oldest bool, log io.Writer) (*Binaries, error) {
	b, err := newest(ctx, pinned, log)
	if err != nil {
		return nil, err
	}
	if oldest {
		old, err := build(ctx, "oldest", log)
		if err != nil {
			return nil, err
		}
		b.Version = old.version
		b.argv[apiServer] = []string{old.path, string(apiServer)}
	}
	return b, nil
}

func newest(ctx context.Context, list string, log io.Writer) (*Binaries, error) {
	if found := installed(); found != nil {
		return found, nil
	}
	b, err := downloaded(ctx, list, log)
	if b != nil || ctx.Err() != nil {
		return b, ctx.Err()
	}
	if err != nil {
		fmt.Fprintf(log, "localkube: %v; the control plane is built instead\n", err)
	}
	main, err := build(ctx, "controlplane", log)
	if err != nil {
		return nil, err
	}
	b = &Binaries{Version: main.version, argv: map[component][]string{}}
	for _, c := range components {
		b.argv[c] = []string{main.path, string(c)}
	}
	b.stages = func(ctx context.Context) ([]byte, error) {
		return exec.CommandContext(ctx, main.path, "kwok-stages").Output() //nolint:gosec // built by this package
	}
	return b, nil
}

// installed returns the machine's own programs when all of them, and a
// configuration for kwok, are there.
func installed() *Binaries {
	b := &Binaries{argv: map[component][]string{}}
	for _, c := range components {
		path := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), string(c))
		if os.Getenv("KUBEBUILDER_ASSETS") == "" || !executable(path) {
			var err error
			if path, err = exec.LookPath(string(c)); err != nil {
				return nil
			}
		}
		b.argv[c] = []string{path}
	}
	stages := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kwok-stages.yaml")
	if _, err := os.Stat(stages); err != nil {
		return nil
	}
	b.stages = func(context.Context) ([]byte, error) { return os.ReadFile(stages) }
	return b
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

type built struct{ path, version string }

// sourceDir is the folder of this package's source, where the modules of the
// control planes lie beside it.
func sourceDir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

var kubernetesVersion = regexp.MustCompile(`(?m)^\s*(?:require )?k8s\.io/kubernetes (v\d+\.\d+\.\d+)`)

// CacheDir is where built programs are kept: LOCALKUBE_CACHE, or localkube in
// the user's cache folder.
func CacheDir() (string, error) {
	if dir := os.Getenv("LOCALKUBE_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache folder: %w (set LOCALKUBE_CACHE)", err)
	}
	return filepath.Join(dir, "localkube"), nil
}

// build compiles the module in the named folder beside this package, unless
// the cache has the program for exactly this source.
func build(ctx context.Context, name string, log io.Writer) (*built, error) {
	src := filepath.Join(sourceDir(), name)
	version, key, err := fingerprint(src)
	if err != nil {
		return nil, err
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cache, version)
	out := &built{path: filepath.Join(dir, name+"-"+key), version: version}
	if executable(out.path) {
		return out, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, name+".lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if executable(out.path) { // another process built it while we waited
		return out, nil
	}
	if err := compile(ctx, src, out, log); err != nil {
		return nil, err
	}
	return out, nil
}

func compile(ctx context.Context, src string, out *built, log io.Writer) error {
	name := filepath.Base(src)
	total, err := countPackages(ctx, src)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "localkube: building %s of Kubernetes %s, %d packages; the first time takes 10-15 minutes on two cores\n", name, out.version, total)
	stamp := "k8s.io/component-base/version."
	parts := strings.SplitN(strings.TrimPrefix(out.version, "v"), ".", 3)
	ldflags := fmt.Sprintf("-s -w -X %sgitVersion=%s -X %sgitMajor=%s -X %sgitMinor=%s -X %sgitTreeState=clean",
		stamp, out.version, stamp, parts[0], stamp, parts[1], stamp)
	tmp := out.path + ".tmp"
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", tmp, ".") //nolint:gosec // fixed arguments
	cmd.Dir = src
	cmd.Env = goEnv()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("build %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("build %s: %w (is Go installed?)", name, err)
	}
	tail := report(stderr, name, total, log)
	if err := cmd.Wait(); err != nil {
		return errors.Join(fmt.Errorf("build %s: %w\n%s", name, err, strings.Join(tail, "\n")), ctx.Err())
	}
	if err := os.Rename(tmp, out.path); err != nil {
		return fmt.Errorf("keep the built %s: %w", name, err)
	}
	return nil
}

// goEnv lets the nested module be built as itself, whatever workspace or
// module flags the caller runs under.
func goEnv() []string {
	return append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
}

func countPackages(ctx context.Context, src string) (int, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", ".")
	cmd.Dir = src
	cmd.Env = goEnv()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("list the packages of %s: %w\n%s", filepath.Base(src), err, stderr.String())
	}
	return strings.Count(string(out), "\n"), nil
}

// report prints how far the build is, at most every 20 seconds, and returns
// the last lines for an error message. go build -v names only the packages
// that it compiles, so a warm build cache makes the count end early.
func report(r io.Reader, name string, total int, log io.Writer) []string {
	const every = 20 * time.Second
	var tail []string
	done, last := 0, time.Now()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		done++
		if tail = append(tail, lines.Text()); len(tail) > 20 {
			tail = tail[1:]
		}
		if time.Since(last) >= every {
			last = time.Now()
			fmt.Fprintf(log, "localkube: %s: %d of %d packages, now %s\n", name, done, total, lines.Text())
		}
	}
	return tail
}
