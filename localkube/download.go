package localkube

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

//go:embed downloads.txt
var pinned string

// stagesFile is what kwok plays, beside the components.
const stagesFile component = "kwok-stages"

// download is one line of downloads.txt.
type download struct {
	what                   component
	version, platform, sum string
	address, member        string
}

const (
	// fetchWithin bounds one file; the largest has about 100 MB.
	fetchWithin = 5 * time.Minute
	// mostFetched is more than any of the files has.
	mostFetched = 512 << 20
)

// parseDownloads reads lines of downloads.txt.
func parseDownloads(text string) ([]download, error) {
	var out []download
	lines := bufio.NewScanner(strings.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 5 || len(f) > 6 {
			return nil, fmt.Errorf("downloads.txt, line %d: %d columns; component version platform sha256 address [member] are wanted", n, len(f))
		}
		if sum, err := hex.DecodeString(f[3]); err != nil || len(sum) != sha256.Size {
			return nil, fmt.Errorf("downloads.txt, line %d: %q is no SHA-256 sum", n, f[3])
		}
		d := download{what: component(f[0]), version: f[1], platform: f[2], sum: f[3], address: f[4]}
		if len(f) == 6 {
			d.member = f[5]
		}
		out = append(out, d)
	}
	return out, lines.Err()
}

// wantedDownloads are the lines for a control plane of some versions, nil when
// one of them is missing.
func wantedDownloads(all []download, versions map[component]string) map[component]download {
	platform := runtime.GOOS + "/" + runtime.GOARCH
	out := map[component]download{}
	for _, d := range all {
		if d.platform == platform && d.version == versions[d.what] {
			out[d.what] = d
		}
	}
	if len(out) < len(versions) {
		return nil
	}
	return out
}

// fetchAll has every file in the folder, from an earlier time or from its site.
func fetchAll(ctx context.Context, wanted map[component]download, dir string, log io.Writer) (map[component]string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, "download.lock"))
	if err != nil {
		return nil, err
	}
	defer unlock()
	out := map[component]string{}
	for what, d := range wanted {
		path := filepath.Join(dir, string(what)+"-"+d.sum[:12])
		if _, err := os.Stat(path); err != nil { // what is there was verified before it got its name
			fmt.Fprintf(log, "localkube: downloading %s\n", d.address)
			if err := fetch(ctx, d, path); err != nil {
				return nil, fmt.Errorf("download %s: %w", d.address, err)
			}
		}
		out[what] = path
	}
	return out, nil
}

// get opens what a site answers with success.
func get(ctx context.Context, address string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		return nil, fmt.Errorf("the site answers %s", res.Status)
	}
	return res.Body, nil
}

// fetch downloads one file. It gets its name once its sum is the pinned one.
func fetch(ctx context.Context, d download, path string) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	body, err := get(ctx, d.address)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	f, err := os.CreateTemp(filepath.Dir(path), ".download-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // it was renamed when all went well
	defer func() { _ = f.Close() }()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(f, sum), io.LimitReader(body, mostFetched+1))
	switch {
	case err != nil:
		return fmt.Errorf("it broke off after %d bytes: %w", n, err)
	case n > mostFetched:
		return fmt.Errorf("it is longer than %d bytes", mostFetched)
	case hex.EncodeToString(sum.Sum(nil)) != d.sum:
		return fmt.Errorf("its SHA-256 sum is %x, and %s is pinned: it is not run", sum.Sum(nil), d.sum)
	}
	if d.member != "" {
		return unpack(f, d.member, path)
	}
	return keep(f, path)
}

// unpack takes one file out of a .tar.gz.
func unpack(archive *os.File, member, path string) error {
	if _, err := archive.Seek(0, io.SeekStart); err != nil {
		return err
	}
	z, err := gzip.NewReader(archive)
	if err != nil {
		return err
	}
	for files := tar.NewReader(z); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("there is no %s in it", member)
		}
		if err != nil {
			return err
		}
		if header.Name != member {
			continue
		}
		f, err := os.CreateTemp(filepath.Dir(path), ".unpack-*")
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(f.Name()) }() // it was renamed when all went well
		defer func() { _ = f.Close() }()
		if _, err := io.Copy(f, io.LimitReader(files, mostFetched)); err != nil {
			return err
		}
		return keep(f, path)
	}
}

