package checkup

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// ImportOptions say where accounts go.
type ImportOptions struct {
	// To is the address of the running service, and Token opens its provider API
	// from another machine; "" for none.
	To, Token       string
	DryRun, Replace bool
	// Timeout is the deadline of one account.
	Timeout time.Duration
}

// Outcome is what became of one account.
type Outcome string

// The outcomes of an import.
const (
	Imported Outcome = "imported"
	Would    Outcome = "would be imported"
	Skipped  Outcome = "skipped"
	Failed   Outcome = "failed"
)

// Imports is what became of one account, and why.
type Imports struct {
	Outcome Outcome
	Why     string
}

// provider is the body of the provider API (accounts.md 3.1).
type provider struct {
	Name          string   `json:"name"`
	Host          string   `json:"host"`
	CAData        string   `json:"caData"`
	BearerToken   string   `json:"bearerToken"`
	TokenProvider string   `json:"tokenProvider"`
	Namespaces    []string `json:"namespaces,omitempty"`
	Permissions   struct {
		Read  []string `json:"read"`
		Write []string `json:"write"`
	} `json:"permissions"`
}

// Import puts an account into the database of a running service by its provider
// API.
func Import(ctx context.Context, a *account.Account, o ImportOptions) Imports {
	body, why := asProvider(a)
	if why != "" {
		return Imports{Skipped, why}
	}
	if o.DryRun {
		return Imports{Would, "to " + o.To}
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	method := http.MethodPost
	if o.Replace {
		method = http.MethodPut
	}
	if err := sendProvider(ctx, method, strings.TrimSuffix(o.To, "/")+"/v1/kubernetes/providers", o.Token, body); err != nil {
		return Imports{Failed, err.Error()}
	}
	return Imports{Imported, ""}
}

// asProvider is the account as a provider, or why it cannot be one.
func asProvider(a *account.Account) (provider, string) {
	out := provider{Name: a.Name, TokenProvider: "static", Namespaces: a.Namespaces}
	c := a.REST
	switch {
	case a.Invalid != nil:
		return out, a.Invalid.Error()
	case c == nil:
		return out, "it has no server"
	case c.ExecProvider != nil, c.AuthProvider != nil:
		return out, "its credentials come from a plugin: use a token provider of Arcade's, or keep the kubeconfig"
	case c.CertData != nil, c.CertFile != "":
		return out, "it has a client certificate, and the database holds tokens only"
	case c.Impersonate.UserName != "", c.Proxy != nil, c.ServerName != "":
		return out, "it has an impersonated user, a proxy or a server name of its own, which the database does not hold"
	case len(a.RequiredGroupMembership) > 0 || otherRoles(a.Permissions):
		return out, "it has requiredGroupMembership, or permissions other than READ and WRITE: everybody could use it"
	case a.DeriveNames || !strings.HasPrefix(a.LabelSelector, spinnaker.LabelManagedBy+" in ("):
		return out, "it watches everything, or by a selector of its own; accounts of the database watch what Spinnaker manages (or, with accounts.watchAll, all do everything)"
	case a.ContextNamespace != "" && a.ContextNamespace != "default":
		return out, "its context has the namespace " + a.ContextNamespace + ", where manifests without one would no longer go"
	case c.BearerTokenFile != "":
		return out, "its token is in a file that is read anew while the service runs"
	case c.BearerToken == "":
		return out, "it has no token"
	case c.Insecure:
		return out, "it does not verify the server's certificate, which accounts of the database always do"
	case len(a.Kinds)+len(a.OmitKinds)+len(a.OmitNamespaces)+len(a.CustomResources)+len(a.RawKinds)+len(a.RawOmitKinds) > 0, a.AllRelationships:
		return out, "it has kinds, omitKinds, omitNamespaces, customResources or rules of raw resources, which the database does not hold"
	}
	ca := c.CAData
	if len(ca) == 0 && c.CAFile != "" {
		var err error
		if ca, err = os.ReadFile(c.CAFile); err != nil {
			return out, err.Error()
		}
	}
	out.Host, out.BearerToken, out.CAData = c.Host, c.BearerToken, base64.StdEncoding.EncodeToString(ca)
	out.Permissions.Read, out.Permissions.Write = a.Permissions["READ"], a.Permissions["WRITE"]
	return out, ""
}

func otherRoles(permissions map[string][]string) bool {
	for authorization := range permissions {
		if authorization != "READ" && authorization != "WRITE" {
			return true
		}
	}
	return false
}

func sendProvider(ctx context.Context, method, address, token string, body provider) error {
	text, err := json.Marshal(body) //nolint:gosec // the token goes to the operator's own service, which asks for it
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := outgoing.Client(nil, 0).Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode < http.StatusMultipleChoices {
		return nil
	}
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 1<<16)) // what there is of it is shown
	var said struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(answer, &said) != nil || said.Error == "" {
		said.Error = string(answer)
	}
	if res.StatusCode == http.StatusConflict {
		said.Error += "; --replace takes its place"
	}
	return fmt.Errorf("%s: %s", res.Status, said.Error)
}
