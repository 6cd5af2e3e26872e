package localkube

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const program = "#!/bin/sh\necho official\n"

func archive(t *testing.T, member string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	files := tar.NewWriter(z)
	if err := files.WriteHeader(&tar.Header{Name: member, Mode: 0o755, Size: int64(len(program))}); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Write([]byte(program)); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// site plays the download sites; each program is asked for under its name.
func site(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body []byte)) (list string, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	tarball := archive(t, "etcd/etcd")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		body := []byte(program)
		if r.URL.Path == "/etcd" {
			body = tarball
		}
		answer(w, r, body)
	}))
	t.Cleanup(server.Close)
	versions, err := pinnedVersions("controlplane")
	if err != nil || len(versions) != len(components)+1 {
		t.Fatal(versions, err)
	}
	var lines []string
	for c, version := range versions {
		sum, member := sha256.Sum256([]byte(program)), ""
		if c == etcd {
			sum, member = sha256.Sum256(tarball), "etcd/etcd"
		}
		lines = append(lines, fmt.Sprintf("%s %s %s/%s %x %s/%s %s", c, version, runtime.GOOS, runtime.GOARCH, sum, server.URL, c, member))
	}
	return strings.Join(lines, "\n"), asked
}

func whole(w http.ResponseWriter, _ *http.Request, body []byte) { _, _ = w.Write(body) }

func TestDownloaded_TakesWhatHasThePinnedSum(t *testing.T) {
	t.Setenv("LOCALKUBE_CACHE", t.TempDir())
	list, asked := site(t, whole)
	begin := time.Now()
	b, err := downloaded(context.Background(), list, testLog{t})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("the programs were there after", time.Since(begin))
	for _, c := range components {
		out, err := b.command(c).CombinedOutput()
		if err != nil || string(out) != "official\n" {
			t.Errorf("%s: %v %s", c, err, out)
		}
	}
	if stages, err := b.stages(context.Background()); err != nil || string(stages) != program {
		t.Errorf("%v %s", err, stages)
	}
	n := asked.Load()
	if _, err := downloaded(context.Background(), list, testLog{t}); err != nil || asked.Load() != n {
		t.Errorf("%v; asked %d times more", err, asked.Load()-n)
	}
}

func TestDownloaded_RefusesWhatIsNotWhatWasPinned(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request, body []byte)
		want   string
	}{
		"refuses": {func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusForbidden) }, "403"},
		"breaks off": {func(w http.ResponseWriter, _ *http.Request, body []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(2*len(body)))
			_, _ = w.Write(body)
		}, "broke off"},
		"lies": {func(w http.ResponseWriter, _ *http.Request, body []byte) { _, _ = w.Write(append(body, '#')) }, "is pinned"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("LOCALKUBE_CACHE", dir)
			list, _ := site(t, c.answer)
			if b, err := downloaded(context.Background(), list, testLog{t}); err == nil || !strings.Contains(err.Error(), c.want) || b != nil {
				t.Errorf("got %v, want %q", err, c.want)
			}
			left, err := filepath.Glob(dir + "/*/*")
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range left {
				if !strings.HasSuffix(path, ".lock") {
					t.Errorf("%s is left", path)
				}
			}
		})
	}
}

func TestDownloaded_IsNothingWhereALineIsMissing(t *testing.T) {
	t.Setenv("LOCALKUBE_CACHE", t.TempDir())
	list, asked := site(t, whole)
	_, without, _ := strings.Cut(list, "\n")
	if b, err := downloaded(context.Background(), without, testLog{t}); b != nil || err != nil || asked.Load() > 0 {
		t.Errorf("%v %v, asked %d times", b, err, asked.Load())
	}
	for _, bad := range []string{"etcd v1 linux/amd64", "etcd v1 linux/amd64 xyz http://x", "a b c d e f g"} {
		if _, err := parseDownloads(bad); err == nil || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := parseDownloads(pinned); err != nil {
		t.Error(err)
	}
}

// TestNewest_TakesTheMachinesOwnFirst: neither a site is asked nor anything built.
func TestNewest_TakesTheMachinesOwnFirst(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", dir)
	for _, c := range components {
		if err := os.WriteFile(filepath.Join(dir, string(c)), []byte(program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "kwok-stages.yaml"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	list, asked := site(t, whole)
	b, err := newest(context.Background(), list, testLog{t})
	if err != nil || asked.Load() > 0 || b.command(etcd).Path != filepath.Join(dir, "etcd") {
		t.Errorf("%v, asked %d times", err, asked.Load())
	}
}

type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}