// keep gives a whole file its name.
func keep(f *os.File, path string) error {
	if err := f.Chmod(0o755); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// downloaded gives the official programs of the versions that controlplane/go.mod
// pins, nil when they are not listed for this platform.
func downloaded(ctx context.Context, list string, log io.Writer) (*Binaries, error) {
	all, err := parseDownloads(list)
	if err != nil {
		return nil, err
	}
	versions, err := pinnedVersions(filepath.Join(sourceDir(), "controlplane"))
	if err != nil {
		return nil, err
	}
	wanted := wantedDownloads(all, versions)
	if wanted == nil {
		return nil, nil
	}
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	paths, err := fetchAll(ctx, wanted, filepath.Join(cache, versions[apiServer]), log)
	if err != nil {
		return nil, err
	}
	b := &Binaries{Version: versions[apiServer], argv: map[component][]string{}}
	for _, c := range components {
		b.argv[c] = []string{paths[c]}
	}
	b.stages = func(context.Context) ([]byte, error) { return os.ReadFile(paths[stagesFile]) }
	return b, nil
}

// pinnedVersions are those of a control plane's module.
func pinnedVersions(dir string) (map[component]string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, fmt.Errorf("read which versions are pinned: %w", err)
	}
	out := map[component]string{}
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) < 2 {
			continue
		}
		switch f[0] {
		case "go.etcd.io/etcd/server/v3":
			out[etcd] = f[1]
		case "sigs.k8s.io/kwok":
			out[kwok], out[stagesFile] = f[1], f[1]
		case "k8s.io/kubernetes":
			out[apiServer], out[controllerManager], out[scheduler] = f[1], f[1], f[1]
		}
	}
	return out, nil
}

// Sums downloads the official programs of the pinned versions for a platform,
// like linux/amd64, and writes their lines for downloads.txt.
func Sums(ctx context.Context, platform string, out io.Writer) error {
	versions, err := pinnedVersions(filepath.Join(sourceDir(), "controlplane"))
	if err != nil {
		return err
	}
	system, arch, ok := strings.Cut(platform, "/")
	if !ok {
		return fmt.Errorf("platform %q is not like linux/amd64", platform)
	}
	for _, c := range append([]component{stagesFile}, components...) {
		address, member := official(c, versions[c], system, arch)
		sum, err := sumOf(ctx, address)
		if err != nil {
			return fmt.Errorf("%s: %w", address, err)
		}
		if _, err := fmt.Fprintln(out, strings.TrimSpace(strings.Join([]string{string(c), versions[c], platform, sum, address, member}, " "))); err != nil {
			return err
		}
	}
	return nil
}

// official is where a program is published.
func official(c component, version, system, arch string) (address, member string) {
	switch c {
	case etcd:
		name := fmt.Sprintf("etcd-%s-%s-%s", version, system, arch)
		return "https://github.com/etcd-io/etcd/releases/download/" + version + "/" + name + ".tar.gz", name + "/etcd"
	case kwok:
		return fmt.Sprintf("https://github.com/kubernetes-sigs/kwok/releases/download/%s/kwok-%s-%s", version, system, arch), ""
	case stagesFile:
		return "https://github.com/kubernetes-sigs/kwok/releases/download/" + version + "/stage-fast.yaml", ""
	}
	return fmt.Sprintf("https://dl.k8s.io/%s/bin/%s/%s/%s", version, system, arch, c), ""
}

func sumOf(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	body, err := get(ctx, address)
	if err != nil {
		return "", err
	}
	defer func() { _ = body.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(body, mostFetched)); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
