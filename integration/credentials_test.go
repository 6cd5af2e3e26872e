package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// TestCredentials_KeepTheirContract goes through accounts.md 1 with accounts
// of the provider API, none of whose clusters can be reached.
func TestCredentials_KeepTheirContract(t *testing.T) {
	const short, full = "/credentials", "/credentials?expand=true"
	steps := []struct {
		name, path string
		status     int
		check      func(body string, elements []map[string]any) error
	}{
		{"sorted by name in byte order", short, 200, func(_ string, e []map[string]any) error {
			return equal(names(e), []string{"Open", "dot.ted", "limited", "open", "restricted"})
		}},
		{"short form has these keys and no others", short, 200, func(_ string, e []map[string]any) error {
			return equal(slices.Sorted(maps.Keys(e[3])), []string{"accountType", "challengeDestructiveActions", "cloudProvider", "environment", "name", "primaryAccount", "providerVersion", "requiredGroupMembership", "skin", "type"})
		}},
		{"values of an open account", short, 200, func(_ string, e []map[string]any) error {
			return equal(e[3], map[string]any{
				"name": "open", "environment": "open", "accountType": "open", "cloudProvider": "kubernetes", "type": "kubernetes", "skin": "v2",
				"providerVersion": "v2", "challengeDestructiveActions": false, "primaryAccount": false, "requiredGroupMembership": []any{},
			})
		}},
		{"restricted account has its roles", short, 200, func(_ string, e []map[string]any) error {
			return equal(e[4]["permissions"], map[string]any{"READ": []any{"devs", "ops"}, "WRITE": []any{"ops"}})
		}},
		{"no role list is null", full, 200, func(body string, _ []map[string]any) error {
			if strings.Contains(body, "null") {
				return errors.New(body)
			}
			return nil
		}},
		{"full form adds these keys", full, 200, func(_ string, e []map[string]any) error {
			return equal(slices.Sorted(maps.Keys(e[4])), []string{
				"accountType", "cacheThreads", "challengeDestructiveActions", "cloudProvider", "dockerRegistries", "enabled", "environment", "name", "namespaces",
				"permissions", "primaryAccount", "providerVersion", "requiredGroupMembership", "skin", "spinnakerKindMap", "type",
			})
		}},
		{"configured namespaces", full, 200, func(_ string, e []map[string]any) error {
			return equal(e[2]["namespaces"], []any{"a", "b"})
		}},
		{"namespaces of an unreachable cluster are an empty list", full, 200, func(_ string, e []map[string]any) error {
			return equal(e[3]["namespaces"], []any{})
		}},
		{"kind map", full, 200, func(_ string, e []map[string]any) error {
			kinds, _ := e[3]["spinnakerKindMap"].(map[string]any)
			return equal([]any{kinds["deployment"], kinds["replicaSet"], kinds["service"], kinds["pod"], kinds["configMap"]},
				[]any{"serverGroupManagers", "serverGroups", "loadBalancers", "instances", "configs"})
		}},
		{"enabled, with registries as a list", full, 200, func(_ string, e []map[string]any) error {
			return equal([]any{e[3]["enabled"], e[3]["dockerRegistries"]}, []any{true, []any{}})
		}},
		{"expand=false is the short form", "/credentials?expand=false", 200, lacks("spinnakerKindMap")},
		{"expand=1", "/credentials?expand=1", 200, has("spinnakerKindMap")},
		{"expand=yes", "/credentials?expand=yes", 200, has("spinnakerKindMap")},
		{"expand=On", "/credentials?expand=On", 200, has("spinnakerKindMap")},
		{"one account, in full", "/credentials/open", 200, has("spinnakerKindMap")},
		{"one account with a dot", "/credentials/dot.ted", 200, has(`"name":"dot.ted"`)},
		{"one account, escaped", "/credentials/%6Fpen", 200, has(`"name":"open"`)},
		{"names are case-sensitive", "/credentials/Open", 200, has(`"name":"Open"`)},
		{"unknown account", "/credentials/OPEN", 404, has(`"message":`)},
		{"unknown account, error fields", "/credentials/nobody", 404, func(body string, _ []map[string]any) error {
			var fields map[string]any
			if err := json.Unmarshal([]byte(body), &fields); err != nil {
				return err
			}
			return equal(slices.Sorted(maps.Keys(fields)), []string{"error", "message", "status", "timestamp"})
		}},
	}
	onEach(t, "utf8mb4", func(t *testing.T, b backend) {
		arcade, _ := fakeArcade(t, "x")
		s := startReplica(t, b.options, arcade)
		for _, body := range []string{
			`{"name":"open","host":"https://127.0.0.1:1"}`, `{"name":"Open","host":"https://127.0.0.1:1"}`, `{"name":"dot.ted"}`,
			`{"name":"limited","host":"https://127.0.0.1:1","namespaces":["b","a"]}`,
			`{"name":"restricted","permissions":{"read":["ops","devs","OPS"],"write":["ops"]}}`,
		} {
			if r := s.send(t, "POST", providersPath, body); r.status != http.StatusCreated {
				t.Fatal(r.status, r.body)
			}
		}
		for _, c := range steps {
			begin := time.Now()
			r := s.get(t, c.path)
			var elements []map[string]any
			_ = json.Unmarshal([]byte(r.body), &elements) // one account is no list
			if r.status != c.status {
				t.Errorf("%s: status %d: %s", c.name, r.status, r.body)
			} else if err := c.check(r.body, elements); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if took := time.Since(begin); took > 4*time.Second {
				t.Errorf("%s: took %s, as if it waited for a cluster", c.name, took)
			}
		}
		t.Logf("%s: %d steps of /credentials", b.name, len(steps))
	})
}

