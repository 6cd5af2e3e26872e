package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/operation"
)

// TestDryRun_TellsWhatWouldBecomeOfEachObjectAndChangesNothing asks for every
// action that a plan may have.
func TestDryRun_TellsWhatWouldBecomeOfEachObjectAndChangesNothing(t *testing.T) {
	o := startOps(t, "dry-run")
	secret := "apiVersion: v1\nkind: Secret\nmetadata: {name: dry, namespace: " + o.namespace + ", annotations: {strategy.spinnaker.io/versioned: 'false'}}\nstringData: {password: %s}"
	o.deploy(t, fmt.Sprintf(secret, "hunter2")+"\n---\n"+o.deployment("dry", "v:1")+"\n---\n"+o.serviceManifest("same", "{a: b}"), "").only(t)
	before := func() string {
		return fmt.Sprint(o.live(t, o.core("secrets", "dry")).at("metadata", "resourceVersion"), o.live(t, o.core("services", "same")).at("metadata", "resourceVersion"),
			o.live(t, o.apps("deployments", "dry")).at("metadata", "generation"), o.exists(t, o.core("configmaps", "fresh-v000")), o.exists(t, o.core("services", "made")))
	}
	was := before()
	ask := func(name, fields string) operation.Preview {
		t.Helper()
		var answer struct {
			DryRun     bool
			Operations []operation.Preview
		}
		r := o.send(t, http.MethodPost, "/kubernetes/ops?dryRun=true", o.body(t, name, fields))
		r.into(t, &answer)
		if !answer.DryRun || len(answer.Operations) != 1 || strings.Contains(r.body, "hunter") {
			t.Fatal(r.body)
		}
		return answer.Operations[0]
	}
	actions := func(p operation.Preview) string {
		var out []string
		for _, i := range p.Objects {
			out = append(out, i.Name+": "+i.Action+" "+fmt.Sprint(i.Diff)+i.Error)
		}
		return strings.Join(out, "\n")
	}
	p := ask("deployManifest", o.deployFields(t, fmt.Sprintf(secret, "hunter3")+"\n---\n"+o.configMap("fresh", "{k: v}")+"\n---\n"+o.serviceManifest("same", "{a: b}")+"\n---\n"+o.serviceManifest("made", "{a: b}")+"\n---\n"+o.deployment("dry", "v"),
		"optionalArtifacts: [{type: docker/image, name: v, reference: 'v:2'}]"))
	want := `secret dry: update [{/data/password *** ***}]
configMap fresh-v000: new version []
service same: unchanged []
service made: create []
deployment dry: update [{/spec/template/spec/containers/0/image v:1 v:2}]`
	if got := actions(p); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(p.BoundArtifacts) != 1 || p.BoundArtifacts[0].Reference != "v:2" {
		t.Errorf("%+v", p.BoundArtifacts)
	}
	for _, c := range []struct{ operation, fields, want string }{
		{"scaleManifest", "replicas: 5", "deployment dry: update [{/spec/replicas 2 5}]"},
		{"deleteManifest", "", "deployment dry: delete []"},
		{"patchManifest", "options: {mergeStrategy: merge}\npatchBody: {metadata: {labels: {new: x}}}", "deployment dry: update [{/metadata/labels/new <nil> x}]"},
	} {
		if got := actions(ask(c.operation, o.target("deployment dry")+c.fields)); got != c.want {
			t.Errorf("%s: %s, want %s", c.operation, got, c.want)
		}
	}
	bad := ask("deployManifest", o.deployFields(t, strings.Replace(o.deployment("dry", "v:1"), "matchLabels: {app: dry}", "matchLabels: {app: other}", 1), ""))
	if !strings.Contains(bad.Objects[0].Error, "selector") {
		t.Errorf("%+v", bad)
	}
	if failing := ask("scaleManifest", o.target("deployment nobody")+"replicas: 1"); !strings.Contains(failing.Error, "not found") {
		t.Errorf("%+v", failing)
	}
	if now := before(); now != was {
		t.Errorf("changed: %s, was %s", now, was)
	}
	o.get(t, "/task").is(t, 200, "[]")
}
