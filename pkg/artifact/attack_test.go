package artifact

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// TestAttacks_AreRefusedEachForWhatItIs is the table of what somebody who may start a
// pipeline may try. What needs a repository or another resolver of names is in
// TestPack_*, TestArchive_* and TestRebinding_*.
func TestAttacks_AreRefusedEachForWhatItIs(t *testing.T) {
	bomb := "entries:\n  a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		bomb += fmt.Sprintf("  %c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data", http.StatusFound)
		case "/lies":
			w.Header().Set("Content-Length", "1000000")
			_, _ = io.WriteString(w, "short")
		case "/charts/index.yaml":
			_, _ = io.WriteString(w, bomb)
		}
	}))
	t.Cleanup(server.Close)
	no := false
	all, _ := accounts(t, config.Artifacts{
		MaxBytes: 10 << 20,
		HTTP: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{
			{Name: "web", Username: "u", Password: "hush"},
			{Name: "near", URLRestrictions: config.URLRestrictions{RejectVerbatimIPs: &no, RejectLocalhost: &no}},
		}},
		Helm:    config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "charts", Repository: server.URL + "/charts"}}},
		GitRepo: config.GitArtifacts{ArtifactAccounts: config.ArtifactAccounts{Enabled: true, Accounts: []config.ArtifactAccount{{Name: "git"}}}},
	}, nil)
	file := func(account, reference string) spinnaker.Artifact {
		return spinnaker.Artifact{Type: "http/file", ArtifactAccount: account, Reference: reference}
	}
	git := func(reference, version, location string) spinnaker.Artifact {
		return spinnaker.Artifact{Type: "git/repo", ArtifactAccount: "git", Reference: reference, Version: version, Location: location}
	}
	const repository = "https://github.com/o/r.git"
	for what, c := range map[string]struct {
		a    spinnaker.Artifact
		want string
	}{
		"the metadata address":   {file("web", "http://169.254.169.254/latest"), "Verbatim IP addresses are not allowed"},
		"in decimal":             {file("web", "http://2852039166/latest"), "Verbatim IP addresses are not allowed"},
		"in octal":               {file("web", "http://0251.0376.0251.0376/latest"), "Verbatim IP addresses are not allowed"},
		"in hexadecimal":         {file("web", "http://0xa9fea9fe/latest"), "Verbatim IP addresses are not allowed"},
		"mapped into IPv6":       {file("web", "http://[::ffff:169.254.169.254]/latest"), "Verbatim IP addresses are not allowed"},
		"an underscore host":     {file("web", "http://meta_data.internal/latest"), "Host not allowed: meta_data.internal"},
		"through a redirect":     {file("near", server.URL+"/redirect"), "Host not allowed: 169.254.169.254"},
		"a file":                 {file("web", "file:///etc/passwd"), "unsupported URI scheme"},
		"gopher":                 {file("web", "gopher://example.com/x"), "unsupported URI scheme"},
		"a length that lies":     {file("near", server.URL+"/lies"), "unexpected EOF"},
		"a file for git":         {git("file:///etc", "", ""), "file:///etc"},
		"a command for git":      {git("https://github.com/o/r.git;id", "", ""), "is no valid git reference"},
		"an option as a version": {git(repository, "--upload-pack=id", ""), "version"},
		"out of the tree":        {git(repository, "master", "../../etc"), "sub path"},
		"out of the references":  {git(repository, "../../config", ""), "version"},
		"a YAML bomb":            {spinnaker.Artifact{Type: helmChart, ArtifactAccount: "charts", Name: "k", Version: "1"}, "charts"},
	} {
		got, err := all.Fetch(t.Context(), c.a)
		if err == nil {
			_, err = io.Copy(io.Discard, got)
			_ = got.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: %v", what, err)
			continue
		}
		t.Logf("%-24s %v", what, err)
	}
}
