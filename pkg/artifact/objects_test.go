package artifact

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// TestGCS_ReadsAnObject asks a server that follows the public documents of Cloud
// Storage's JSON API.
func TestGCS_ReadsAnObject(t *testing.T) {
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case q.Get("alt") != "media":
			w.WriteHeader(http.StatusBadRequest)
		case r.URL.EscapedPath() == "/storage/v1/b/bucket/o/a%2Fb%23c.yml":
			_, _ = fmt.Fprint(w, "generation ", q.Get("generation"))
		case strings.HasSuffix(r.URL.Path, "/secret"):
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"error":{"message":"quoted by nobody"}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	g := newGCS(config.ArtifactAccount{Name: "gcs", APIEndpoint: s.URL})
	for reference, want := range map[string]string{
		"gs://bucket/a/b#c.yml#12": "generation 12", "bucket/a/b#c.yml#0": "generation ",
	} {
		got, err := g.fetch(t.Context(), spinnaker.Artifact{Reference: reference})
		if text := content(t, got, err); text != want {
			t.Errorf("%s: %s", reference, text)
		}
	}
	for reference, want := range map[string]string{
		"gs://bucket": "GCS references must be of the format gs://<bucket>/<file-path>, got: gs://bucket", "gs:///x": "GCS references must be", "gs://bucket/x#y": "gcs/object generation values must be numeric, got: y",
	} {
		if _, err := g.fetch(t.Context(), spinnaker.Artifact{Reference: reference}); !errors.Is(err, ErrRefused) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", reference, err)
		}
	}
	for reference, want := range map[string]string{"gs://bucket/none": "there is no object gs://bucket/none", "gs://bucket/secret": "Received 403 status code"} {
		if _, err := g.fetch(t.Context(), spinnaker.Artifact{Reference: reference}); err == nil || errors.Is(err, ErrRefused) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "quoted") {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

func TestGCS_CredentialsThatCannotBeReadAreTriedAgain(t *testing.T) {
	g := newGCS(config.ArtifactAccount{Name: "gcs", JSONPath: "/not/there"})
	for range 2 {
		if _, err := g.fetch(t.Context(), spinnaker.Artifact{Reference: "gs://bucket/x"}); err == nil || !strings.Contains(err.Error(), "the credentials of Google Cloud") {
			t.Error(err)
		}
	}
}

func TestS3_WhatIsNoReferenceIsRefused(t *testing.T) {
	for _, reference := range []string{"", "s3://", "s3://bucket", "s3:///key", "s3://bucket/"} {
		if _, err := newS3(config.ArtifactAccount{}).fetch(t.Context(), spinnaker.Artifact{Reference: reference}); !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", reference, err)
		}
	}
}
