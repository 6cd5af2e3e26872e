package api

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/operation"
)

func TestSamples_SayHowManyWereNotLogged(t *testing.T) {
	var s samples
	now := time.Now()
	logged := 0
	for range 100 {
		if _, log := s.admit(503, now); log {
			logged++
		}
	}
	if _, log := s.admit(500, now); !log || logged != loggedASecond {
		t.Errorf("%d were logged, another status: %t", logged, log)
	}
	if more, log := s.admit(503, now.Add(time.Second)); !log || more != 100-loggedASecond {
		t.Errorf("%t, %d", log, more)
	}
}

func TestShares_NobodyHasThemAll(t *testing.T) {
	s := newShares(8)
	var frees []func()
	for {
		free, ok := s.take("greedy")
		if !ok {
			break
		}
		frees = append(frees, free)
	}
	if len(frees) != 6 {
		t.Errorf("one caller has %d of 8", len(frees))
	}
	if _, ok := s.take("other"); !ok {
		t.Error("another caller gets none")
	}
	for _, free := range frees {
		free()
		free()
	}
	if _, ok := s.take("greedy"); !ok || s.taken != 2 {
		t.Errorf("%d are taken at the end", s.taken)
	}
}

// TestBody_ThatComesSlowlyIsEnded sends a byte now and then.
func TestBody_ThatComesSlowlyIsEnded(t *testing.T) {
	_, handler := bare(t, config.Server{MaxInFlight: 1, MaxStreams: 1, NotSyncedDeadline: time.Second})
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, "POST /kubernetes/ops HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n["); err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for time.Since(begun) < 20*time.Second {
			if _, err := io.WriteString(conn, "x"); err != nil {
				return
			}
			time.Sleep(100 * time.Millisecond) // as slow clients do
		}
	}()
	// It takes no place of those who wait for an answer.
	if res, err := http.Get(server.URL + "/applications"); err != nil || res.StatusCode != http.StatusOK {
		t.Error(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	answer, _ := io.ReadAll(conn) // until it is ended
	if took := time.Since(begun); took > 15*time.Second || !strings.Contains(string(answer), "408") && len(answer) > 0 {
		t.Errorf("after %s: %.200s", took, answer)
	}
	_ = conn.Close()
	<-done
}

// TestAnswer_ThatIsTakenSlowlyTakesNoPlaceOfOthers: more callers than there are places
// ask for a large list and read none of it.
func TestAnswer_ThatIsTakenSlowlyTakesNoPlaceOfOthers(t *testing.T) {
	const places = 4
	ix, handler := bare(t, config.Server{MaxInFlight: places, MaxStreams: 1, NotSyncedDeadline: time.Second})
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(8 << 10)
		return ctx
	}
	server.Start()
	t.Cleanup(server.Close)
	decode, stream := ix.Open(&account.Account{Name: "prod", DeriveNames: true}).Open(cluster.Resource{Group: "apps", Version: "v1", Plural: "deployments", Kind: "Deployment", Namespaced: true, Watchable: true}, &watch.Stream{})
	for n := range 60_000 {
		o, err := decode(fmt.Appendf(nil, `{"metadata":{"name":"app%d-web","namespace":"ns","uid":"u%d","resourceVersion":"%d"}}`, n, n, n+1))
		if err != nil {
			t.Fatal(err)
		}
		stream.Upsert(o)
	}
	for range 3 * places { // of a caller who may have three quarters of the places
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		if _, err := io.WriteString(conn, "GET /applications HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		first := make([]byte, 12)
		if _, err := io.ReadFull(conn, first); err != nil || string(first) != "HTTP/1.1 200" {
			t.Fatalf("%q %v", first, err)
		}
	}
	res, err := http.Get(server.URL + "/applications/app1/clusters")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
}

func TestOperations_AreWeighedBeforeTheyAreDecoded(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		most int64
	}{
		"nothing":    {`[]`, 2},
		"a manifest": {`[{"deployManifest":{"account":"a","manifests":[{"kind":"x"}]}}]`, 15},
		"text":       {`["{},{},{}"]`, 2},
		"objects":    {"[" + strings.Repeat("{},", 999) + "{}]", 2001},
	} {
		n, err := withinLimits([]byte(c.body))
		if err != nil || n > c.most || n < c.most/2 {
			t.Errorf("%s: %d values, %v", name, n, err)
		}
	}
	large := fmt.Sprintf(`{"manifests":[{"kind":"a"},{"data":%q}]}`, strings.Repeat("x", manifestLimit))
	err := manifestsWithinLimit([]operation.Request{{Name: "deployManifest", Body: []byte(large)}})
	if err == nil || !strings.Contains(err.Error(), "deployManifest.manifests[1]") {
		t.Error(err)
	}
	if err := manifestsWithinLimit([]operation.Request{{Name: "deployManifest", Body: []byte(`{"manifests":[{}]}`)}, {Name: "x", Body: []byte(`[`)}}); err != nil {
		t.Error(err)
	}
}

func TestQuery_ListsAreBoundedAndTakenOnce(t *testing.T) {
	_, handler := bare(t, config.Server{MaxInFlight: 10, MaxStreams: 1, NotSyncedDeadline: time.Second})
	for query, want := range map[string]int{strings.Repeat("applications=a&", 1001): 400, "applications=" + strings.Repeat("a,", 1001): 400, strings.Repeat("applications=a&", 900): 200} {
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/serverGroups?"+query, nil))
		if rec.Code != want || want == 400 && !strings.Contains(rec.Body.String(), "applications") {
			t.Errorf("%.30s: %d %.200s", query, rec.Code, rec.Body)
		}
	}
}
