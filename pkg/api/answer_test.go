package api

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
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

// TestKept_IsTheSameAnswerInLessRoom: what a cache keeps is sent as what was rendered,
// whatever form the caller takes.
func TestKept_IsTheSameAnswerInLessRoom(t *testing.T) {
	for name, body := range map[string]string{"empty": "", "small": "[1]", "large": "[" + strings.Repeat(`{"name":"replicaSet web"},`, 5000) + "1]"} {
		rendered := newAnswer([]byte(body))
		kept := newAnswer([]byte(body)).kept()
		if large := name == "large"; large != (kept.bytes() < rendered.length/5) {
			t.Errorf("%s: %d bytes for %d", name, kept.bytes(), rendered.length)
		}
		if got := string(kept.body()); got != body {
			t.Errorf("%s: the body has %d bytes", name, len(got))
		}
		for _, form := range []string{"", "gzip"} {
			sent := func(a *answer) *httptest.ResponseRecorder {
				w := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.Header.Set("Accept-Encoding", form)
				(&Server{}).send(w, &request{Request: r, route: &route{fresh: constant}}, answered(a))
				return w
			}
			want, got := sent(rendered), sent(kept)
			if got.Code != want.Code || !reflect.DeepEqual(got.Header(), want.Header()) || !bytes.Equal(got.Body.Bytes(), want.Body.Bytes()) {
				t.Errorf("%s as %q: %d bytes, %v; want %d, %v", name, form, got.Body.Len(), got.Header(), want.Body.Len(), want.Header())
			}
			if length := got.Header().Get("Content-Length"); length != strconv.Itoa(got.Body.Len()) {
				t.Errorf("%s as %q: %s is said of %d", name, form, length, got.Body.Len())
			}
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
