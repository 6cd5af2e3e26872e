package checkup

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

func TestImport_LeavesWhatTheDatabaseCannotHold(t *testing.T) {
	token := rest.Config{Host: "https://x", BearerToken: "t"}
	with := func(change func(*account.Account)) *account.Account {
		c := token
		a := &account.Account{Name: "a", REST: &c, LabelSelector: spinnaker.ManagedSelector}
		change(a)
		return a
	}
	for want, a := range map[string]*account.Account{
		"is broken":          with(func(a *account.Account) { a.Invalid = errors.New("is broken") }),
		"no server":          with(func(a *account.Account) { a.REST = nil }),
		"plugin":             with(func(a *account.Account) { a.REST.ExecProvider = &clientcmdapi.ExecConfig{} }),
		"client certificate": with(func(a *account.Account) { a.REST.CertData = []byte("x") }),
		"in a file":          with(func(a *account.Account) { a.REST.BearerTokenFile = "/x" }),
		"no token":           with(func(a *account.Account) { a.REST.BearerToken = "" }),
		"verify":             with(func(a *account.Account) { a.REST.Insecure = true }),
		"omitKinds":          with(func(a *account.Account) { a.Kinds = []string{"pod"} }),
		"impersonated":       with(func(a *account.Account) { a.REST.Impersonate.UserName = "x" }),
		"everybody":          with(func(a *account.Account) { a.RequiredGroupMembership = []string{"x"} }),
		"other than READ":    with(func(a *account.Account) { a.Permissions = map[string][]string{"EXECUTE": {"x"}} }),
		"watches everything": with(func(a *account.Account) { a.LabelSelector = "" }),
		"the namespace here": with(func(a *account.Account) { a.ContextNamespace = "here" }),
		"no such file":       with(func(a *account.Account) { a.REST.CAFile = "/does/not/exist" }),
	} {
		if got := Import(context.Background(), a, ImportOptions{To: "http://127.0.0.1:1"}); got.Outcome != Skipped || !strings.Contains(got.Why, want) {
			t.Errorf("%q: %+v", want, got)
		}
	}
}

func TestImport_SendsTheAccountAndSaysWhatTheServiceSays(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, []byte("authority"), 0o600); err != nil {
		t.Fatal(err)
	}
	var method string
	var sent provider
	status := http.StatusCreated
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method = r.Method + " " + r.URL.Path
		if got := r.Header.Get("Authorization"); got != "Bearer opens" {
			t.Errorf("the token of the provider API: %q", got)
		}
		if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
			t.Error(err)
		}
		w.WriteHeader(status)
		if status != http.StatusCreated {
			_, _ = w.Write([]byte(`{"error":"provider already exists"}`))
		}
	}))
	defer service.Close()
	a := &account.Account{Name: "a", LabelSelector: spinnaker.ManagedSelector, Namespaces: []string{"n"}, Permissions: map[string][]string{"READ": {"r"}, "WRITE": {"w"}}, REST: &rest.Config{Host: "https://x", BearerToken: "t", TLSClientConfig: rest.TLSClientConfig{CAFile: ca}}}
	o := ImportOptions{To: service.URL + "/", Token: "opens", Timeout: 5 * time.Second, DryRun: true}
	if got := Import(context.Background(), a, o); got.Outcome != Would || method != "" {
		t.Errorf("%+v %s", got, method)
	}
	o.DryRun = false
	if got := Import(context.Background(), a, o); got.Outcome != Imported || method != "POST /v1/kubernetes/providers" || sent.CAData != "YXV0aG9yaXR5" || sent.BearerToken != "t" || sent.TokenProvider != "static" || len(sent.Permissions.Write) != 1 {
		t.Errorf("%+v %s %+v", got, method, sent)
	}
	status = http.StatusConflict
	if got := Import(context.Background(), a, o); got.Outcome != Failed || !strings.Contains(got.Why, "already exists") || !strings.Contains(got.Why, "--replace") {
		t.Errorf("%+v", got)
	}
	o.Replace = true
	if Import(context.Background(), a, o); method != "PUT /v1/kubernetes/providers" {
		t.Error(method)
	}
}