func names(elements []map[string]any) []string {
	var out []string
	for _, e := range elements {
		out = append(out, fmt.Sprint(e["name"]))
	}
	return out
}

func equal(got, want any) error {
	if !reflect.DeepEqual(got, want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}

func has(part string) func(string, []map[string]any) error {
	return func(body string, _ []map[string]any) error {
		if !strings.Contains(body, part) {
			return fmt.Errorf("no %s in %s", part, body)
		}
		return nil
	}
}

func lacks(part string) func(string, []map[string]any) error {
	return func(body string, elements []map[string]any) error {
		if has(part)(body, elements) == nil {
			return fmt.Errorf("%s in %s", part, body)
		}
		return nil
	}
}

// TestCredentialRotation_FailsNoRead replaces the account's token every 30
// seconds and makes the one before worthless.
func TestCredentialRotation_FailsNoRead(t *testing.T) {
	t.Parallel() // it mostly waits
	const every, turns = 30 * time.Second, 2
	c := pool.Shared(t, 1)[0]
	namespace(t, "rotation", c)
	apply(t, c, `
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: rotation}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: rotation}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: reader, namespace: rotation}]
---
`+strings.ReplaceAll(replicaSet("web-v003", "twice", "replicaSet web", "", ""), "shop", "rotation"))
	t.Cleanup(func() {
		call(t, c, http.MethodDelete, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/rotation", "application/json", "")
	})
	// A token lives as long as the secret that it is bound to.
	issue := func(turn int) string {
		secret := fmt.Sprint("bound-", turn)
		apply(t, c, "apiVersion: v1\nkind: Secret\nmetadata: {name: "+secret+", namespace: rotation}\n")
		var made struct{ Status struct{ Token string } }
		answer := call(t, c, http.MethodPost, "/api/v1/namespaces/rotation/serviceaccounts/reader/token", "application/json",
			`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"boundObjectRef":{"apiVersion":"v1","kind":"Secret","name":"`+secret+`"}}}`)
		if err := json.Unmarshal(answer, &made); err != nil || made.Status.Token == "" {
			t.Fatal(err, string(answer))
		}
		return made.Status.Token
	}
	arcade, calls, set := rotatingArcade(t, issue(0))
	s := startReplica(t, storeOptions(t, nil), arcade)
	if r := s.send(t, "POST", providersPath, providerFor(t, "rotating", c)); r.status != http.StatusCreated {
		t.Fatal(r.status, r.body)
	}
	eventually(t, 20*time.Second, func() error {
		if a := statusOf(s, "rotating"); a.State != watch.Synced {
			return fmt.Errorf("%+v", a)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(context.Background(), every*turns+every/3)
	defer cancel()
	rotated := make(chan int)
	go func() {
		defer close(rotated)
		for turn := 1; turn <= turns; turn++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
			token := issue(turn)
			set(token)
			call(t, c, http.MethodDelete, fmt.Sprint("/api/v1/namespaces/rotation/secrets/bound-", turn-1), "application/json", "")
			rotated <- turn
		}
	}()
	total, failed, worst := 0, 0, time.Duration(0)
	relist := time.NewTicker(time.Second)
	defer relist.Stop()
	for ctx.Err() == nil {
		select {
		case turn, ok := <-rotated:
			if ok {
				t.Logf("token %d is in use", turn)
			} else {
				rotated = nil
			}
		case <-relist.C:
			// Lists everything, with whatever token there is.
			if err := s.fleet.Refresh(ctx, "rotating", watch.Everything); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		default:
		}
		begin := time.Now()
		r := s.get(t, "/applications/twice/serverGroups")
		total, worst = total+1, max(worst, time.Since(begin))
		if r.status != http.StatusOK || !strings.Contains(r.body, "web-v003") || r.header.Get("X-Clouddriver-Stale-Accounts") != "" {
			failed++
			if failed < 5 {
				t.Errorf("status %d, stale %q: %s", r.status, r.header.Get("X-Clouddriver-Stale-Accounts"), r.body)
			}
		}
	}
	if calls.Load() < turns {
		t.Errorf("Arcade was asked %d times", calls.Load())
	}
	t.Logf("%d reads over %d rotations, %d failed, the slowest took %s; Arcade was asked %d times", total, turns, failed, worst.Round(time.Microsecond), calls.Load())
}

// TestDiscoveryCache_SurvivesRestartsAndCorruption starts the service three
// times on one folder.
func TestDiscoveryCache_SurvivesRestartsAndCorruption(t *testing.T) {
	c := pool.Shared(t, 1)[0]
	cfg := settings()
	cfg.Kubernetes.UseDiskCache, cfg.Kubernetes.DiskCache = true, t.TempDir()
	files := func() []string {
		found, err := filepath.Glob(filepath.Join(cfg.Kubernetes.DiskCache, "*.json"))
		if err != nil || len(found) != 1 {
			t.Fatalf("files %v, %v", found, err)
		}
		return found
	}
	watched := func() int {
		s := start(t, cfg, c).ready(t)
		defer s.stop()
		return len(statusOf(s, c.Name).Kinds)
	}
	first := watched()
	file := files()[0]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	// A kind that the cluster does not have must not stay.
	stale := strings.Replace(string(whole), `"resources":[`, `"resources":[{"Group":"apps","Version":"v0","Plural":"deployments","Kind":"Deployment","Namespaced":true,"Watchable":true},`, 1)
	for name, text := range map[string]string{"whole": string(whole), "cut": string(whole[:len(whole)/3]), "stale": stale} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if again := watched(); again != first {
			t.Errorf("%s: %d kinds are watched, were %d", name, again, first)
		}
		if now, err := os.ReadFile(files()[0]); err != nil || string(now) != string(whole) {
			t.Errorf("%s: the file is not put right: %v", name, err)
		}
	}
}
