package integration

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/integration/program"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// fetch asks for an artifact as Orca and Rosco do.
func (s *service) fetch(t testing.TB, artifact map[string]any) (status int, body []byte) {
	t.Helper()
	text, err := json.Marshal(artifact)
	if err != nil {
		t.Fatal(err)
	}
	var bodies [][]byte
	for _, path := range []string{"/artifacts/fetch", "/artifacts/fetch/"} { // Orca's spelling depends on its age
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+path, bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := (&http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		status, bodies = res.StatusCode, append(bodies, body)
	}
	if status == http.StatusOK && !bytes.Equal(bodies[0], bodies[1]) {
		t.Errorf("with and without a slash the answers differ: %d and %d bytes", len(bodies[0]), len(bodies[1]))
	}
	return status, bodies[0]
}

// bareRepository makes one with git itself: two branches, a tag, a link, and the
// commits in their order.
func bareRepository(t *testing.T, folder string) (path string, commits []string) {
	t.Helper()
	work := t.TempDir()
	run := func(in string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Dir = in
		cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	file := func(name, text string) {
		at := filepath.Join(work, name)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	commit := func() {
		run(work, "add", "-A")
		run(work, "commit", "-q", "-m", "c")
		commits = append(commits, run(work, "rev-parse", "HEAD"))
	}
	run(work, "init", "-q", "-b", "master")
	file("README.md", "first")
	file("kustomize/kustomization.yml", "resources: []")
	file("kust", "not of the folder")
	if err := os.Symlink("kustomization.yml", filepath.Join(work, "kustomize", "link")); err != nil {
		t.Fatal(err)
	}
	commit()
	run(work, "tag", "-a", "v1", "-m", "annotated")
	file("README.md", "second")
	commit()
	run(work, "checkout", "-q", "-b", "feature/x")
	file("README.md", "feature")
	commit()
	path = filepath.Join(folder, "git-repo.git")
	run(work, "clone", "-q", "--bare", work, path)
	run(path, "config", "http.uploadpack", "true")
	return path, commits
}

// gitServer serves repositories by git's own http-backend, to those who show the
// password.
func gitServer(t *testing.T, folder, user, password string) *httptest.Server {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := &cgi.Handler{Path: filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), Env: []string{"GIT_PROJECT_ROOT=" + folder, "GIT_HTTP_EXPORT_ALL=1"}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.Header().Set("WWW-Authenticate", "Basic realm=git")
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// sshServer is Debian's sshd with one key for whoever may come in.
func sshServer(t *testing.T) (address, key, knownHosts string) {
	t.Helper()
	sshd, keygen := mustHave(t, "sshd"), mustHave(t, "ssh-keygen")
	folder := t.TempDir()
	if err := os.Chmod(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"host", "client"} {
		if out, err := exec.CommandContext(t.Context(), keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(folder, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
	}
	port := program.FreePort(t)
	public := func(name string) string {
		text, err := os.ReadFile(filepath.Join(folder, name+".pub"))
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Fields(string(text))
		return fields[0] + " " + fields[1]
	}
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authorized := write("authorized", public("client")+"\n")
	settings := write("sshd_config", fmt.Sprintf("Port %d\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\nPermitRootLogin yes\n", port, filepath.Join(folder, "host"), authorized))
	_ = os.MkdirAll("/run/sshd", 0o755) // sshd refuses to start without it; another user has no need of it
	server := exec.Command(sshd, "-D", "-e", "-f", settings)
	var log bytes.Buffer
	server.Stderr = &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	address = fmt.Sprintf("127.0.0.1:%d", port)
	eventually(t, 10*time.Second, func() error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return address, filepath.Join(folder, "client"), write("known_hosts", fmt.Sprintf("[127.0.0.1]:%d %s\n", port, public("host")))
}

// files are the names in a gzip tar, with the content of those that are files.
func files(t *testing.T, body []byte) []string {
	t.Helper()
	zip, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err, string(body[:min(len(body), 300)]))
	}
	var out []string
	for archive := tar.NewReader(zip); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimSpace(header.Name+" "+string(text)))
	}
}

// startGCS starts a store of Google's protocol, with versions of one object, and
// returns their generations.
func startGCS(t *testing.T, versions ...string) (address string, generations []string) {
	t.Helper()
	address, _ = startProgram(t, &gcsServer, "-bucket", "bucket")
	for _, text := range versions {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/upload/storage/v1/b/bucket/o?uploadType=media&name=a/b.yml", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var stored struct {
			Generation string `json:"generation"`
		}
		err = json.NewDecoder(res.Body).Decode(&stored)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		generations = append(generations, stored.Generation)
	}
	return address, generations
}

// TestArtifacts_AreFetchedFromRealServers fetches each type from a server of its
// kind: git's http-backend, Debian's sshd, look-alikes of S3 and GCS, a Helm
// repository, web servers.
func TestArtifacts_AreFetchedFromRealServers(t *testing.T) {
	folder := t.TempDir()
	bare, commits := bareRepository(t, folder)
	overHTTP := gitServer(t, folder, "token", "git-secret")
	overSSH, key, knownHosts := sshServer(t)
	buckets := s3mem.New()
	for _, name := range []string{"bucket"} {
		if err := buckets.CreateBucket(name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := buckets.PutObject("bucket", "a/b.yml", map[string]string{}, strings.NewReader("from s3"), int64(len("from s3")), nil); err != nil {
		t.Fatal(err)
	}
	s3 := httptest.NewServer(gofakes3.New(buckets).Server())
	t.Cleanup(s3.Close)
	gcs, generations := startGCS(t, "first of gcs", "second of gcs")
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/charts/index.yaml":
			_, _ = fmt.Fprint(w, "apiVersion: v1\nentries:\n  web:\n  - version: 1.1.0\n    urls:\n    - web-1.1.0.tgz\n  - version: 1.0.0\n    urls:\n    - web-1.0.0.tgz\n")
		case "/charts/web-1.1.0.tgz", "/file":
			_, _ = fmt.Fprint(w, "content of "+r.URL.Path)
		case "/breaks":
			w.Header().Set("Content-Length", "1000000")
			_, _ = fmt.Fprint(w, strings.Repeat("x", 100_000))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(web.Close)

	no := false
	local := config.URLRestrictions{RejectVerbatimIPs: &no, RejectLocalhost: &no}
	c := settings()
	c.Artifacts.GitRepo.Enabled, c.Artifacts.HTTP.Enabled, c.Artifacts.Helm.Enabled, c.Artifacts.S3.Enabled = true, true, true, true
	c.Artifacts.GCS = config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "gcs", APIEndpoint: gcs}}}
	c.Artifacts.GitRepo.Accounts = []config.ArtifactAccount{
		{Name: "repo", Token: "git-secret", AllowedHosts: []string{"127.0.0.1"}},
		{Name: "wrong", Token: "wrong-secret", AllowedHosts: []string{"127.0.0.1"}},
		{Name: "fenced"},
		{Name: "ssh", SSHPrivateKeyFilePath: key, SSHKnownHostsFilePath: knownHosts, AllowedHosts: []string{"127.0.0.1"}},
	}
	c.Artifacts.HTTP.Accounts = []config.ArtifactAccount{{Name: "near", URLRestrictions: local}, {Name: "http"}}
	c.Artifacts.Helm.Accounts = []config.ArtifactAccount{{Name: "charts", Repository: web.URL + "/charts"}}
	c.Artifacts.S3.Accounts = []config.ArtifactAccount{{Name: "s3", APIEndpoint: s3.URL, APIRegion: "us-east-1", AWSAccessKeyID: "id", AWSSecretAccessKey: "aws-secret"}}
	s := startWith(t, c, nil)

	gitURL, sshURL := overHTTP.URL+"/git-repo.git", "ssh://root@"+overSSH+bare
	kustomize := []string{"pax_global_header", "kustomize/", "kustomize/kustomization.yml resources: []", "kustomize/link"}
	whole := func(readme string) []string {
		return append([]string{"pax_global_header", "README.md " + readme, "kust not of the folder"}, kustomize[1:]...)
	}
	type of = map[string]any
	for name, c := range map[string]struct {
		artifact of
		want     []string
	}{
		"git, master by default":     {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL}, whole("second")},
		"git, a branch with a slash": {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "version": "feature/x"}, whole("feature")},
		"git, an annotated tag":      {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "version": "v1"}, whole("first")},
		"git, a commit":              {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "version": commits[0]}, whole("first")},
		"git, a short commit":        {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "version": commits[1][:7]}, whole("second")},
		"git, a sub path":            {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "location": "kustomize"}, kustomize},
		"git, an older sub path":     {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "metadata": of{"subPath": "kustomize/"}}, kustomize},
		"git over ssh":               {of{"type": "git/repo", "artifactAccount": "ssh", "reference": sshURL, "version": "v1"}, whole("first")},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := s.fetch(t, c.artifact)
			if status != http.StatusOK {
				t.Fatal(status, string(body))
			}
			if got := files(t, body); !slices.Equal(got, c.want) {
				t.Errorf("%q", got)
			}
		})
	}
	tenMB := strings.Repeat("abcdefgh", 10_000_000/8)
	for name, c := range map[string]struct {
		artifact of
		status   int
		want     string
	}{
		"embedded":          {of{"type": "embedded/base64", "reference": "aGVsbG8=", "artifactAccount": "embedded-artifact", "metadata": "a text of Gate's"}, 200, "hello"},
		"of 10 MB":          {of{"type": "embedded/base64", "reference": base64.StdEncoding.EncodeToString([]byte(tenMB)), "artifactAccount": "embedded-artifact"}, 200, tenMB},
		"http":              {of{"type": "http/file", "artifactAccount": "near", "reference": web.URL + "/file"}, 200, "content of /file"},
		"http, not there":   {of{"type": "http/file", "artifactAccount": "near", "reference": web.URL + "/none"}, 500, "Received 404 status code from 127.0.0.1"},
		"http, fenced":      {of{"type": "http/file", "artifactAccount": "http", "reference": web.URL + "/file"}, 400, "Verbatim IP addresses are not allowed (account http: artifacts.http.accounts[].urlRestrictions)"},
		"chart, newest":     {of{"type": "helm/chart", "artifactAccount": "charts", "name": "web", "version": ""}, 200, "content of /charts/web-1.1.0.tgz"},
		"chart, unknown":    {of{"type": "helm/chart", "artifactAccount": "charts", "name": "x", "version": ""}, 400, "Could not find correct entry with artifact name x"},
		"index":             {of{"type": "helm/index", "artifactAccount": "charts"}, 200, "web-1.0.0.tgz"},
		"s3":                {of{"type": "s3/object", "artifactAccount": "s3", "reference": "s3://bucket/a/b.yml"}, 200, "from s3"},
		"gcs":               {of{"type": "gcs/object", "artifactAccount": "gcs", "reference": "gs://bucket/a/b.yml"}, 200, "second of gcs"},
		"gcs, a generation": {of{"type": "gcs/object", "artifactAccount": "gcs", "reference": "gs://bucket/a/b.yml#" + generations[0]}, 200, "first of gcs"},
		"gcs, not there":    {of{"type": "gcs/object", "artifactAccount": "gcs", "reference": "gs://bucket/none"}, 500, "there is no object gs://bucket/none"},
		"s3, not there":     {of{"type": "s3/object", "artifactAccount": "s3", "reference": "bucket/none"}, 404, "s3://bucket/none not found"},
		"s3, malformed":     {of{"type": "s3/object", "artifactAccount": "s3", "reference": "s3://bucket"}, 400, "S3 references must be of the format"},
		"git, no branch":    {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "version": "none"}, 500, "there is no branch or tag none"},
		"git, no sub path":  {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "location": "kustom"}, 500, "pathspec 'kustom' did not match any files"},
		"git, wrong":        {of{"type": "git/repo", "artifactAccount": "wrong", "reference": gitURL}, 500, "wants other credentials"},
		"git, fenced":       {of{"type": "git/repo", "artifactAccount": "fenced", "reference": gitURL}, 400, "Host not allowed: 127.0.0.1"},
		"git, an option":    {of{"type": "git/repo", "artifactAccount": "repo", "reference": gitURL, "version": "--upload-pack=id"}, 400, "The version contains invalid characters"},
		"git, ssh by token": {of{"type": "git/repo", "artifactAccount": "repo", "reference": sshURL}, 400, "is invalid for credentials with auth type TOKEN"},
		"an image":          {of{"type": "docker/image", "artifactAccount": "docker-registry", "reference": "nginx:1"}, 501, "docker/image"},
		"unknown":           {of{"type": "http/file", "artifactAccount": "x"}, 404, "Credentials 'x' supporting artifact type 'http/file' cannot be found"},
		"no account":        {of{"name": "foo"}, 400, "An artifact account must be supplied to download this artifact: foo"},
		"no text":           {of{"type": 1}, 400, "type must be a text"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := s.fetch(t, c.artifact)
			if status != c.status || !strings.Contains(string(body), c.want) {
				t.Errorf("%d %s", status, body)
			}
			for _, secret := range []string{"git-secret", "wrong-secret", "aws-secret"} {
				if strings.Contains(string(body), secret) {
					t.Error("the answer has a secret:", string(body))
				}
			}
		})
	}
	t.Run("what breaks off breaks the connection", func(t *testing.T) {
		body := fmt.Sprintf(`{"type":"http/file","artifactAccount":"near","reference":"%s/breaks"}`, web.URL)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, s.URL+"/artifacts/fetch", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		// Where it has broken off before the first byte was sent, the status says so.
		if _, err := io.Copy(io.Discard, res.Body); err == nil && res.StatusCode == http.StatusOK {
			t.Error("a part is taken for the whole")
		}
	})
	t.Run("names and versions", func(t *testing.T) {
		s.get(t, "/artifacts/account/charts/names?type=helm/chart").says(t, 200, `["web"]`)
		s.get(t, "/artifacts/account/charts/versions?type=helm/chart&artifactName=web").says(t, 200, `["1.1.0","1.0.0"]`)
		s.get(t, "/artifacts/account/charts/versions?type=helm/chart&artifactName=unknown").says(t, 400, "Could not find correct entry with artifact name unknown")
		s.get(t, "/artifacts/account/charts/versions?type=helm/chart").says(t, 400, "artifactName")
		s.get(t, "/artifacts/account/charts/names").says(t, 400, "type")
		if r := s.get(t, "/artifacts/account/none/names?type=helm/chart"); r.status != http.StatusNotFound || r.body != "" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	t.Run("nothing is left of clones", func(t *testing.T) {
		eventually(t, 10*time.Second, func() error {
			left, err := filepath.Glob(filepath.Join(os.TempDir(), "clouddriver-clone-*"))
			if len(left) > 0 {
				return fmt.Errorf("there are still %v", left)
			}
			return err
		})
	})
}

// TestArtifacts_ALargeOneTakesNoMemory sends half a gigabyte through, and a caller
// who goes ends the fetch where it comes from.
func TestArtifacts_ALargeOneTakesNoMemory(t *testing.T) {
	const size = 512 << 20
	gone := make(chan struct{}, 1)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			for chunk := make([]byte, 64<<10); ; {
				if _, err := w.Write(chunk); err != nil {
					gone <- struct{}{}
					return
				}
			}
		}
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyN(w, zeros{}, size) // the reader counts
	}))
	t.Cleanup(web.Close)
	no := false
	c := settings()
	c.Artifacts.HTTP.Enabled = true
	c.Artifacts.HTTP.Accounts = []config.ArtifactAccount{{Name: "near", URLRestrictions: config.URLRestrictions{RejectVerbatimIPs: &no, RejectLocalhost: &no}}}
	s := startWith(t, c, nil)
	ask := func(ctx context.Context, path string) *http.Response {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL+"/artifacts/fetch", strings.NewReader(fmt.Sprintf(`{"type":"http/file","artifactAccount":"near","reference":%q}`, web.URL+path)))
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := ask(t.Context(), "/large")
	_, before := footprint()
	most := uint64(0)
	read := int64(0)
	for chunk := make([]byte, 1<<20); ; {
		n, err := res.Body.Read(chunk)
		if read += int64(n); read%(64<<20) < int64(n) {
			_, now := footprint()
			most = max(most, now)
		}
		if err != nil {
			break
		}
	}
	_ = res.Body.Close()
	const limit = 32 << 20
	t.Logf("%d bytes; the heap grew by %d", read, int64(most)-int64(before))
	if read != size || int64(most)-int64(before) > limit {
		t.Errorf("%d of %d bytes, the heap grew by %d, more than %d", read, size, int64(most)-int64(before), limit)
	}
	ctx, cancel := context.WithCancel(t.Context())
	endless := ask(ctx, "/endless")
	cancel()
	_ = endless.Body.Close()
	select {
	case <-gone:
	case <-time.After(20 * time.Second):
		t.Error("the fetch goes on although its caller has gone")
	}
}

type zeros struct{}

func (zeros) Read(into []byte) (int, error) {
	clear(into)
	return len(into), nil
}
