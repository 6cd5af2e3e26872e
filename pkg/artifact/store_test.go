package artifact

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// storeOf is a store that answers each object with its tags.
func storeOf(t *testing.T, objects map[string]string, tags string) (s *Store, asked *atomic.Int64) {
	t.Helper()
	asked = &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		content, ok := objects[strings.TrimPrefix(r.URL.Path, "/bucket/")]
		switch {
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`<Error><Code>NoSuchKey</Code></Error>`))
		case r.URL.Query().Has("tagging"):
			_, _ = w.Write([]byte(`<Tagging><TagSet>` + tags + `</TagSet></Tagging>`))
		default:
			_, _ = w.Write([]byte(content))
		}
	}))
	t.Cleanup(server.Close)
	s, err := NewStore(config.ArtifactStore{S3: config.ArtifactStoreS3{Enabled: true, Region: "us-east-1", URL: server.URL, Bucket: "bucket", AccessKey: "a", SecretKey: "b", PathStyle: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, asked
}

func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

const tagged = `<Tag><Key>application</Key><Value>shop</Value></Tag>`

// TestStore_IsReadByWhoMay is artifacts.md 8.5, rows 11 and 12.
func TestStore_IsReadByWhoMay(t *testing.T) {
	content := "kind: ConfigMap"
	padded, bare := hashOf(base64.StdEncoding.EncodeToString([]byte(content))), hashOf(base64.RawStdEncoding.EncodeToString([]byte(content)))
	s, asked := storeOf(t, map[string]string{"shop/" + padded: content, "shop/" + bare: content, "shop/" + hashOf("other"): content}, tagged)
	allowed := func(application string) error {
		if application != "shop" {
			t.Error(application)
		}
		return nil
	}
	denied, full := errors.New("not you"), errors.New("no room")
	room := func(int64) error { return nil }
	for _, hash := range []string{padded, bare} {
		if got, err := s.Read(t.Context(), Reference("shop", hash), allowed, room); err != nil || string(got) != content {
			t.Errorf("%q %v", got, err)
		}
	}
	s.kept.Wait()
	before := asked.Load()
	if got, err := s.Read(t.Context(), Reference("shop", padded), allowed, room); err != nil || string(got) != content || asked.Load() != before {
		t.Errorf("%q %v, %d requests for what is kept", got, err, asked.Load()-before)
	}
	if _, err := s.Read(t.Context(), Reference("shop", padded), func(string) error { return denied }, room); !errors.Is(err, denied) {
		t.Errorf("what is kept is shown to somebody who may not: %v", err)
	}
	if _, err := s.Read(t.Context(), Reference("shop", hashOf("other")), allowed, func(bytes int64) error {
		if bytes != int64(len(content)) {
			t.Errorf("%d bytes are asked for", bytes)
		}
		return full
	}); !errors.Is(err, full) {
		t.Error(err)
	}
	for reference, kind := range map[string]error{
		Reference("shop", hashOf("none")):  ErrMissing,
		Reference("shop", hashOf("other")): ErrRefused, // other bytes
		"ref://shop/x":                     ErrRefused,
		"ref://shop/../" + padded:          ErrRefused,
		"s3://shop/" + padded:              ErrRefused,
	} {
		if _, err := s.Read(t.Context(), reference, allowed, room); !errors.Is(err, kind) {
			t.Errorf("%s: %v", reference, err)
		}
	}
	untagged, _ := storeOf(t, map[string]string{"shop/" + padded: content}, `<Tag><Key>else</Key><Value>shop</Value></Tag>`)
	if _, err := untagged.Read(t.Context(), Reference("shop", padded), allowed, room); !errors.Is(err, ErrForbidden) || !strings.Contains(err.Error(), "which application") {
		t.Error(err)
	}
	down, err := NewStore(config.ArtifactStore{S3: config.ArtifactStoreS3{Enabled: true, Region: "us-east-1", URL: "http://127.0.0.1:1", Bucket: "bucket", AccessKey: "a", SecretKey: "b", PathStyle: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(down.Close)
	if _, err := down.Read(t.Context(), Reference("shop", padded), allowed, room); !errors.Is(err, ErrDown) {
		t.Error(err)
	}
	if none, err := NewStore(config.ArtifactStore{}); none != nil || err != nil {
		t.Error(none, err)
	}
}
