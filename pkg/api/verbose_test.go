package api

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestVerbose_ShowsOnlyWhatIsNamed sends a secret everywhere where one may be.
func TestVerbose_ShowsOnlyWhatIsNamed(t *testing.T) {
	const canary = "hunter2"
	var log bytes.Buffer
	s := &Server{Options: Options{Log: slog.New(slog.NewTextHandler(&log, nil))}}
	for _, body := range []string{
		`[{"deployManifest":{"account":"prod","moniker":{"app":"shop"},"manifests":[{"kind":"Secret","apiVersion":"v1","metadata":{"name":"db","namespace":"ns","annotations":{"a":"hunter2"},"labels":{"l":"hunter2"}},"data":{"x":"hunter2"},"stringData":{"y":"hunter2"},"binaryData":{"z":"hunter2"}},
		 {"kind":"Pod","spec":{"containers":[{"name":"c","args":["hunter2"],"env":[{"name":"A","value":"hunter2"}]}]}}],"requiredArtifacts":[{"type":"embedded/base64","reference":"hunter2","name":"hunter2"}]}}]`,
		`{"name":"prod","host":"https://hunter2","caData":"hunter2","bearerToken":"hunter2","permissions":{"read":["hunter2"]}}`,
		`{"name":"prod","kubeconfigContents":"hunter2","kubeconfigFile":"hunter2","unknown":{"deep":["hunter2",{"deeper":"hunter2"}]}}`,
		`[{"patchManifest":{"account":"prod","patchBody":[{"name":"hunter2"}]}}]`,
		`"hunter2"`, `["hunter2"]`, `no JSON hunter2`, `{"a":"` + strings.Repeat("hunter2", 100_000) + `"}`,
	} {
		r := httptest.NewRequest(http.MethodPost, "/kubernetes/ops?token=hunter2&account=prod&q=hunter2", strings.NewReader(body))
		for _, name := range []string{"Authorization", "Cookie", "X-Auth-Key", "X-Spinnaker-Something", "Api-Key", "Referer"} {
			r.Header.Set(name, canary)
		}
		r.Header.Set("X-Spinnaker-User", "somebody")
		passed := 0
		s.verbose(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			read, err := io.ReadAll(r.Body)
			if err != nil || string(read) != body {
				t.Errorf("the handler reads another body, %v", err)
			}
			passed++
		})).ServeHTTP(httptest.NewRecorder(), r)
		if passed != 1 {
			t.Error("the request is not passed on")
		}
	}
	text := log.String()
	if strings.Contains(text, canary) {
		t.Errorf("a secret is logged: %s", text)
	}
	for _, shown := range []string{"somebody", "prod", "shop", "deployManifest", "account=prod", "Secret"} {
		if !strings.Contains(text, shown) {
			t.Errorf("%s is not logged", shown)
		}
	}
}
