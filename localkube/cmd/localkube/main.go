// Command localkube runs real Kubernetes control planes on a machine that has
// no cluster.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
)

const usage = `localkube runs real Kubernetes control planes: etcd, kube-apiserver,
kube-controller-manager, kube-scheduler and kwok nodes.

  localkube up [-n 2]            start control planes and leave them running
  localkube status               say which are running
  localkube kubeconfig           print the kubeconfig of the running ones
  localkube down                 stop them
  localkube run [-n 2] [-apply manifests.yaml] -- COMMAND...
                                 start, run a command with KUBECONFIG set, stop
  localkube build                get the programs, without starting anything
  localkube sums linux/amd64     print lines for downloads.txt, from the official sites
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:])
	stop()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "localkube:", err)
		os.Exit(1)
	}
}

func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("say what to do")
	}
	flags := flag.NewFlagSet("localkube "+args[0], flag.ContinueOnError)
	n := flags.Int("n", 1, "number of control planes")
	apply := flags.String("apply", "", "file of manifests to apply to each")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "up":
		return up(ctx, *n)
	case "supervise":
		return supervise(ctx, *n)
	case "status":
		return status()
	case "kubeconfig":
		content, err := os.ReadFile(statePath("kubeconfig"))
		if err != nil {
			return errors.New("nothing is running; start with: localkube up")
		}
		_, err = os.Stdout.Write(content)
		return err
	case "down":
		return down()
	case "run":
		return run(ctx, *n, *apply, flags.Args())
	case "sums":
		if flags.NArg() != 1 {
			return errors.New("sums: say a platform, like linux/amd64")
		}
		return localkube.Sums(ctx, flags.Arg(0), os.Stdout)
	case "build":
		for _, oldest := range []bool{false, true} {
			b, err := localkube.EnsureBinaries(ctx, oldest, os.Stderr)
			if err != nil {
				return err
			}
			fmt.Println("localkube: Kubernetes", b.Version, "is built")
		}
		return nil
	}
	fmt.Fprint(os.Stderr, usage)
	return fmt.Errorf("unknown command %q", args[0])
}

// statePath is where the running control planes of this user are described.
func statePath(name string) string {
	cache, err := localkube.CacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "running", name)
}

func running() (pid int, ok bool) {
	content, err := os.ReadFile(statePath("pid"))
	if err != nil {
		return 0, false
	}
	pid, err = strconv.Atoi(strings.TrimSpace(string(content)))
	return pid, err == nil && syscall.Kill(pid, 0) == nil
}

// up starts a supervisor of its own session and waits until it is through.
func up(ctx context.Context, n int) error {
	if pid, ok := running(); ok {
		return fmt.Errorf("already running as process %d; stop with: localkube down", pid)
	}
	if _, err := localkube.EnsureBinaries(ctx, false, os.Stderr); err != nil {
		return err
	}
	if err := os.RemoveAll(statePath("")); err != nil {
		return fmt.Errorf("clear the old state: %w", err)
	}
	if err := os.MkdirAll(statePath(""), 0o700); err != nil {
		return fmt.Errorf("make the state folder: %w", err)
	}
	log, err := os.Create(statePath("log"))
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	defer func() { _ = log.Close() }()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	child := exec.Command(self, "supervise", "-n", strconv.Itoa(n)) //nolint:gosec // this very program
	child.Stdout, child.Stderr = log, log
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("start the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for {
		if _, err := os.Stat(statePath("kubeconfig")); err == nil {
			fmt.Printf("%d control planes are running. Use them with:\n  export KUBECONFIG=%s\n", n, statePath("kubeconfig"))
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(statePath("log"))
			return fmt.Errorf("the control planes did not start (%w):\n%s", err, text)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), child.Process.Signal(syscall.SIGTERM))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func supervise(ctx context.Context, n int) error {
	if err := os.WriteFile(statePath("pid"), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return fmt.Errorf("write the process number: %w", err)
	}
	defer func() { _ = os.RemoveAll(statePath("")) }()
	clusters, stop, err := start(ctx, n)
	defer stop()
	if err != nil {
		return err
	}
	tmp := statePath("kubeconfig.tmp")
	if err := errors.Join(localkube.WriteKubeconfig(tmp, clusters...), os.Rename(tmp, statePath("kubeconfig"))); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

func start(ctx context.Context, n int) (clusters []*localkube.Cluster, stop func(), err error) {
	stop = func() {
		for _, c := range clusters {
			c.Stop()
		}
	}
	for i := range n {
		c, err := localkube.Start(ctx, localkube.Options{Name: fmt.Sprintf("local-%d", i+1)})
		if err != nil {
			return clusters, stop, err
		}
		clusters = append(clusters, c)
	}
	return clusters, stop, nil
}

func status() error {
	pid, ok := running()
	if !ok {
		fmt.Println("nothing is running")
		return nil
	}
	fmt.Printf("running as process %d, kubeconfig %s\n", pid, statePath("kubeconfig"))
	return nil
}

func down() error {
	pid, ok := running()
	if !ok {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return fmt.Errorf("stop process %d: %w", pid, err)
	}
	for syscall.Kill(pid, 0) == nil {
		time.Sleep(50 * time.Millisecond)
	}
	return nil
}

// run starts control planes for the life of one command.
func run(ctx context.Context, n int, manifests string, argv []string) error {
	if len(argv) == 0 {
		return errors.New("say which command to run, after --")
	}
	clusters, stop, err := start(ctx, n)
	defer stop()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "localkube-run-")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := localkube.WriteKubeconfig(kubeconfig, clusters...); err != nil {
		return err
	}
	if manifests != "" {
		content, err := os.ReadFile(manifests)
		if err != nil {
			return fmt.Errorf("read the manifests: %w", err)
		}
		for _, c := range clusters {
			if err := c.Apply(ctx, content); err != nil {
				return fmt.Errorf("apply to %s: %w", c.Name, err)
			}
		}
	}
	for _, c := range clusters {
		fmt.Fprintf(os.Stderr, "localkube: %s runs Kubernetes %s at %s\n", c.Name, c.Version, c.URL)
	}
	child := exec.Command(argv[0], argv[1:]...) //nolint:gosec // the caller's own command
	child.Stdin, child.Stdout, child.Stderr = os.Stdin, os.Stdout, os.Stderr
	child.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	if err := child.Start(); err != nil {
		return fmt.Errorf("run %s: %w", argv[0], err)
	}
	defer context.AfterFunc(ctx, func() { _ = child.Process.Signal(syscall.SIGTERM) })()
	return child.Wait()
}
