package artifact

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// near lets references lead to servers of a test.
var near = config.URLRestrictions{RejectVerbatimIPs: ptr(false), RejectLocalhost: ptr(false), RejectedIPs: []string{"127.9.9.9"}}

func nearby(t *testing.T) *web {
	t.Helper()
	r, err := newRestrictions("acct", "artifacts.http.accounts[].urlRestrictions", near)
	if err != nil {
		t.Fatal(err)
	}
	return newWeb(r, "")
}

func server(t *testing.T, handle http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handle)
	t.Cleanup(s.Close)
	return s
}

// content reads what was fetched.
func content(t *testing.T, c Content, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	return string(text)
}

// TestRedirects iterates 8.5, row 8: for a client of references, and for one whose
// first host is configured, as Helm's and Jenkins's are.
func TestRedirects(t *testing.T) {
	var seen []string
	there := server(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Private-Token")+r.Header.Get("X-Own"))
		_, _ = fmt.Fprint(w, "there")
	})
	here := server(t, func(w http.ResponseWriter, r *http.Request) {
		to := map[string]string{
			"/other": there.URL + "/x", "/forbidden": "http://127.9.9.9:1/", "/metadata": "http://169.254.169.254/latest", "/file": "file:///etc/passwd",
			"/relative": "end", "/loop": "/loop", "/upwards": "//" + r.Host + "/end",
		}[r.URL.Path]
		switch r.URL.Path {
		case "/end":
			_, _ = fmt.Fprint(w, "end "+r.Header.Get("Private-Token"))
		case "/nowhere":
			w.WriteHeader(http.StatusFound)
		default:
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusFound)
		}
	})
	show := http.Header{"Private-Token": {"secret"}, "X-Own": {"too"}}
	own, err := configured("acct", here.URL)
	if err != nil {
		t.Fatal(err)
	}
	for name, w := range map[string]*web{"references": nearby(t), "configured": newWeb(own, here.URL)} {
		t.Run(name, func(t *testing.T) {
			for path, want := range map[string]string{"/relative": "end secret", "/upwards": "end secret"} {
				got, err := w.get(t.Context(), here.URL+path, show)
				if err != nil {
					t.Fatal(path, err)
				}
				if text := content(t, got.Content, nil); text != want {
					t.Errorf("%s: %q", path, text)
				}
			}
			for _, path := range []string{"/forbidden", "/metadata", "/file"} {
				if _, err := w.get(t.Context(), here.URL+path, show); !errors.Is(err, ErrRefused) {
					t.Errorf("%s: %v", path, err)
				}
			}
			for path, want := range map[string]string{"/loop": "more than 10 redirects", "/nowhere": "without a Location"} {
				if _, err := w.get(t.Context(), here.URL+path, show); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v", path, err)
				}
			}
			got, err := w.get(t.Context(), here.URL+"/other", show)
			if name == "configured" { // another server on this machine is none that the configuration names
				if !errors.Is(err, ErrRefused) {
					t.Error(err)
				}
				return
			}
			if err != nil || content(t, got.Content, nil) != "there" || len(seen) != 1 || seen[0] != "" {
				t.Errorf("%v, another host was shown %q", err, seen)
			}
		})
	}
}

func TestGet_WhatFailsIsNoContent(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/lies" {
			w.Header().Set("Content-Length", "100")
			_, _ = fmt.Fprint(w, "short")
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = fmt.Fprint(w, "<html>secret page</html>")
	})
	w := nearby(t)
	_, err := w.get(t.Context(), s.URL+"/x?token=never", nil)
	if err == nil || !strings.Contains(err.Error(), "Received 404 status code from 127.0.0.1") || strings.Contains(err.Error(), "never") || strings.Contains(err.Error(), "secret page") {
		t.Error(err)
	}
	got, err := w.get(t.Context(), s.URL+"/lies", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(got); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a Content-Length that lies: %v", err)
	}
}

