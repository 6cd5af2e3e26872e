package config

import (
	"reflect"
	"testing"
)

// TestLists_MayBeWrittenKeyByKey is artifacts.md 8.3: as properties, and as variables
// of the environment.
func TestLists_MayBeWrittenKeyByKey(t *testing.T) {
	want := []ArtifactAccount{{Name: "a", Repository: "https://a"}, {Name: "b", Repository: "https://b", AllowedHosts: []string{"x", "y"}, GithubApp: &GitHubApp{AppID: "7"}}}
	for what, c := range map[string]struct {
		file string
		env  map[string]string
	}{
		"properties": {"artifacts.helm.accounts[0].name: a\nartifacts.helm.accounts[0].repository: https://a\nartifacts.helm.accounts[1].name: b\nartifacts:\n  helm.accounts[1].repository: https://b\n  helm.accounts[1].allowed-hosts[0]: x\n  helm.accounts[1].allowedHosts[1]: y\n  helm.accounts[1].githubApp.appId: '7'\n", nil},
		"the environment": {"", map[string]string{
			"ARTIFACTS_HELM_ACCOUNTS_0_NAME": "a", "ARTIFACTS_HELM_ACCOUNTS_0_REPOSITORY": "https://a",
			"ARTIFACTS_HELM_ACCOUNTS_1_NAME": "b", "ARTIFACTS_HELM_ACCOUNTS_1_REPOSITORY": "https://b", "ARTIFACTS_HELM_ACCOUNTS_1_ALLOWEDHOSTS": "x,y", "ARTIFACTS_HELM_ACCOUNTS_1_GITHUBAPP_APPID": "7",
			"ARTIFACTS_HELM_ACCOUNTS_3_NAME": "after a gap",
		}},
		"the environment, over a file": {"artifacts: {helm: {accounts: [{name: other}]}}", map[string]string{
			"ARTIFACTS_HELM_ACCOUNTS_0_NAME": "a", "ARTIFACTS_HELM_ACCOUNTS_0_REPOSITORY": "https://a",
			"ARTIFACTS_HELM_ACCOUNTS_1_NAME": "b", "ARTIFACTS_HELM_ACCOUNTS_1_REPOSITORY": "https://b", "ARTIFACTS_HELM_ACCOUNTS_1_ALLOWEDHOSTS_0": "x", "ARTIFACTS_HELM_ACCOUNTS_1_ALLOWEDHOSTS_1": "y", "ARTIFACTS_HELM_ACCOUNTS_1_GITHUBAPP_APPID": "7",
		}},
	} {
		loaded, err := load(t, c.file, c.env)
		if err != nil {
			t.Fatal(what, err)
		}
		if got := loaded.Artifacts.Helm.Accounts; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v", what, got)
		}
	}
	loaded, err := load(t, "", map[string]string{"DOCKERREGISTRY_ACCOUNTS_0_NAME": "hub", "DOCKERREGISTRY_ACCOUNTS_0_PERMISSIONS_READ": "a,b", "DOCKERREGISTRY_ACCOUNTS_0_TRACKDIGESTS": "true", "DOCKERREGISTRY_ACCOUNTS_0_CACHETHREADS": "3"})
	if err != nil {
		t.Fatal(err)
	}
	registry := []RegistryAccount{{Name: "hub", Permissions: map[string][]string{"READ": {"a", "b"}}, TrackDigests: true, CacheThreads: 3}}
	if !reflect.DeepEqual(loaded.Registries.Accounts, registry) {
		t.Errorf("%+v", loaded.Registries.Accounts)
	}
}
