package fallback

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/budget"
)

func newTest(t *testing.T, base string, inFlight int) *Fallback {
	t.Helper()
	f, err := New(base, Options{Timeout: 5 * time.Second, ListTimeout: 5 * time.Second, MaxInFlight: inFlight, Memory: budget.New(256 << 20), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestBreaker_OnlyTheProbeEndsTheRest has a failure while another question is
// under way: its late success says nothing about now, and other lists go on.
func TestBreaker_OnlyTheProbeEndsTheRest(t *testing.T) {
	f := newTest(t, "http://127.0.0.1:1", 1)
	early, err := f.begin("a")
	if err != nil {
		t.Fatal(err)
	}
	failing, _ := f.begin("a")
	f.end("a", failing, 0, errors.New("refused"))
	f.end("a", early, http.StatusOK, nil)
	if _, err := f.begin("a"); !errors.Is(err, ErrResting) || !f.Down() {
		t.Errorf("%v, down: %v", err, f.Down())
	}
	if _, err := f.begin("b"); err != nil {
		t.Errorf("another list rests, too: %v", err)
	}
	f.mu.Lock()
	f.routes["a"].rested = time.Now().Add(-time.Second)
	f.mu.Unlock()
	probe, err := f.begin("a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.begin("a"); !errors.Is(err, ErrResting) {
		t.Errorf("two ask at once after a rest: %v", err)
	}
	f.end("a", probe, http.StatusOK, nil)
	if again, err := f.begin("a"); err != nil || again != probe || f.Down() {
		t.Errorf("%d %v, down: %v", again, err, f.Down())
	}
	f.end("a", probe, http.StatusBadGateway, nil)
	if _, err := f.begin("a"); err != nil || !f.Down() {
		t.Errorf("a failure that is answered at once: %v, down: %v", err, f.Down())
	}
}

func TestList_BoundsTheQuestionsAndOutlivesItsCaller(t *testing.T) {
	hold, asked := make(chan struct{}), make(chan http.Header, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.Header
		<-hold
	}))
	t.Cleanup(server.Close)
	f := newTest(t, server.URL, 1)
	r := httptest.NewRequest(http.MethodGet, "/credentials?expand=true", nil)
	for name, value := range map[string]string{"Connection": "X-Hop", "X-Hop": "1", "If-None-Match": "x", "Range": "bytes=0-1", "X-Spinnaker-User": "ann"} {
		r.Header.Set(name, value)
	}
	first := make(chan error, 1)
	go func() {
		a, err := f.List(r, "a")
		if err == nil && a.Status != http.StatusOK {
			err = errors.New("another status")
		}
		first <- err
	}()
	header := <-asked
	if header.Get("X-Hop")+header.Get("If-None-Match")+header.Get("Range") != "" || header.Get("X-Spinnaker-User") != "ann" || header.Get("Via") != via {
		t.Errorf("%v", header)
	}
	if _, err := f.List(r, "b"); !errors.Is(err, ErrBusy) {
		t.Errorf("%v with one question under way", err)
	}
	close(hold)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if f.Down() || r.Header.Get("Via") != "" {
		t.Errorf("down: %v, the caller's headers: %v", f.Down(), r.Header)
	}
}

// TestHandOver_IsNoTunnel: a connection that becomes something else would be one
// past everything that is decided here.
func TestHandOver_IsNoTunnel(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
			w.WriteHeader(http.StatusSwitchingProtocols)
			return
		}
		_, _ = w.Write([]byte(r.Method))
	}))
	t.Cleanup(other.Close)
	f := newTest(t, other.URL, 5)
	over := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.HandOver(w, r, func(err error) { http.Error(w, err.Error(), http.StatusTeapot) })
	}))
	t.Cleanup(over.Close)
	for _, c := range []struct {
		method, upgrade string
		status          int
	}{{"GET", "", 200}, {"GET", "websocket", 200}, {"POST", "x", 200}, {"TRACE", "", 418}, {"OPTIONS", "", 418}, {"BREW", "", 418}} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, over.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.upgrade != "" {
			req.Header.Set("Connection", "Upgrade")
			req.Header.Set("Upgrade", c.upgrade)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != c.status {
			t.Errorf("%+v: %d", c, res.StatusCode)
		}
	}
}

// TestMayHandOver_LooksBehindEveryEncoding: actuators are never handed over, however
// they are spelled.
func TestMayHandOver_LooksBehindEveryEncoding(t *testing.T) {
	for path, want := range map[string]bool{
		"/env": false, "/ENV": false, "/env.json": false, "/env%20": false, "/env;x=1": false, "//env": false, "/env%2f": false, "/%65nv": false, "/%2565nv": false, "/actuator.xml/env": false, "/env\t": false, "/a/../env": false,
		"/aws/ops": true, "/subnets/aws": true, "/v1/data/static/x": true, "/v1/kubernetes/providers": false, "/v1/Kubernetes%20/providers": false,
	} {
		if got := MayHandOver(path); got != want {
			t.Errorf("%q: %t", path, got)
		}
	}
}
