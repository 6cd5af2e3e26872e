package artifact

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// The order is Ivy's manual's (settings/latest-strategies), and what follows from it.
func TestIvyRevision_Order(t *testing.T) {
	ordered := []string{"1.0-dev1", "1.0-alpha", "1.0-beta", "1.0-rc1", "1.0-rc2", "1.0-final", "1.0", "1.0.1", "1.2", "1.10", "2"}
	for i, a := range ordered {
		for j, b := range ordered {
			got := ivyRevisionOf(a).compare(ivyRevisionOf(b))
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%s and %s: %d", a, b, got)
			}
		}
	}
}

func TestIvyConstraint_TheRevisionsThatAreMeant(t *testing.T) {
	all := []string{"1.0", "1.2", "1.10", "2.0-rc1", "2.0", "2.1"}
	for text, want := range map[string]string{
		"1.2": "1.2", "1.+": "1.10 1.2 1.0", "1.1+": "1.10", "[1.0,2.0]": "2.0 2.0-rc1 1.10 1.2 1.0", "[1.2,2.0[": "2.0-rc1 1.10 1.2",
		"]1.2,1.10]": "1.10", "(,1.2)": "1.0", "[2.0,)": "2.1 2.0", "9": "", "latest.release": "2.1 2.0 2.0-rc1 1.10 1.2 1.0",
	} {
		c, err := ivyConstraintOf(text)
		if got := strings.Join(c.latestFirst(all), " "); err != nil || got != want {
			t.Errorf("%s: %q %v", text, got, err)
		}
	}
	milestone, _ := ivyConstraintOf("latest.milestone")
	for status, want := range map[string]bool{"release": true, "milestone": true, "integration": false, "nightly": false} {
		if milestone.takes(status) != want {
			t.Errorf("%s is mature enough: %v", status, !want)
		}
	}
	for _, text := range []string{"latest.", "latest.nightly", "[1.0", "[1.0]", "(,)", "[1,2,3]", "1,2"} {
		if _, err := ivyConstraintOf(text); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// ivyServer is a web server that lists its folders, with one repository of Ivy's
// layout and one of Maven's; the second one wants to know who asks.
func ivyServer(t *testing.T) string {
	t.Helper()
	text := func(body string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(body)} }
	published := func(status, artifacts string) *fstest.MapFile {
		return text(`<ivy-module version="2.0"><info organisation="org.example" module="app" status="` + status + `"/><publications>` + artifacts + `</publications></ivy-module>`)
	}
	files := http.FileServerFS(fstest.MapFS{
		"ivy/org.example/app/1.0/ivy-1.0.xml":                           published("release", `<artifact name="manifest" type="yml" conf="master"/>`),
		"ivy/org.example/app/1.0/manifest-1.0.yml":                      text("manifest 1.0"),
		"ivy/org.example/app/1.1/ivy-1.1.xml":                           published("milestone", `<artifact name="docs" type="zip" conf="doc"/><artifact type="source" ext="tgz"><conf name="master"/></artifact>`),
		"ivy/org.example/app/1.1/app-1.1.tgz":                           text("tgz 1.1"),
		"ivy/org.example/app/2.0/ivy-2.0.xml":                           published("", `<artifact/>`),
		"ivy/org.example/app/2.0/app-2.0.jar":                           text("jar 2.0"),
		"ivy/org.example/plain/3.0/plain-3.0.jar":                       text("plain jar"),
		"ivy/org.example/broken/1.0/ivy-1.0.xml":                        text("<ivy-module><info"),
		"ivy/org.example/docs/1.0/ivy-1.0.xml":                          published("release", `<artifact conf="doc"/>`),
		"m2/org/example/lib/maven-metadata.xml":                         text(`<metadata><versioning><versions><version>1.0</version><version>1.2</version><version>1.3-SNAPSHOT</version></versions></versioning></metadata>`),
		"m2/org/example/lib/1.2/lib-1.2.pom":                            text("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><project><name>caf\xe9 &copy;</name><packaging>war</packaging></project>"),
		"m2/org/example/lib/1.2/lib-1.2.war":                            text("war 1.2"),
		"m2/org/example/lib/1.0/lib-1.0.pom":                            text(`<project xmlns="http://maven.apache.org/POM/4.0.0"><packaging>bundle</packaging></project>`),
		"m2/org/example/lib/1.0/lib-1.0.jar":                            text("jar 1.0"),
		"m2/org/example/lib/1.3-SNAPSHOT/maven-metadata.xml":            text(`<metadata><versioning><snapshot><timestamp>20260101.000000</timestamp><buildNumber>3</buildNumber></snapshot></versioning></metadata>`),
		"m2/org/example/lib/1.3-SNAPSHOT/lib-1.3-20260101.000000-3.jar": text("jar of a build"),
		"m2/org/example/app/maven-metadata.xml":                         text(`<metadata><versioning><versions><version>5.0</version></versions></versioning></metadata>`),
		"m2/org/example/app/5.0/app-5.0.jar":                            text("maven's app"),
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if strings.HasPrefix(r.URL.Path, "/m2/") && (user != "me" || password != "secret") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func ivyAccount(base string) config.ArtifactAccount {
	c := config.ArtifactAccount{Name: "ivy"}
	ours := config.IvyURL{
		Name: "ours", Ivy: []config.IvyPattern{{Pattern: base + "/ivy/[organisation]/[module]/[revision]/ivy-[revision].xml"}},
		Artifact: []config.IvyPattern{{Pattern: base + "/ivy/[organisation]/[module]/[revision]/[artifact]-[revision](-[classifier]).[ext]"}},
	}
	central := config.IvyIBiblio{Name: "central", Root: base + "/m2", M2Compatible: true}
	c.Settings.Resolvers.Chain = []config.IvyChain{{Name: "both", IvyPlaces: config.IvyPlaces{URL: []config.IvyURL{ours}, IBiblio: []config.IvyIBiblio{central}}}}
	u, _ := url.Parse(base)
	of := &c.Settings.Credentials
	of.Host, of.Realm, of.Username, of.Password = u.Hostname(), "any", "me", "secret"
	return c
}

func TestIvy_FetchesTheFirstArtifactOfAModule(t *testing.T) {
	c := ivyAccount(ivyServer(t))
	all, _ := accounts(t, config.Artifacts{Ivy: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{c}}}, nil)
	fetch := func(reference string) (string, error) {
		return fetchedText(t, all, "ivy/file", "ivy", reference)
	}
	for reference, want := range map[string]string{
		"org.example:app:1.0": "manifest 1.0", "org.example:app:1.1": "tgz 1.1", "org.example:app:2.0:more": "jar 2.0",
		"org.example:app:[1.0,2.0[": "tgz 1.1", "org.example:app:1.+": "tgz 1.1", "org.example:plain:latest.release": "plain jar",
		"org.example:app:latest.integration": "maven's app", "org.example:lib:latest.release": "war 1.2", "org.example:lib:1.0": "jar 1.0",
		"org.example:lib:1.3-SNAPSHOT": "jar of a build", "org.example:lib:latest.integration": "jar of a build",
	} {
		if got, err := fetch(reference); err != nil || got != want {
			t.Errorf("%s: %q %v", reference, got, err)
		}
	}
	for reference, want := range map[string]string{
		"a:b": "must have a group, artifact, and version separated by ':'", "org.example::1": "must have a group",
		"..:app:1.0": `".." is no name`, "org.example:a/b:1": "is no name", "org.example:app:9": "Unable to resolve artifact for reference 'org.example:app:9'",
		"org.example:app:[9,)": "Unable to resolve artifact", "org.example:broken:1.0": "cannot be read", "org.example:docs:1.0": "see resolveConfigurations",
	} {
		if _, err := fetch(reference); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

func TestIvy_AChainTakesTheLatestOfAllUnlessTheFirstIsEnough(t *testing.T) {
	c := ivyAccount(ivyServer(t))
	c.Settings.Resolvers.Chain[0].ReturnFirst = true
	all, _ := accounts(t, config.Artifacts{Ivy: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{c}}}, nil)
	if got, err := fetchedText(t, all, "ivy/file", "ivy", "org.example:app:latest.milestone"); err != nil || got != "tgz 1.1" {
		t.Errorf("%q %v", got, err)
	}
}

func TestIvy_AResolverThatFailsIsNoReasonNotToAskTheNext(t *testing.T) {
	c := ivyAccount(ivyServer(t))
	broken := config.IvyIBiblio{Name: "down", Root: "http://127.0.0.1:1/m2", M2Compatible: true}
	chain := &c.Settings.Resolvers.Chain[0]
	chain.IBiblio = append([]config.IvyIBiblio{broken}, chain.IBiblio...)
	all, _ := accounts(t, config.Artifacts{Ivy: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{c}}}, nil)
	for reference, want := range map[string]string{"org.example:lib:1.0": "", "org.example:none:1.0": "connection refused"} {
		_, err := fetchedText(t, all, "ivy/file", "ivy", reference)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", reference, err)
		}
	}
}

func TestIvy_ShowsItselfToTheHostOfTheCredentialsOnly(t *testing.T) {
	c := ivyAccount(ivyServer(t))
	c.Settings.Credentials.Host = "other.example.com"
	all, _ := accounts(t, config.Artifacts{Ivy: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{c}}}, nil)
	_, err := fetchedText(t, all, "ivy/file", "ivy", "org.example:lib:1.0")
	if err == nil || !strings.Contains(err.Error(), "Received 401 status code") {
		t.Error(err)
	}
}

func TestIvy_SettingsThatCannotBeUsedNameTheirKey(t *testing.T) {
	for want, change := range map[string]func(*config.ArtifactAccount){
		"settings.resolvers: at least one ivy resolver is required":      func(c *config.ArtifactAccount) { c.Settings.Resolvers = config.IvyResolvers{} },
		`settings.settings.defaultResolver: there is no resolver "none"`: func(c *config.ArtifactAccount) { c.Settings.Settings.DefaultResolver = "none" },
		"settings.resolvers.chain[0].url[0].artifact: no pattern":        func(c *config.ArtifactAccount) { c.Settings.Resolvers.Chain[0].URL[0].Artifact = nil },
		"settings.resolvers.chain[0].ibiblio[0].root":                    func(c *config.ArtifactAccount) { c.Settings.Resolvers.Chain[0].IBiblio[0].Root = "file:///etc" },
		"settings.resolvers.ssh":                                         func(c *config.ArtifactAccount) { c.Settings.Resolvers.SSH = []config.IvyOther{{Name: "s"}} },
		"settings.resolvers.bintray":                                     func(c *config.ArtifactAccount) { c.Settings.Resolvers.Bintray = []config.IvyOther{{Name: "b"}} },
		"settings.resolvers.chain[0].url[0].ivy[0].pattern: \"http://a[module]\": the host must end with a slash": func(c *config.ArtifactAccount) {
			c.Settings.Resolvers.Chain[0].URL[0].Ivy[0].Pattern = "http://a[module]"
		},
	} {
		c := ivyAccount("http://127.0.0.1:1")
		change(&c)
		all, logged := accounts(t, config.Artifacts{Ivy: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{c}}}, nil)
		if !strings.Contains(strings.ReplaceAll(logged.String(), `\"`, `"`), want) || all.Has("ivy", "ivy/file") {
			t.Errorf("%s: %s", want, logged)
		}
	}
}
