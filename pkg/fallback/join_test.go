package fallback

import (
	"net/url"
	"testing"
)

func TestMerges(t *testing.T) {
	for name, c := range map[string]struct {
		merge                    func(q Question, mine, other []byte) ([]byte, error)
		query, mine, other, want string
		refused                  bool
	}{
		"by place": {merge: mergeByPlace, mine: `[{"account":"k8s","namespace":"b","name":"a"}]`, other: `[null,1,"x",[],{"account":"k8t","region":"a"},{"account":"aws","size":1.0,"id":9007199254740993},{"account":"k8s","name":"old"}]`,
			want: `[{"account":"aws","size":1.0,"id":9007199254740993},{"account":"k8s","namespace":"b","name":"a"},{"account":"k8t","region":"a"}]`},
		"by name":                {merge: mergeByName, mine: `[{"account":"k8s","name":"Service b"}]`, other: `[{"account":"aws","name":"service c"},{"account":"aws","name":"service a"}]`, want: `[{"account":"aws","name":"service a"},{"account":"k8s","name":"Service b"},{"account":"aws","name":"service c"}]`},
		"nothing on either side": {merge: mergeByPlace, mine: `[]`, other: `[]`, want: `[]`},
		"tasks stay in order":    {merge: mergeByPlace, mine: `[{"id":"2"},{"id":"1"}]`, other: `[{"id":"0"}]`, want: `[{"id":"2"},{"id":"1"},{"id":"0"}]`},
		"no list":                {merge: mergeByPlace, mine: `[]`, other: `{}`, refused: true},
		"null instead of a list": {merge: mergeByPlace, mine: `[]`, other: `null`, refused: true},
		"unique names":           {merge: mergeUnique, mine: `[{"name":"b","type":"kubernetes"}]`, other: `[{"name":"b","type":"aws"},{"name":"a"}]`, want: `[{"name":"a"},{"name":"b","type":"kubernetes"}]`},
		"maps by account":        {merge: mergeObjects, mine: `{"k8s":{"kubernetes":{}}}`, other: `{"k8s":{"kubernetes":{"old":[]}},"aws":{"aws":{"eu":[]}}}`, want: `{"aws":{"aws":{"eu":[]}},"k8s":{"kubernetes":{}}}`},
		"an application": {merge: mergeObjects,
			mine:  `{"name":"web","attributes":{"cloudProviders":"kubernetes","name":"web"},"clusters":{"k8s":[{"name":"deployment web"}]}}`,
			other: `{"name":"WEB","attributes":{"cloudProviders":"aws","name":"WEB","email":"a@b"},"clusters":{"aws":[{"name":"web-main"}],"k8s":[]}}`,
			want:  `{"attributes":{"cloudProviders":"aws,kubernetes","email":"a@b","name":"web"},"clusters":{"aws":[{"name":"web-main"}],"k8s":[{"name":"deployment web"}]},"name":"web"}`},
		"an application of the other": {merge: mergeObjects, other: `{"name":"web","clusters":{"aws":[],"k8s":[]}}`, want: `{"clusters":{"aws":[]},"name":"web"}`},
		"an application that is gone": {merge: mergeObjects, other: `{"name":"web","clusters":{"k8s":[{"name":"old"}]}}`, want: ``},
		"no application":              {merge: mergeObjects, other: `[]`, refused: true},
		"applications": {merge: mergeApplications,
			mine:  `[{"name":"shop","clusterNames":{"k8s":["a"]}},{"name":"web","clusterNames":{"k8s":["b"]}}]`,
			other: `[null,{"name":"gone","clusterNames":{"k8s":["old"]}},{"name":"api","clusterNames":{"aws":["c"],"k8s":["old"]}},{"name":"Web","clusterNames":{"aws":["d"],"k8s":["old"]}}]`,
			want:  `[{"clusterNames":{"aws":["c"]},"name":"api"},{"clusterNames":{"k8s":["a"]},"name":"shop"},{"clusterNames":{"aws":["d"],"k8s":["b"]},"name":"web"}]`},
		"searches": {merge: mergeSearch,
			mine:  `[{"pageNumber":1,"pageSize":4,"platform":"aws","query":"w","totalMatches":2,"results":[{"account":"k8s","name":"a"},{"type":"applications","name":"web"}]}]`,
			other: `[{"totalMatches":9,"results":[null,{"account":"k8s","name":"old"},{"type":"applications","name":"WEB"},{"account":"aws","name":"b","at":1715677953000},{"account":"aws","name":"c"},{"account":"aws","name":"d"}]}]`,
			want:  `[{"pageNumber":1,"pageSize":4,"platform":"aws","query":"w","totalMatches":8,"results":[{"account":"k8s","name":"a"},{"name":"web","type":"applications"},{"account":"aws","at":1715677953000,"name":"b"},{"account":"aws","name":"c"}]}]`},
		"the page after ours": {merge: mergeSearch,
			mine:  `[{"pageNumber":2,"pageSize":2,"platform":"aws","query":"w","totalMatches":3,"results":[{"account":"k8s","name":"c"}]}]`,
			other: `[{"totalMatches":3,"results":[{"account":"aws","name":"d"},{"account":"aws","name":"e"},{"account":"aws","name":"f"}]}]`,
			want:  `[{"pageNumber":2,"pageSize":2,"platform":"aws","query":"w","totalMatches":6,"results":[{"account":"k8s","name":"c"},{"account":"aws","name":"d"}]}]`},
		"a page of theirs alone": {merge: mergeSearch,
			mine:  `[{"pageNumber":3,"pageSize":2,"platform":"aws","query":"w","totalMatches":3,"results":[]}]`,
			other: `[{"totalMatches":3,"results":[{"account":"aws","name":"d"},{"account":"aws","name":"e"},{"account":"aws","name":"f"}]}]`,
			want:  `[{"pageNumber":3,"pageSize":2,"platform":"aws","query":"w","totalMatches":6,"results":[{"account":"aws","name":"e"},{"account":"aws","name":"f"}]}]`},
		"a search that is narrowed": {merge: mergeSearch, query: "account=aws&region=eu",
			mine:  `[{"pageNumber":1,"pageSize":9,"platform":"aws","query":"w","totalMatches":0,"results":[]}]`,
			other: `[{"totalMatches":3,"results":[{"account":"aws","region":"eu","name":"d"},{"account":"gce","region":"eu"},{"account":"aws","region":"us"}]}]`,
			want:  `[{"pageNumber":1,"pageSize":9,"platform":"aws","query":"w","totalMatches":1,"results":[{"account":"aws","name":"d","region":"eu"}]}]`},
		"projects":                  {merge: mergeProjects, mine: `[{"account":"k8s","applications":[]},{"account":"aws","applications":[]}]`, other: `[{"account":"k8s"},{"account":"aws","applications":[1]}]`, want: `[{"account":"k8s","applications":[]},{"account":"aws","applications":[1]}]`},
		"projects that are changed": {merge: mergeProjects, mine: `[{"account":"k8s"}]`, other: `[]`, want: `[{"account":"k8s"}]`},
		"projects of the other":     {merge: mergeProjects, other: `[{"account":"aws"}]`, want: `[{"account":"aws"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			query, err := url.ParseQuery(c.query)
			if err != nil {
				t.Fatal(err)
			}
			var mine []byte
			if c.mine != "" {
				mine = []byte(c.mine)
			}
			got, err := c.merge(Question{Query: query, IsOurs: func(account string) bool { return account == "k8s" }}, mine, []byte(c.other))
			if (err != nil) != c.refused || string(got) != c.want {
				t.Errorf("%v %s\nwant %s", err, got, c.want)
			}
		})
	}
}

func TestMayHandOver_KeepsAProcessToItself(t *testing.T) {
	for path, want := range map[string]bool{
		"/aws/loadBalancers": true, "/v1/data/static/x": true, "/ENV": false, "/env;x=y": false, "/health/x": false, "/": false, "/a/../env": false,
		"/./env": false, "/v1/kubernetes/providers": false, "/;x/env": false, "/x;y/..;z/env": false,
	} {
		if got := MayHandOver(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestWhoseOperations_AllBelongToOne(t *testing.T) {
	ours := func(name string) bool { return name == "k8s" }
	for name, c := range map[string]struct {
		operations []Operation
		want       Whose
		refused    bool
	}{
		"ours":                   {[]Operation{{Name: "deployManifest", Account: "k8s"}}, Ours, false},
		"theirs":                 {[]Operation{{Name: "deployManifest", Account: "old"}}, Theirs, false},
		"another provider":       {[]Operation{{Name: "resize", Account: "k8s", Provider: "aws"}}, Theirs, false},
		"both":                   {[]Operation{{Account: "k8s"}, {Account: "old"}}, Ours, true},
		"no account, ours":       {[]Operation{{Name: "deployManifest", Known: true}}, Ours, false},
		"no account, unknown":    {[]Operation{{Name: "resizeAsg"}}, Theirs, false},
		"no account, said to be": {[]Operation{{Name: "x", Provider: "kubernetes"}}, Ours, false},
		"nothing":                {nil, Ours, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := WhoseOperations(c.operations, ours); got != c.want || (err != nil) != c.refused {
				t.Errorf("%v %v", got, err)
			}
		})
	}
}
