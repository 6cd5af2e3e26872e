package api

import "testing"

func TestMerges(t *testing.T) {
	isOurs := func(account string) bool { return account == "k8s" }
	for name, c := range map[string]struct {
		merge             merge
		mine, other, want string
		refused           bool
	}{
		"by account": {merge: mergeByAccount, mine: `[{"account":"k8s","name":"a"}]`, other: `[null,1,"x",[],{"account":"aws","size":1.0},{"account":"k8s","name":"old"},{"name":"b"}]`,
			want: `[{"account":"k8s","name":"a"},{"account":"aws","size":1.0},{"name":"b"}]`},
		"nothing on either side": {merge: mergeByAccount, mine: `[]`, other: `[]`, want: `[]`},
		"no list":                {merge: mergeByAccount, mine: `[]`, other: `{}`, refused: true},
		"null instead of a list": {merge: mergeByAccount, mine: `[]`, other: `null`, want: `[]`},
		"by name":                {merge: mergeByName, mine: `[{"name":"a","type":"kubernetes"}]`, other: `[{"name":"a","type":"aws"},{"name":"b"}]`, want: `[{"name":"a","type":"kubernetes"},{"name":"b"}]`},
		"maps by account":        {merge: mergeObjects, mine: `{"k8s":{"kubernetes":{}}}`, other: `{"k8s":{"kubernetes":{"old":[]}},"aws":{"aws":{"eu":[]}}}`, want: `{"aws":{"aws":{"eu":[]}},"k8s":{"kubernetes":{}}}`},
		"an application": {merge: mergeObjects,
			mine:  `{"name":"web","attributes":{"cloudProviders":"kubernetes","name":"web"},"clusters":{"k8s":[{"name":"deployment web"}]}}`,
			other: `{"name":"WEB","attributes":{"cloudProviders":"aws","name":"WEB","email":"a@b"},"clusters":{"aws":[{"name":"web-main"}],"k8s":[]}}`,
			want:  `{"attributes":{"cloudProviders":"aws,kubernetes","email":"a@b","name":"web"},"clusters":{"aws":[{"name":"web-main"}],"k8s":[{"name":"deployment web"}]},"name":"web"}`},
		"applications": {merge: mergeApplications,
			mine:  `[{"name":"shop","clusterNames":{"k8s":["a"]}},{"name":"web","clusterNames":{"k8s":["b"]}}]`,
			other: `[{"name":"api","clusterNames":{"aws":["c"]}},{"name":"Web","clusterNames":{"aws":["d"],"k8s":["old"]}}]`,
			want:  `[{"clusterNames":{"aws":["c"]},"name":"api"},{"clusterNames":{"k8s":["a"]},"name":"shop"},{"clusterNames":{"aws":["d"],"k8s":["b"]},"name":"web"}]`},
		"searches": {merge: mergeSearch,
			mine:  `[{"pageNumber":1,"pageSize":3,"platform":"aws","query":"w","totalMatches":2,"results":[{"account":"k8s","name":"a"},{"name":"web"}]}]`,
			other: `[{"totalMatches":9,"results":[{"account":"k8s","name":"old"},{"account":"aws","name":"b","at":1715677953000},{"account":"aws","name":"c"}]}]`,
			want:  `[{"pageNumber":1,"pageSize":3,"platform":"aws","query":"w","totalMatches":4,"results":[{"account":"k8s","name":"a"},{"name":"web"},{"account":"aws","at":1715677953000,"name":"b"}]}]`},
		"projects":                  {merge: mergeProjects, mine: `[{"account":"k8s","applications":[]},{"account":"aws","applications":[]}]`, other: `[{"account":"k8s"},{"account":"aws","applications":[1]}]`, want: `[{"account":"k8s","applications":[]},{"account":"aws","applications":[1]}]`},
		"projects that are changed": {merge: mergeProjects, mine: `[{"account":"k8s"}]`, other: `[]`, want: `[{"account":"k8s"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.merge([]byte(c.mine), []byte(c.other), isOurs)
			if (err != nil) != c.refused || string(got) != c.want {
				t.Errorf("%v %s\nwant %s", err, got, c.want)
			}
		})
	}
}
