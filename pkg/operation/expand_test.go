package operation

import (
	"errors"
	"strings"
	"testing"
)

func TestExpand_PutsStoredManifestsIntoTheMembersThatAreRead(t *testing.T) {
	const reference = `{"type":"remote/map/base64","name":"stored-entity","reference":"ref://shop/1","customKind":false,"metadata":{}}`
	look := func(asked *[]string) func(string) ([]byte, error) {
		return func(reference string) ([]byte, error) {
			*asked = append(*asked, reference)
			return []byte(`{"kind":"ConfigMap","n":12345678901234567890}`), nil
		}
	}
	for body, want := range map[string]string{
		`{"manifests":[` + reference + `,{"kind":"Pod"},null],"account":"a"}`:           `{"account":"a","manifests":[{"kind":"ConfigMap","n":12345678901234567890},{"kind":"Pod"},null]}`,
		`{"manifest":` + reference + `}`:                                                `{"manifest":{"kind":"ConfigMap","n":12345678901234567890}}`,
		`{"manifest":{"kind":"X","spec":` + reference + `}}`:                            `{"manifest":{"kind":"X","spec":` + reference + `}}`,
		`{"outputs":{"manifests":[` + reference + `]},"patchBody":[` + reference + `]}`: `{"outputs":{"manifests":[` + reference + `]},"patchBody":[` + reference + `]}`,
		`{"manifests":[{"type":"remote/map/base64","reference":7}]}`:                    `{"manifests":[{"type":"remote/map/base64","reference":7}]}`,
		`{"manifests":[{"kind":"Pod"}]}`:                                                `{"manifests":[{"kind":"Pod"}]}`,
		`not JSON remote/map/base64`:                                                    `not JSON remote/map/base64`,
	} {
		var asked []string
		got, err := Expand(Request{Name: "deployManifest", Body: []byte(body)}, look(&asked))
		if err != nil || string(got.Body) != want {
			t.Errorf("%s:\n%s\n%v", body, got.Body, err)
		}
		if expanded := strings.Count(want, "12345678901234567890"); len(asked) != expanded {
			t.Errorf("%s: %q are looked up", body, asked)
		}
	}
	gone := errors.New("gone")
	_, err := Expand(Request{Name: "deployManifest", Body: []byte(`{"manifests":[{"kind":"Pod"},` + reference + `]}`)}, func(string) ([]byte, error) { return nil, gone })
	if !errors.Is(err, gone) || !strings.HasPrefix(err.Error(), "deployManifest.manifests[1]: ") {
		t.Error(err)
	}
	for _, content := range []string{"no JSON", "[1]", "null"} {
		if _, err := Expand(Request{Name: "runJob", Body: []byte(`{"manifest":` + reference + `}`)}, func(string) ([]byte, error) { return []byte(content), nil }); err == nil || !strings.Contains(err.Error(), "runJob.manifest: what is kept under ref://shop/1 is no manifest") {
			t.Errorf("%s: %v", content, err)
		}
	}
}
