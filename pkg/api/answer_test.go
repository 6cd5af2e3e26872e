package api

import (
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

func TestAcceptsGzip_FollowsTheWeights(t *testing.T) {
	for header, want := range map[string]bool{
		"": false, "gzip": true, "br, gzip": true, "gzip;q=0": false, "gzip; q=0.5": true, "*": true, "identity": false, "GZIP": true, "gzip;q=x": false,
	} {
		if got := acceptsGzip(header); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

func TestMatches_ComparesWeakly(t *testing.T) {
	for header, want := range map[string]bool{"": false, `W/"a"`: true, `"a"`: true, `"b", "a"`: true, "*": true, `"b"`: false} {
		if got := matches(header, `W/"a"`); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
}

func TestMarkStale_NamesOnlyWhatWasAskedForAndIsSafeInAHeader(t *testing.T) {
	r := &request{health: &watch.Health{Stale: []string{"a,b", "c"}}, caller: auth.Everybody(nil)}
	for _, c := range []struct {
		accounts []string
		want     string
	}{{nil, "a%2Cb,c"}, {[]string{"c"}, "c"}, {[]string{"d"}, ""}} {
		header := http.Header{}
		r.markStale(header, c.accounts)
		if got := header.Get(StaleHeader); got != c.want {
			t.Errorf("%v: %q, want %q", c.accounts, got, c.want)
		}
	}
}

func TestList_TakesRepeatedAndJoinedValues(t *testing.T) {
	for query, want := range map[string][]string{"ids=a,b&ids=c": {"a", "b", "c"}, "ids=": nil, "ids=a,,b": {"a", "b"}} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		got, present := list(q, "ids")
		if !present || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", query, got, present)
		}
	}
}
