package outgoing

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestClient_FollowsNoRedirect(t *testing.T) {
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	t.Cleanup(elsewhere.Close)
	for _, code := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, code))
		t.Cleanup(server.Close)
		res, err := Client(nil, time.Minute).Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != code {
			t.Errorf("%d is answered with %d", code, res.StatusCode)
		}
	}
	if asked > 0 {
		t.Errorf("%d requests were sent elsewhere", asked)
	}
}

// TestClient_IsTheOnlyOne looks through the service: a client that is made in
// another place follows redirects.
func TestClient_IsTheOnlyOne(t *testing.T) {
	for _, root := range []string{"..", "../../cmd"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.Base(path) == "outgoing.go" {
				return err
			}
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, made := range []string{"http.Client{", "http.DefaultClient", "http.Get(", "http.Post("} {
				if strings.Contains(string(content), made) {
					t.Errorf("%s: %s; use outgoing.Client", path, made)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
