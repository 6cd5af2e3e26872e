package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// slowRegistry takes its time for each answer, and counts the requests.
func slowRegistry(t testing.TB, repositories, tags int, each time.Duration) (address string, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	list := func(member, prefix string, n int, w http.ResponseWriter, req *http.Request) {
		from, page := 0, 0
		_, _ = fmt.Sscanf(req.URL.Query().Get("n"), "%d", &page)
		_, _ = fmt.Sscanf(req.URL.Query().Get("last"), prefix+"%d", &from)
		all := []string{}
		for i := from + 1; i <= n && len(all) < page; i++ {
			all = append(all, fmt.Sprintf("%s%06d", prefix, i))
		}
		if len(all) == page && from+page < n {
			w.Header().Set("Link", fmt.Sprintf(`<%s?last=%s&n=%d>; rel="next"`, req.URL.Path, all[page-1], page))
		}
		_ = json.NewEncoder(w).Encode(map[string]any{member: all})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		requests.Add(1)
		select {
		case <-time.After(each):
		case <-req.Context().Done():
		}
		if req.URL.Path == "/v2/_catalog" {
			list("repositories", "r", repositories, w, req)
			return
		}
		list("tags", "t", tags, w, req)
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

// BenchmarkIgorPoll is a poll of Igor over 200 repositories of 1,000 tags: cold, when
// the registry is read for the first time, and warm, from memory.
func BenchmarkIgorPoll(b *testing.B) {
	t := &table{}
	const most = 200 * 1000
	address, requests := slowRegistry(b, 200, 1000, 2*time.Millisecond)
	c := settings()
	c.Registries.Enabled = true
	c.Registries.Accounts = []config.RegistryAccount{{Name: "hub", Address: address, CacheThreads: 8, CacheIntervalSeconds: 3600, PaginateSize: 1000}}
	begin := time.Now()
	s := startWith(b, c, nil)
	count := func() int {
		res, err := http.Get(s.URL + "/dockerRegistry/images/find?account=hub&includeDetails=true")
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		content, err := io.ReadAll(res.Body)
		if err != nil {
			b.Fatal(err)
		}
		return bytes.Count(content, []byte(`"artifact":`))
	}
	eventually(b, time.Minute, func() error {
		if n := count(); n != most {
			return fmt.Errorf("%d tags", n)
		}
		return nil
	})
	cold, read := time.Since(begin), requests.Load()
	t.add("cold: until all tags are shown", round(cold).String(), "", true)
	t.add("cold: requests to the registry", fmt.Sprint(read), "at most 201: a page of the catalog and one of each repository", read <= 201)
	begin = time.Now()
	if n := count(); n != most {
		b.Errorf("%d tags", n)
	}
	t.add("warm: a poll, 200,000 tags with details", round(time.Since(begin)).String(), "at most a tenth of the cold one, or 2s", time.Since(begin) <= max(cold/10, 2*time.Second))
	t.add("warm: requests to the registry", fmt.Sprint(requests.Load()-read), "none", requests.Load() == read)
	fmt.Print(t)
	for b.Loop() {
	}
}