func TestLimit_BreaksOffWhatIsTooLarge(t *testing.T) {
	text := func() io.ReadCloser { return io.NopCloser(strings.NewReader("12345")) }
	if c, err := within(Content{text(), -1}, 5); err != nil || content(t, c, nil) != "12345" {
		t.Error(err)
	}
	c, err := within(Content{text(), -1}, 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err == nil || !strings.Contains(err.Error(), "artifacts.maxBytes") {
		t.Error(err)
	}
	if _, err := within(Content{text(), 5}, 4); err == nil {
		t.Error("a size that is said beforehand is too large, and is taken")
	}
}

// TestFiles_ShowWhatTheirServersTake fetches from servers that follow the public
// API documents of GitLab, Bitbucket and Jenkins.
func TestFiles_ShowWhatTheirServersTake(t *testing.T) {
	var asked *http.Request
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r
		_, _ = fmt.Fprint(w, "content")
	})
	folder := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := "Basic " + base64.StdEncoding.EncodeToString([]byte("u:p"))
	for name, c := range map[string]struct {
		kind    string
		account config.ArtifactAccount
		of      spinnaker.Artifact
		path    string
		header  string
		value   string
	}{
		"http, anonymous":      {"http", config.ArtifactAccount{}, spinnaker.Artifact{Reference: "/f?a=b"}, "/f?a=b", authorization, ""},
		"http, basic":          {"http", config.ArtifactAccount{Username: "u", Password: "p"}, spinnaker.Artifact{Reference: "/f"}, "/f", authorization, pair},
		"http, pair in a file": {"http", config.ArtifactAccount{Username: "x", Password: "y", UsernamePasswordFile: write("pair", "u:p\r\n")}, spinnaker.Artifact{Reference: "/f"}, "/f", authorization, pair},
		"http, half a pair":    {"http", config.ArtifactAccount{Username: "u"}, spinnaker.Artifact{Reference: "/f"}, "/f", authorization, ""},
		"gitlab, token":        {"gitlab", config.ArtifactAccount{Token: "t"}, spinnaker.Artifact{Reference: "/api/v4/projects/1/repository/files/a%2Fb/raw"}, "/api/v4/projects/1/repository/files/a%2Fb/raw?ref=master", "Private-Token", "t"},
		"gitlab, token file":   {"gitlab", config.ArtifactAccount{Token: "x", TokenFile: write("token", "t\n")}, spinnaker.Artifact{Reference: "/f", Version: "b/c"}, "/f?ref=b%2Fc", "Private-Token", "t"},
		"bitbucket, token":     {"bitbucket", config.ArtifactAccount{Token: "t", Username: "u", Password: "p"}, spinnaker.Artifact{Reference: "/f", Version: "ignored"}, "/f", authorization, "Bearer t"},
		"bitbucket, basic":     {"bitbucket", config.ArtifactAccount{Username: "u", Password: "p"}, spinnaker.Artifact{Reference: "/f"}, "/f", authorization, pair},
		"jenkins":              {"jenkins", config.ArtifactAccount{Username: "u", Password: "p"}, spinnaker.Artifact{Name: "folder/job/web", Version: "12", Reference: "target/a b.yml"}, "/job/folder/job/web/12/artifact/target/a%20b.yml", authorization, pair},
	} {
		t.Run(name, func(t *testing.T) {
			c.account.Address, c.account.URLRestrictions = s.URL, near
			c.account.Name = "a"
			var of fetcher
			var err error
			switch c.kind {
			case "http":
				of, err = (&builder{}).file("artifacts.http", nil, false)(c.account)
			case "gitlab":
				of, err = (&builder{}).file("artifacts.gitlab", gitlabToken, true)(c.account)
			case "bitbucket":
				of, err = (&builder{}).file("artifacts.bitbucket", bitbucketToken, false)(c.account)
			case "jenkins":
				of, err = (&builder{}).jenkins(c.account)
			}
			if err != nil {
				t.Fatal(err)
			}
			if c.kind != "jenkins" {
				c.of.Reference = s.URL + c.of.Reference
			}
			got, err := of.fetch(t.Context(), c.of)
			if text := content(t, got, err); text != "content" || asked.URL.RequestURI() != c.path || asked.Header.Get(c.header) != c.value {
				t.Errorf("%q from %s with %q", text, asked.URL.RequestURI(), asked.Header.Get(c.header))
			}
		})
	}
	t.Run("a file that rotates, or is gone", func(t *testing.T) {
		path := write("rotating", "one")
		of, err := (&builder{}).file("artifacts.gitlab", gitlabToken, true)(config.ArtifactAccount{Name: "a", TokenFile: path, URLRestrictions: near})
		if err != nil {
			t.Fatal(err)
		}
		write("rotating", "two")
		got, err := of.fetch(t.Context(), spinnaker.Artifact{Reference: s.URL})
		if content(t, got, err); asked.Header.Get("Private-Token") != "two" {
			t.Error(asked.Header)
		}
		breaks := func(what string, by func() error) {
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := by(); err != nil {
				t.Fatal(err)
			}
			if _, err := of.fetch(t.Context(), spinnaker.Artifact{Reference: s.URL}); err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), path) {
				t.Errorf("%s: %v", what, err)
			}
		}
		breaks("gone", func() error { return nil })
		breaks("a folder", func() error { return os.Mkdir(path, 0o700) })
		breaks("empty", func() error { return os.WriteFile(path, nil, 0o600) })
	})
	if _, err := (jenkins{}).fetch(t.Context(), spinnaker.Artifact{Name: "web", Version: "..", Reference: "x"}); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

