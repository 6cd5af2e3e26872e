package spinnaker

import (
	"encoding/json"
	"slices"
	"testing"
)

func TestMonikerOf_FollowsFriggaAndTheAnnotations(t *testing.T) {
	ann := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	for _, c := range []struct {
		about, kind, name string
		annotations       map[string]string
		derive            bool
		want              string
	}{
		{"deployment without annotations", "deployment", "web-frontend", nil, true, `{"app":"web","cluster":"web-frontend"}`},
		{"revision of a replicaSet", "replicaSet", "web-frontend-5d9c7bf6f8", ann(AnnotationRevision, "4"), true, `{"app":"web","cluster":"web-frontend-5d9c7bf6f8","sequence":4}`},
		{"revision of another kind", "deployment", "web", ann(AnnotationRevision, "4"), true, `{"app":"web","cluster":"web"}`},
		{"version in the name", "replicaSet", "web-v003", nil, true, `{"app":"web","cluster":"web","sequence":3}`},
		{"version zero", "replicaSet", "web-v000", nil, true, `{"app":"web","cluster":"web","sequence":0}`},
		{"two digits are no version", "replicaSet", "web-v03", nil, true, `{"app":"web","cluster":"web-v03"}`},
		{"seven digits are no version", "replicaSet", "web-v0000003", nil, true, `{"app":"web","cluster":"web-v0000003"}`},
		{"system role", "clusterRole", "system:coredns-v003", nil, true, `{"app":"system","cluster":"system:coredns","sequence":3}`},
		{"another colon", "clusterRole", "a:b-v003", nil, true, `{}`},
		{"not derived", "deployment", "web-frontend", nil, false, `{}`},
		{"annotations win", "deployment", "x-y-v001", ann(AnnotationApplication, "web", AnnotationCluster, "deployment web", AnnotationStack, "s", AnnotationDetail, "d", AnnotationSequence, "7"), true, `{"app":"web","cluster":"deployment web","detail":"d","stack":"s","sequence":7}`},
		{"quoted by the operator", "deployment", "x", ann(AnnotationApplication, `"web"`), false, `{"app":"web"}`},
		{"sequence before revision", "replicaSet", "x", ann(AnnotationSequence, "2", AnnotationRevision, "9"), true, `{"app":"x","cluster":"x","sequence":2}`},
		{"malformed sequence is absent, not the default", "replicaSet", "web-v003", ann(AnnotationSequence, "abc"), true, `{"app":"web","cluster":"web"}`},
	} {
		t.Run(c.about, func(t *testing.T) {
			got, err := json.Marshal(MonikerOf(c.kind, c.name, c.annotations, c.derive))
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
}

func TestKindText_SpellsNativeKindsByTheTableAndOthersWithTheirGroup(t *testing.T) {
	for _, c := range []struct{ group, kind, want string }{
		{"apps", "ReplicaSet", "replicaSet"}, {"extensions", "Ingress", "ingress"},
		{"autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscaler"},
		{"stable.example.com", "CronTab", "CronTab.stable.example.com"}, {"batch", "Unheard", "Unheard"},
	} {
		if got := KindText(c.group, c.kind); got != c.want {
			t.Errorf("KindText(%q, %q) = %q, want %q", c.group, c.kind, got, c.want)
		}
	}
}

func TestSplitFullName_ResolvesAliasesAndRefusesOtherShapes(t *testing.T) {
	for in, want := range map[string]string{
		"RS web": "replicaSet web", "replicaset.apps web": "replicaSet web", "Service web.v1": "service web.v1",
		"CronTab.example.com x": "CronTab.example.com x", "web": "", "a b c": "", " web": "", "rs ": "", "": "",
	} {
		kind, name, ok := SplitFullName(in)
		got := ""
		if ok {
			got = FullName(kind, name)
		}
		if got != want {
			t.Errorf("SplitFullName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestExplicitLoadBalancers_SkipsMalformedEntries(t *testing.T) {
	for in, want := range map[string][]string{
		`["Service web","svc canary"]`: {"service web", "service canary"},
		`["service web","broken", 3]`:  {"service web"},
		`not json`:                     nil,
		`{}`:                           nil,
	} {
		if got := ExplicitLoadBalancers(map[string]string{AnnotationLoadBalancers: in}); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestKindMap_HasTheThirtyTwoNativeKinds(t *testing.T) {
	if m := KindMap(); len(m) != 32 || m["replicaSet"] != ServerGroups || m["secret"] != Configs {
		t.Errorf("got %d kinds: %v", len(m), m)
	}
}

func FuzzMonikerOf(f *testing.F) {
	f.Add("web-v003", "abc")
	f.Add("system:x", `"`)
	f.Fuzz(func(t *testing.T, name, value string) {
		for _, derive := range []bool{false, true} {
			if _, err := json.Marshal(MonikerOf("replicaSet", name, map[string]string{AnnotationApplication: value, AnnotationSequence: value}, derive)); err != nil {
				t.Error(err)
			}
		}
		ExplicitLoadBalancers(map[string]string{AnnotationLoadBalancers: value})
	})
}
