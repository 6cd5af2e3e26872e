package artifact

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

func TestMaven_TheGreatestVersionThatMatches(t *testing.T) {
	versions := []string{"1.0", "1.2", "1.10", "2.0-alpha-1", "2.0", "2.1-SNAPSHOT"}
	for constraint, want := range map[string]string{
		"1.2": "1.2", "RELEASE": "2.0", "latest.release": "2.0", "LATEST": "2.1-SNAPSHOT", "latest.integration": "2.1-SNAPSHOT", "SNAPSHOT": "2.1-SNAPSHOT",
		"[1.0,2.0)": "2.0-alpha-1", "[1.0,1.10)": "1.2", "(,1.10]": "1.10", "[1.2]": "1.2", "[3.0,),[1.0,1.0]": "1.0", "(1.0,1.10]": "1.10",
	} {
		if got, err := matching(versions, constraint); err != nil || got != want {
			t.Errorf("%s: %s %v", constraint, got, err)
		}
	}
	for _, constraint := range []string{"9", "[5,)"} {
		if _, err := matching(versions, constraint); err == nil || !strings.Contains(err.Error(), "No versions matching constraint '"+constraint+"'") {
			t.Errorf("%s: %v", constraint, err)
		}
	}
	for _, constraint := range []string{"[1.0", "(1.0)", "[]", "1.0,[2.0]", "[1.0,2.0)x"} {
		if _, err := matching(versions, constraint); err == nil {
			t.Errorf("%s is a range", constraint)
		}
	}
}

func TestMaven_FetchesAFileOfARepository(t *testing.T) {
	files := map[string]string{
		"/m2/org/example/app/maven-metadata.xml":                         `<metadata><versioning><versions><version>1.0</version><version>1.1</version></versions></versioning></metadata>`,
		"/m2/org/example/app/1.1/app-1.1.jar":                            "jar",
		"/m2/org/example/app/1.0/app-1.0-linux.tgz":                      "tgz",
		"/m2/org/example/app/2.0-SNAPSHOT/maven-metadata.xml":            `<metadata><versioning><snapshot><timestamp>20260101.000000</timestamp><buildNumber>3</buildNumber></snapshot><snapshotVersions><snapshotVersion><extension>yml</extension><value>2.0-20260102.000000-4</value></snapshotVersion></snapshotVersions></versioning></metadata>`,
		"/m2/org/example/app/2.0-SNAPSHOT/app-2.0-20260101.000000-3.jar": "snapshot jar",
		"/m2/org/example/app/2.0-SNAPSHOT/app-2.0-20260102.000000-4.yml": "snapshot yml",
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, ok := files[r.URL.Path]; ok {
			_, _ = io.WriteString(w, body)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	t.Cleanup(server.Close)
	all, _ := accounts(t, config.Artifacts{Maven: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "m", RepositoryURL: server.URL + "/m2/"}}}}, nil)
	fetch := func(reference string) (string, error) {
		return fetchedText(t, all, "maven/file", "m", reference)
	}
	for reference, want := range map[string]string{
		"org.example:app:latest.release": "jar", "org.example:app:jar:1.1": "jar", "org.example:app:tgz:linux:[1.0]": "tgz",
		"org.example:app:2.0-SNAPSHOT": "snapshot jar", "org.example:app:yml:2.0-SNAPSHOT": "snapshot yml",
	} {
		if got, err := fetch(reference); err != nil || got != want {
			t.Errorf("%s: %q %v", reference, got, err)
		}
	}
	for _, reference := range []string{"", "a:b", "a::1", "a:b:c:d:e:f", "../..:app:..", "org.example:app:1/../2-SNAPSHOT"} {
		if _, err := fetch(reference); err == nil {
			t.Errorf("%q is fetched", reference)
		}
	}
	if _, err := fetch("org.example:app:9"); err == nil || !strings.Contains(err.Error(), "No versions matching constraint") {
		t.Error(err)
	}
	if _, err := fetch("a:b"); !errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}