// TestGitHub_ReadsTheAddressOfTheFileFirst plays GitHub's contents API.
func TestGitHub_ReadsTheAddressOfTheFileFirst(t *testing.T) {
	var seen []string
	elsewhere := server(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get(authorization))
		_, _ = fmt.Fprint(w, "elsewhere")
	})
	var s *httptest.Server
	s = server(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get(authorization)+" "+r.Header.Get("Accept"))
		switch {
		case strings.HasPrefix(r.URL.Path, "/raw"):
			_, _ = fmt.Fprint(w, "the file")
		case strings.HasSuffix(r.URL.Path, "/none"):
			_, _ = fmt.Fprint(w, `{"message":"x"}`)
		case strings.HasSuffix(r.URL.Path, "/elsewhere"):
			_, _ = fmt.Fprintf(w, `{"download_url":%q}`, elsewhere.URL)
		case r.Header.Get("Accept") != "":
			_, _ = fmt.Fprint(w, "raw")
		default:
			_, _ = fmt.Fprintf(w, `{"download_url":%q}`, s.URL+"/raw?ref="+r.URL.Query().Get("ref"))
		}
	})
	g := github{web: nearby(t), account: config.ArtifactAccount{Token: "t"}}
	for name, c := range map[string]struct {
		path, want string
		content    bool
		seen       string
	}{
		"by its address":   {"/repos/o/r/contents/f", "the file", false, "token t |token t "},
		"contents API":     {"/repos/o/r/contents/f", "raw", true, "token t application/vnd.github.v3.raw"},
		"on another host":  {"/repos/o/r/contents/elsewhere", "elsewhere", false, "token t |"},
		"without download": {"/repos/o/r/contents/none", "", false, "token t "},
	} {
		t.Run(name, func(t *testing.T) {
			seen = nil
			g.account.UseContentAPI = c.content
			got, err := g.fetch(t.Context(), spinnaker.Artifact{Reference: s.URL + c.path})
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), "download_url") {
					t.Error(err)
				}
			} else if text := content(t, got, err); text != c.want {
				t.Error(text)
			}
			if strings.Join(seen, "|") != c.seen {
				t.Errorf("seen %q", seen)
			}
		})
	}
}

func TestFetch_ACallerWhoGoesEndsItUpstream(t *testing.T) {
	gone := make(chan struct{})
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, "begin")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(gone)
	})
	ctx, cancel := context.WithCancel(t.Context())
	got, err := nearby(t).get(ctx, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-gone
	if _, err := io.ReadAll(got); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
