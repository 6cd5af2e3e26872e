package integration

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// bucket is a store of S3's kind that knows tags, which the module it rests on does
// not.
type bucket struct {
	URL  string
	s3   *s3mem.Backend
	tags sync.Map // applications, by key
	down atomic.Bool
}

func startBucket(t testing.TB) *bucket {
	t.Helper()
	b := &bucket{s3: s3mem.New()}
	if err := b.s3.CreateBucket("artifacts"); err != nil {
		t.Fatal(err)
	}
	objects := gofakes3.New(b.s3).Server()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := strings.TrimPrefix(r.URL.Path, "/artifacts/")
		application, tagged := b.tags.Load(key)
		switch {
		case b.down.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Query().Has("tagging") && tagged:
			_, _ = fmt.Fprintf(w, `<Tagging><TagSet><Tag><Key>application</Key><Value>%s</Value></Tag></TagSet></Tagging>`, application)
		case r.URL.Query().Has("tagging") && b.has(key):
			_, _ = io.WriteString(w, `<Tagging><TagSet></TagSet></Tagging>`)
		default:
			objects.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	b.URL = server.URL
	return b
}

func (b *bucket) has(key string) bool {
	_, err := b.s3.HeadObject("artifacts", key)
	return err == nil
}

// keep has content as Orca keeps it, and returns its reference.
func (b *bucket) keep(t testing.TB, application, tag, content string) (reference string) {
	t.Helper()
	sum := sha256.Sum256([]byte(base64.StdEncoding.EncodeToString([]byte(content))))
	key := application + "/" + hex.EncodeToString(sum[:])
	if _, err := b.s3.PutObject("artifacts", key, map[string]string{}, strings.NewReader(content), int64(len(content)), nil); err != nil {
		t.Fatal(err)
	}
	if tag != "" {
		b.tags.Store(key, tag)
	}
	return "ref://" + key
}

// TestArtifactStore_ExpandsWhatOrcaKeeps is artifacts.md 8.5, rows 11 to 13, with a
// manifest that is deployed to a real cluster.
func TestArtifactStore_ExpandsWhatOrcaKeeps(t *testing.T) {
	cluster := pool.Shared(t, 1)[0]
	b := startBucket(t)
	f := startFiat(t, map[string]string{
		"reader": may("reader", map[string][]string{cluster.Name: {"READ", "WRITE"}}, map[string][]string{"shop": {"READ"}}, ""),
		"other":  may("other", map[string][]string{cluster.Name: {"READ", "WRITE"}}, nil, ""),
	})
	c := settings()
	c.Services.Fiat = f.Fiat
	c.ArtifactStore = config.ArtifactStore{Type: "s3", Entities: config.ArtifactEntities{Expand: true}, S3: config.ArtifactStoreS3{
		Enabled: true, Region: "us-east-1", URL: b.URL, Bucket: "artifacts", AccessKey: "a", SecretKey: "b", PathStyle: true,
	}}
	s := start(t, c, cluster).ready(t)

	const text = "kind: ConfigMap\n"
	kept := b.keep(t, "shop", "shop", text)
	untagged := b.keep(t, "shop", "", "nobody's")
	none := "ref://shop/" + strings.Repeat("0", 64)
	fetch := func(user, reference string) response {
		return s.as(t, user, "PUT", "/artifacts/fetch", fmt.Sprintf(`{"type":"remote/base64","artifactAccount":"embedded-artifact","reference":%q}`, reference))
	}
	for range 2 { // what is kept in memory is asked for again
		fetch("reader", kept).is(t, 200, text)
		fetch("other", kept).says(t, 403, "Access denied to application shop")
		fetch("", kept).says(t, 401, "Could not authenticate due to missing user id")
	}
	fetch("reader", untagged).says(t, 403, "which application")
	fetch("reader", none).says(t, 404, "artifact failed to be retrieved: bucket=artifacts ref="+none)
	fetch("reader", "ref://shop/x").says(t, 400, "is no reference of the artifact store")

	path := func(reference string) string {
		return "/artifacts/content-address/" + strings.TrimPrefix(reference, "ref://")
	}
	s.as(t, "reader", "GET", path(kept), "").is(t, 200, fmt.Sprintf(`{"reference":%q}`, base64.StdEncoding.EncodeToString([]byte(text))))
	s.as(t, "reader", "GET", path(none), "").says(t, 404)
	s.as(t, "other", "GET", path(kept), "").says(t, 403)

	manifest := `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"stored","namespace":"default"},"data":{"a":"b"}}`
	deploy := func(user, reference string) response {
		object := fmt.Sprintf(`{"type":"remote/map/base64","name":"stored-entity","reference":%q,"customKind":false,"metadata":{}}`, reference)
		return s.as(t, user, "POST", "/kubernetes/ops", fmt.Sprintf(`[{"deployManifest":{"account":%q,"moniker":{"app":"shop"},"manifests":[%s],"outputs":{"manifests":[{"type":"remote/map/base64","reference":%q}]}}}]`, cluster.Name, object, none))
	}
	stored := b.keep(t, "shop", "shop", manifest)
	deploy("other", stored).says(t, 403, "deployManifest.manifests[0]", "Access denied to application shop")
	deploy("", stored).says(t, 401, "missing user id")
	deploy("reader", none).says(t, 400, "deployManifest.manifests[0]", none)
	deploy("reader", b.keep(t, "shop", "shop", "no JSON")).says(t, 400, "is no manifest")
	b.down.Store(true)
	deploy("reader", b.keep(t, "shop", "shop", manifest+" ")).says(t, 503, "deployManifest.manifests[0]")
	fetch("reader", b.keep(t, "shop", "shop", "another")).says(t, 500, "artifact failed to be retrieved")
	b.down.Store(false)
	var submitted struct{ ID string }
	deploy("reader", stored).into(t, &submitted)
	eventually(t, 30*time.Second, func() error {
		var task struct {
			Status        struct{ Completed, Failed bool }
			ResultObjects []json.RawMessage
		}
		s.as(t, "reader", "GET", "/task/"+submitted.ID, "").into(t, &task)
		switch {
		case !task.Status.Completed:
			return errors.New("it runs")
		case task.Status.Failed:
			t.Fatalf("%+v", task)
		case strings.Contains(fmt.Sprintf("%s", task.ResultObjects), "remote/map"):
			t.Errorf("the task has references: %s", task.ResultObjects)
		}
		return nil
	})
	s.as(t, "reader", "GET", "/manifests/"+cluster.Name+"/default/configMap%20stored-v000", "").says(t, 200, `"a":"b"`)
}
