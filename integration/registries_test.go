package integration

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// registrySettings have the registry as the account hub, in Java's spelling.
func registrySettings(r *ociRegistry) config.RegistryAccount {
	return config.RegistryAccount{
		Name: "hub", Address: r.URL, Username: "ci", Password: *r.password.Load(),
		HelmOciRepositories: []string{"charts/web"}, Skip: []string{"charts/web"},
		TrackDigests: true, InspectDigests: true, CacheIntervalSeconds: 1, PaginateSize: 2, CacheThreads: 4, ClientTimeoutMillis: 5000,
	}
}

type foundTag struct {
	Repository, Tag, Account, Registry, Digest, CommitID, BuildNumber, Branch string
	Artifact                                                                  struct {
		Type, Name, Version, Reference string
		Metadata                       struct {
			Registry string
			Labels   map[string]string
		}
	}
}

// igor asks as Igor does at each of its polls: without a user (docker-registry.md 1).
func igor(t testing.TB, s *service, family string) map[string][]foundTag {
	t.Helper()
	var accounts []map[string]any
	s.get(t, "/credentials").into(t, &accounts)
	out := map[string][]foundTag{}
	for _, a := range accounts {
		if a["cloudProvider"] != "dockerRegistry" {
			continue
		}
		name, _ := a["name"].(string)
		var one map[string]any
		s.get(t, "/credentials/"+name).into(t, &one)
		if _, is := one["trackDigests"].(bool); !is || one["name"] != name {
			t.Errorf("the account %s is %v", name, one)
		}
		var found []foundTag
		s.get(t, "/dockerRegistry/"+family+"/find?account="+name+"&includeDetails=true").into(t, &found)
		out[name] = found
	}
	return out
}

func tagNames(found []foundTag) []string {
	out := []string{}
	for _, f := range found {
		out = append(out, f.Repository+":"+f.Tag)
	}
	return out
}

