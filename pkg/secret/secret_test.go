package secret

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"encrypted:k8s!n:x!k:y":                  "k8s n=x k=y",
		"encrypted:s3!b:x!f:a:b:c":               "s3 b=x f=a:b:c",
		"encryptedFile:file!f:/x/y":              "file f=/x/y file",
		"secret://k8s?n=x&k=y&ns=z":              "k8s n=x k=y ns=z",
		"boot-secret://google-x?n=1":             "google-x n=1",
		"encrypted:k8s":                          "",
		"encrypted:k8s!n":                        "",
		"encrypted:!n:x":                         "",
		"encrypted:k8s!a b:x":                    "",
		"secret://":                              "",
		"secret://k8s":                           "",
		"plain":                                  "",
		"encrypted:k8s!n:pass word, and a quote": "k8s n=pass word, and a quote",
	} {
		got, err := Parse(text)
		if (err == nil) != (want != "") {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err != nil {
			if text != "secret://" && strings.Contains(err.Error(), text) {
				t.Errorf("%s is quoted: %v", text, err)
			}
			continue
		}
		fields := strings.SplitN(want, " ", 2)
		if got.Engine != fields[0] || got.File != strings.HasSuffix(want, " file") {
			t.Errorf("%s: %+v", text, got)
		}
		for key, of := range got.Of {
			if !strings.Contains(want, key+"="+of) {
				t.Errorf("%s: %+v", text, got)
			}
		}
	}
}

func TestResolve(t *testing.T) {
	folder := t.TempDir()
	mounted := filepath.Join(folder, "password")
	if err := os.WriteFile(mounted, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := NewResolver(nil)
	t.Cleanup(func() { _ = r.Close() })
	for value, want := range map[string]string{
		"as it is": "as it is", "": "", "encrypted:noop!v:x:y": "x:y", "encrypted:file!f:" + mounted: "s3cret", "secret://file?f=" + mounted: "s3cret",
	} {
		if got, err := r.Resolve(t.Context(), value); err != nil || got != want {
			t.Errorf("%s: %q, %v", value, got, err)
		}
	}
	path, err := r.Resolve(t.Context(), "encryptedFile:noop!v:content")
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if content, err := os.ReadFile(path); err != nil || string(content) != "content" {
		t.Errorf("%q %v", content, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Error("the file stays")
	}
	for _, value := range []string{"encrypted:vault!p:hunter2", "encrypted:k8s!n:hunter2!k:x", "encrypted:file!f:/no/hunter2", "encrypted:hunter2"} {
		_, err := r.Resolve(t.Context(), value)
		if err == nil || strings.Contains(strings.ReplaceAll(err.Error(), "engine hunter2", ""), "hunter2") {
			t.Errorf("%s: %v", value, err)
		}
	}
	if _, err := r.Resolve(t.Context(), "encrypted:vault!p:x"); !errors.Is(err, ErrNoEngine) {
		t.Error(err)
	}
}

func TestKubernetes_ReadsAKeyOfASecret(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "Bearer pod":
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path == "/api/v1/namespaces/spin/secrets/db":
			_, _ = w.Write([]byte(`{"kind":"Secret","data":{"password":"aHVudGVyMg=="}}`))
		case r.URL.Path == "/api/v1/namespaces/spin/secrets/elsewhere":
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	r := NewResolver(map[string]Engine{"k8s": Kubernetes(func() (*rest.Config, error) { return &rest.Config{Host: server.URL, BearerToken: "pod"}, nil })})
	if got, err := r.Resolve(t.Context(), "encrypted:k8s!n:DB!k:password!ns:spin"); err != nil || got != "hunter2" {
		t.Errorf("%q, %v", got, err)
	}
	for _, value := range []string{
		"encrypted:k8s!n:db!k:other!ns:spin", "encrypted:k8s!n:none!k:password!ns:spin", "encrypted:k8s!n:db!ns:spin", "encrypted:k8s!n:../../x!k:y!ns:spin", "encrypted:k8s!n:elsewhere!k:y!ns:spin",
	} {
		if got, err := r.Resolve(t.Context(), value); err == nil || got != "" {
			t.Errorf("%s: %q, %v", value, got, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("encrypted:k8s!n:x!k:y")
	f.Add("secret://k8s?n=x")
	f.Fuzz(func(t *testing.T, text string) {
		ref, err := Parse(text)
		if err == nil && (ref.Engine == "" || len(ref.Of) == 0) {
			t.Errorf("%q is taken as %+v", text, ref)
		}
		if _, err := NewResolver(nil).Resolve(context.Background(), text); err == nil && Is(text) && ref.Engine != "noop" && ref.Engine != "file" {
			t.Errorf("%q is resolved by no engine", text)
		}
	})
}
