package artifact

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/registry"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

func chartOf(t *testing.T, c config.RegistryAccount) chart {
	t.Helper()
	if c.Address == "" {
		c.Address = "https://reg.example:5000/path"
	}
	c.Name = "hub"
	a, err := registry.NewAccount(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return chart{a, nil}
}

// TestChart_IsFoundByEachWayToNameIt is artifacts.md 5.11: lookups, triggers and
// Deck name a chart differently.
func TestChart_IsFoundByEachWayToNameIt(t *testing.T) {
	c := chartOf(t, config.RegistryAccount{})
	digest := "sha256:" + strings.Repeat("ab", 32)
	for _, v := range []struct {
		a             spinnaker.Artifact
		name, version string
	}{
		{spinnaker.Artifact{Name: "charts/web", Version: "1"}, "charts/web", "1"},
		{spinnaker.Artifact{Name: "reg.example:5000/path/charts/web", Version: "1"}, "charts/web", "1"},
		{spinnaker.Artifact{Name: "reg.example:5000/path/charts/web", Version: digest}, "charts/web", digest},
		{spinnaker.Artifact{Reference: "reg.example:5000/path/charts/web:1.2.3"}, "charts/web", "1.2.3"},
		{spinnaker.Artifact{Reference: "oci://reg.example:5000/path/charts/web:1.2.3"}, "charts/web", "1.2.3"},
		{spinnaker.Artifact{Reference: "charts/web@" + digest}, "charts/web", digest},
		{spinnaker.Artifact{Reference: "charts/web:1@" + digest}, "charts/web", digest},
		{spinnaker.Artifact{Name: "charts/web", Reference: "charts/web:2"}, "charts/web", "2"},
	} {
		if name, version, err := c.wanted(v.a); err != nil || name != v.name || version != v.version {
			t.Errorf("%+v: %s %s %v", v.a, name, version, err)
		}
	}
	for _, a := range []spinnaker.Artifact{{}, {Name: "charts/web"}, {Reference: "reg.example:5000/path/charts/web"}, {Name: "a", Version: "../x"}, {Name: "a", Version: "-x y"}, {Reference: "a@sha256:12"}} {
		if _, _, err := c.wanted(a); !errors.Is(err, ErrRefused) {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func TestChart_NamesAreThoseOfTheSettings(t *testing.T) {
	for _, v := range []struct {
		c    config.RegistryAccount
		want string
	}{{config.RegistryAccount{}, ""}, {config.RegistryAccount{HelmOciRepositories: []string{"a", "b"}, Skip: []string{"b"}}, "a"}} {
		got, err := chartOf(t, v.c).names(t.Context())
		if err != nil || got == nil || strings.Join(got, " ") != v.want {
			t.Errorf("%q %v", got, err)
		}
	}
}

func TestChart_WhatFailsSaysWhy(t *testing.T) {
	for status, kind := range map[int]error{http.StatusNotFound: ErrMissing, http.StatusInternalServerError: nil, http.StatusOK: nil} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.WriteHeader(status)
			if status == http.StatusOK {
				_, _ = w.Write([]byte(`{"layers":[]}`))
			}
		}))
		t.Cleanup(server.Close)
		c := chartOf(t, config.RegistryAccount{Address: server.URL})
		_, err := c.fetch(t.Context(), spinnaker.Artifact{Name: "web", Version: "1"})
		if err == nil || kind != nil && !errors.Is(err, kind) {
			t.Errorf("%d: %v", status, err)
		}
	}
	if _, err := chartOf(t, config.RegistryAccount{}).fetch(t.Context(), spinnaker.Artifact{Name: "A B", Version: "1"}); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}