// TestRegistries_StartPipelines is Igor's, Deck's and Rosco's way through a real
// registry with token authentication, on each database (docker-registry.md 11, rows
// 3, 7, 8, 11, 13, 14, 15, 18 and 19; artifacts.md 8.5, row 10).
func TestRegistries_StartPipelines(t *testing.T) {
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		r := startRegistry(t)
		first := r.image(t, "shop/web", map[string]string{"commitId": "3f2a1b0", "buildNumber": "118", "branch": "main"}, "2026-01-02T03:04:05Z", "1.4.2", "latest")
		r.image(t, "shop/db", nil, "2026-01-01T03:04:05Z", "1")
		archive, manifest := r.chart(t, "charts/web", "1.0.0", "1.1.0")

		f := startFiat(t, map[string]string{"reader": may("reader", map[string][]string{"hub": {"READ"}}, nil, ""), "other": may("other", nil, nil, "")})
		c := onDatabase(settings(), b.options)
		c.Services.Fiat = f.Fiat
		c.Registries.Enabled = true
		c.Registries.Accounts = []config.RegistryAccount{registrySettings(r), {Name: "broken"}}
		c.Registries.Accounts[0].Skip = nil
		c.Registries.Accounts[0].RepositoriesRegex = "shop/.*"
		s := startWith(t, c, nil)
		other := s
		if b.options.MySQL != nil {
			other = startWith(t, c, nil)
		}
		want := []string{"shop/db:1", "shop/web:1.4.2", "shop/web:latest"}
		for _, replica := range []*service{s, other} {
			eventually(t, 20*time.Second, func() error {
				if got := tagNames(igor(t, replica, "images")["hub"]); !slices.Equal(got, want) {
					return fmt.Errorf("%q", got)
				}
				return nil
			})
		}
		polled := igor(t, s, "images")
		if !reflect.DeepEqual(polled, igor(t, s, "images")) || len(polled) != 1 {
			t.Error("two polls differ though nothing has changed, or have more than the account that can be used")
		}
		web := polled["hub"][1]
		if web.Digest != first || web.Registry != r.host() || web.CommitID != "3f2a1b0" || web.BuildNumber != "118" || web.Branch != "main" ||
			web.Artifact.Type != "docker" || web.Artifact.Reference != r.host()+"/shop/web:1.4.2" || web.Artifact.Metadata.Labels["branch"] != "main" {
			t.Errorf("%+v", web)
		}
		eventually(t, 20*time.Second, func() error { // they are read after the images
			charts := igor(t, s, "charts")["hub"]
			if got := tagNames(charts); !slices.Equal(got, []string{"charts/web:1.0.0", "charts/web:1.1.0"}) || charts[0].Artifact.Type != "helm/image" {
				return fmt.Errorf("%+v", charts)
			}
			return nil
		})
		s.get(t, "/dockerRegistry/images/tags?account=hub&repository=shop/web").says(t, 403) // Deck has a user
		s.as(t, "reader", "GET", "/dockerRegistry/images/tags?account=hub&repository=shop/web", "").is(t, 200, `["1.4.2","latest"]`)
		s.as(t, "other", "GET", "/dockerRegistry/images/find?account=hub", "").says(t, 403)
		s.as(t, "other", "GET", "/dockerRegistry/images/find", "").is(t, 200, "[]")
		s.as(t, "reader", "GET", "/dockerRegistry/charts/tags?account=hub&repository=charts/web", "").is(t, 200, `["1.0.0","1.1.0"]`)

		fetchesCharts(t, s, r, archive, manifest)

		// A push is seen by all, and another image under a tag.
		second := r.image(t, "shop/web", map[string]string{"commitId": "4"}, "2026-02-02T03:04:05Z", "1.5.0", "latest")
		for _, replica := range []*service{s, other} {
			eventually(t, 20*time.Second, func() error {
				found := igor(t, replica, "images")["hub"]
				if len(found) != 4 || found[2].Digest != second || found[3].Digest != second {
					return fmt.Errorf("%+v", found)
				}
				return nil
			})
		}
		// The registry ends, and so does the service: what was known is there at once.
		r.kill()
		eventually(t, 30*time.Second, func() error {
			if got := s.get(t, "/dockerRegistry/images/find?account=hub").header.Get("X-Clouddriver-Stale-Accounts"); got != "hub" {
				return fmt.Errorf("marked: %q", got)
			}
			if got := s.get(t, "/health").body; !strings.Contains(got, `"hub":"DOWN"`) || !strings.Contains(got, `"status":"UP"`) {
				return errors.New(got)
			}
			return nil
		})
		s.stop()
		if other != s {
			other.stop()
		}
		again := startWith(t, c, nil)
		if got := tagNames(igor(t, again, "images")["hub"]); len(got) != 4 {
			t.Errorf("after a restart without the registry: %q", got)
		}
		again.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "charts/web", "version": "1.0.0"}, 500, "Unable to download the contents of artifact helm/image charts/web")
	})
}

// fetchFails asks for an artifact that cannot be had.
func (s *service) fetchFails(t testing.TB, artifact map[string]any, status int, text string) {
	t.Helper()
	got, body := s.fetch(t, artifact)
	if got != status || !strings.Contains(string(body), text) {
		t.Errorf("%v: %d %s, want %d %s", artifact, got, body, status, text)
	}
}

