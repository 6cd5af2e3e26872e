package config

import (
	"strings"
	"testing"
)

// TestArtifacts_AreBoundAsSpringBindsThem reads the block of artifacts.md 8.3, in
// kebab-case and camelCase, with secrets by reference.
func TestArtifacts_AreBoundAsSpringBindsThem(t *testing.T) {
	c, err := load(t, `
artifacts:
  github:
    enabled: true
    accounts:
    - {name: gh, tokenFile: /secrets/gh-token, useContentAPI: true, url-restrictions: {allowedDomains: [example.com], rejectLocalhost: false}}
    - name: app
      githubApp: {appId: 7, appPrivateKeyPath: /key, appInstallationId: 42, allowedOrganizations: [o]}
  git-repo:
    enabled: true
    git-executable: git
    clone-retention-minutes: 60
    valid-git-url-regex: "https://.*"
    accounts:
    - {name: basic, username: u, password: "encrypted:noop!v:pa"}
    - {name: ssh, ssh-private-key-file-path: /secrets/id, sshTrustUnknownHosts: true, allowedHosts: [github.com]}
  helm:
    enabled: true
    accounts: [{name: stable, repository: "https://${CHARTS:charts.example.org}"}]
  s3: {enabled: true, accounts: [{name: minio, apiEndpoint: "http://minio.example.org:9000", apiRegion: us-east-1, awsAccessKeyId: a, awsSecretAccessKey: b}]}
  http: {enabled: true, accounts: []}
  gcs: {accounts: [{name: gcs, jsonPath: /secrets/gcs.json}]}
jenkins: {enabled: true, masters: [{name: ci, address: "http://jenkins"}]}
`, map[string]string{"ARTIFACTS_CREDENTIALS_CONFIG_DIR": "/opt/x", "ARTIFACTS_GITLAB_ENABLED": "true"})
	if err != nil {
		t.Fatal(err)
	}
	a := c.Artifacts
	gh, app, basic, ssh := a.GitHub.Accounts[0], a.GitHub.Accounts[1].GithubApp, a.GitRepo.Accounts[0], a.GitRepo.Accounts[1]
	for what, ok := range map[string]bool{
		"github":       a.GitHub.Enabled && gh.UseContentAPI && gh.TokenFile == "/secrets/gh-token",
		"restrictions": gh.URLRestrictions.AllowedDomains[0] == "example.com" && !*gh.URLRestrictions.RejectLocalhost && gh.URLRestrictions.RejectLinkLocal == nil && gh.URLRestrictions.ExcludedDomains == nil,
		"app":          app.AppID == "7" && app.InstallationID == "42" && app.AllowedOrganizations[0] == "o",
		"git":          a.GitRepo.Enabled && a.GitRepo.ValidGitURLRegex == "https://.*" && basic.Username == "u",
		"a secret":     basic.Password == "pa",
		"ssh":          ssh.SSHPrivateKeyFilePath == "/secrets/id" && ssh.SSHTrustUnknownHosts && ssh.AllowedHosts[0] == "github.com",
		"helm":         a.Helm.Accounts[0].Repository == "https://charts.example.org",
		"s3":           a.S3.Accounts[0].AWSAccessKeyID == "a" && a.S3.Accounts[0].APIRegion == "us-east-1",
		"http":         a.HTTP.Enabled && len(a.HTTP.Accounts) == 0,
		"gcs":          !a.GCS.Enabled && a.GCS.Accounts[0].JSONPath == "/secrets/gcs.json",
		"jenkins":      c.Jenkins.Enabled && c.Jenkins.Masters[0].Address == "http://jenkins",
		"environment":  a.GitLab.Enabled && a.CredentialsDir == "/opt/x",
	} {
		if !ok {
			t.Errorf("%s: %+v", what, c.Artifacts)
		}
	}
	if _, err := load(t, "artifacts: {maxBytes: 0}", nil); err == nil || !strings.Contains(err.Error(), "artifacts.maxBytes") {
		t.Error(err)
	}
}
