package config

import (
	"reflect"
	"strings"
	"testing"
)

// TestRegistries_InBothSpellings is docker-registry.md 11, row 1: each key of section
// 2 as YAML of Spring has it.
func TestRegistries_InBothSpellings(t *testing.T) {
	const camel = `
dockerRegistry:
  enabled: true
  primaryAccount: hub
  accounts:
  - {name: hub, address: "https://index.docker.io", username: u, password: "", passwordFile: /p, passwordCommand: c, dockerconfigFile: /d, email: e@example.org,
     repositories: [a, b], catalogFile: /c, repositoriesRegex: ".*", skip: [s], helmOciRepositories: [h], cacheIntervalSeconds: 1, cacheThreads: 2, clientTimeoutMillis: 3, paginateSize: 4,
     trackDigests: true, inspectDigests: true, sortTagsByDate: true, insecureRegistry: true, environment: env, accountType: type, permissions: {READ: [ops]}, itemUpperThreshold: 5}
`
	kebab := strings.NewReplacer("dockerRegistry", "docker-registry", "primaryAccount", "primary-account", "passwordFile", "password-file", "passwordCommand", "password-command", "dockerconfigFile", "dockerconfig-file",
		"catalogFile", "catalog-file", "repositoriesRegex", "repositories-regex", "helmOciRepositories", "helm-oci-repositories", "cacheIntervalSeconds", "cache-interval-seconds", "cacheThreads", "cache-threads",
		"clientTimeoutMillis", "client-timeout-millis", "paginateSize", "paginate-size", "trackDigests", "track-digests", "inspectDigests", "inspect-digests", "sortTagsByDate", "sort-tags-by-date",
		"insecureRegistry", "insecure-registry", "accountType", "account-type", "itemUpperThreshold", "item-upper-threshold").Replace(camel)
	want := RegistryAccount{
		Name: "hub", Address: "https://index.docker.io", Username: "u", PasswordFile: "/p", PasswordCommand: "c", DockerconfigFile: "/d", Email: "e@example.org",
		Repositories: []string{"a", "b"}, CatalogFile: "/c", RepositoriesRegex: ".*", Skip: []string{"s"}, HelmOciRepositories: []string{"h"},
		CacheIntervalSeconds: 1, CacheThreads: 2, ClientTimeoutMillis: 3, PaginateSize: 4, TrackDigests: true, InspectDigests: true, SortTagsByDate: true, InsecureRegistry: true,
		Environment: "env", AccountType: "type", Permissions: map[string][]string{"READ": {"ops"}}, ItemUpperThreshold: 5,
	}
	for what, text := range map[string]string{"camelCase": camel, "kebab-case": kebab} {
		c, err := load(t, text, nil)
		if err != nil {
			t.Fatal(what, err)
		}
		if !c.Registries.Enabled || len(c.Registries.Accounts) != 1 || !reflect.DeepEqual(c.Registries.Accounts[0], want) {
			t.Errorf("%s: %+v", what, c.Registries)
		}
	}
}

func TestArtifactStore_InJavasSpelling(t *testing.T) {
	text := "artifact-store:\n  type: s3\n  s3: {enabled: true, bucket: b, url: 'http://s3', region: r, accessKey: a, secretKey: s, profile: p}\n"
	c, err := load(t, text, nil)
	want := ArtifactStoreS3{Enabled: true, Bucket: "b", URL: "http://s3", Region: "r", AccessKey: "a", SecretKey: "s", Profile: "p", PathStyle: true}
	if err != nil || c.ArtifactStore.S3 != want || !c.ArtifactStore.Entities.Expand {
		t.Errorf("%+v %v", c, err)
	}
	if _, err := load(t, strings.Replace(text, "bucket: b, ", "", 1), nil); err == nil || !strings.Contains(err.Error(), "artifactStore.s3.bucket") {
		t.Error(err)
	}
}