// fetchesCharts is artifacts.md 8.5, row 10.
func fetchesCharts(t *testing.T, s *service, r *ociRegistry, archive []byte, manifest string) {
	t.Helper()
	for what, a := range map[string]map[string]any{
		"name and version": {"name": "charts/web", "version": "1.1.0"},
		"as a trigger has": {"name": r.host() + "/charts/web", "version": "1.1.0", "reference": r.host() + "/charts/web:1.1.0"},
		"reference alone":  {"reference": r.host() + "/charts/web:1.0.0"},
		"as helm has it":   {"reference": "oci://" + r.host() + "/charts/web:1.0.0"},
		"a digest":         {"name": "charts/web", "version": manifest},
		"by its digest":    {"reference": r.host() + "/charts/web@" + manifest},
	} {
		a["type"], a["artifactAccount"] = "helm/image", "hub"
		if status, body := s.fetch(t, a); status != http.StatusOK || !bytes.Equal(body, archive) {
			t.Errorf("%s: %d, %d bytes of %d", what, status, len(body), len(archive))
		}
	}
	s.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "charts/web", "version": "9"}, 404, "has no charts/web:9")
	s.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "charts/web"}, 400, "must say the chart and its version")
	s.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "Charts/../web", "version": "1"}, 400, "not the name of a repository")
	s.fetchFails(t, map[string]any{"type": "helm/image", "artifactAccount": "hub", "name": "charts/web", "version": "1/../2"}, 400, "neither a tag nor a digest")
	s.get(t, "/artifacts/account/hub/names?type=helm/image").is(t, 200, `["charts/web"]`)
	s.get(t, "/artifacts/account/hub/versions?type=helm/image&artifactName=charts/web").is(t, 200, `["1.0.0","1.1.0"]`)
	s.get(t, "/artifacts/account/hub/versions?type=helm/image&artifactName=charts/none").says(t, 400, "Could not find correct entry with artifact name charts/none")
	if got := s.get(t, "/artifacts/credentials").body; !strings.Contains(got, `{"name":"hub","types":["helm/image"],"type":"artifacts-helm-oci"}`) {
		t.Error(got)
	}
}

// TestRegistries_AreManagedAtRunTime is docker-registry.md 11, row 19.
func TestRegistries_AreManagedAtRunTime(t *testing.T) {
	r := startRegistry(t)
	r.image(t, "shop/web", nil, "", "1")
	c := settings()
	c.Registries.Enabled = true
	c.Definitions.Storage.Open = true
	s := startWith(t, c, nil)
	s.get(t, "/dockerRegistry/images/find").is(t, 200, "[]")
	definition := func(password, more string) string {
		return fmt.Sprintf(`{"type":"dockerRegistry","name":"hub","address":%q,"username":"ci","password":%q,"cacheIntervalSeconds":1%s}`, r.URL, password, more)
	}
	s.send(t, "POST", "/credentials", definition("secret", "")).says(t, 200)
	shows := func(want ...string) {
		t.Helper()
		eventually(t, 20*time.Second, func() error {
			if got := tagNames(igor(t, s, "images")["hub"]); !slices.Equal(got, want) {
				return fmt.Errorf("%q", got)
			}
			return nil
		})
	}
	shows("shop/web:1")
	s.get(t, "/dockerRegistry/images/tags?account=hub&repository=shop/none").is(t, 200, "[]")
	// The password changes at the registry first.
	r.setPassword("other")
	s.send(t, "PUT", "/credentials", definition("other", `,"repositories":["shop/web"]`)).says(t, 200)
	r.image(t, "shop/web", nil, "", "2")
	shows("shop/web:1", "shop/web:2")
	for field, body := range map[string]string{
		"passwordFile":  definition("", `,"passwordFile":"/etc/passwd"`),
		"catalogFile":   definition("x", `,"catalogFile":"/etc/passwd"`),
		"address":       `{"type":"dockerRegistry","name":"b","address":"http://169.254.169.254"}`,
		"repositories,": definition("x", `,"repositories":["a"],"repositoriesRegex":"b"`),
	} {
		if got := s.send(t, "PUT", "/credentials", body); got.status != http.StatusBadRequest || !strings.Contains(got.body, field) {
			t.Errorf("%s: %d %s", field, got.status, got.body)
		}
	}
	if got := s.get(t, "/credentials/type/dockerRegistry").body; !strings.Contains(got, `"name":"hub"`) {
		t.Error(got)
	}
	s.send(t, "DELETE", "/credentials/hub", "").says(t, 200)
	eventually(t, 10*time.Second, func() error {
		if got := igor(t, s, "images"); len(got) != 0 {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
	s.get(t, "/dockerRegistry/images/find?account=hub").is(t, 200, "[]")
	s.get(t, "/artifacts/account/hub/names?type=helm/image").is(t, 404, "")
}
