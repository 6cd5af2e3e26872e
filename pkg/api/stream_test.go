package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/budget"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/watch"
)

// bare is a server over an empty index, without accounts.
func bare(t testing.TB, limits config.Server) (*index.Index, http.Handler) {
	t.Helper()
	ix, o := bareOptions(t, limits)
	handler, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return ix, handler
}

func bareOptions(t testing.TB, limits config.Server) (*index.Index, Options) {
	t.Helper()
	cache, err := index.NewCache(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	ix := index.New(cache)
	registry := account.NewRegistry()
	fleet := watch.NewFleet(registry, ix, watch.Options{Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { _ = fleet.Run(ctx) }()
	t.Cleanup(cancel)
	return ix, Options{
		Memory: budget.New(64 << 20), Auth: auth.New(auth.Options{}), Admin: &auth.Door{}, Index: ix, Cache: cache, Parts: cache, Accounts: registry, Fleet: fleet, Limits: limits, Metrics: http.NotFoundHandler(),
		Observe: func(string, string, int, time.Duration) {}, Log: slog.New(slog.DiscardHandler),
	}
}

// streamed is a server over an index that the test fills as a watch does.
func streamed(t *testing.T, streams int) (server *httptest.Server, change func(n int), followers func() int) {
	t.Helper()
	ix, handler := bare(t, config.Server{MaxInFlight: 10, MaxStreams: streams, NotSyncedDeadline: time.Second})
	server = httptest.NewUnstartedServer(handler)
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetWriteBuffer(8 << 10) // so that a client that reads nothing is noticed
		return ctx
	}
	server.Start()
	t.Cleanup(server.Close)
	decode, stream := ix.Open(&account.Account{Name: "prod", DeriveNames: true}).Open(cluster.Resource{Group: "apps", Version: "v1", Plural: "replicasets", Kind: "ReplicaSet", Namespaced: true, Watchable: true}, &watch.Stream{})
	feed := ix.Follow("web")
	t.Cleanup(feed.Unfollow)
	return server, func(n int) {
		text := fmt.Sprintf(`{"metadata":{"name":"web-v%03d","namespace":"ns","uid":"u%d","resourceVersion":"%d","annotations":{"moniker.spinnaker.io/application":"web","moniker.spinnaker.io/cluster":"replicaSet web"}},"spec":{"replicas":%d}}`, n%5, n%5, n, n)
		o, err := decode([]byte(text))
		if err != nil {
			t.Error(err)
			return
		}
		stream.Upsert(o)
	}, func() int { return feed.Readers() - 1 }
}

type event struct{ id, name, data string }

// follow reads events until the stream ends or the context is over.
func follow(ctx context.Context, url, lastID string, each func(event)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", res.Status)
	}
	var e event
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		key, value, _ := strings.Cut(lines.Text(), ": ")
		switch key {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				each(e)
			}
			e = event{}
		}
	}
	return lines.Err()
}

// TestStream_LosesNothingForFastClientsAndDropsASlowOne has 500 clients follow
// an application, one of which reads nothing.
func TestStream_LosesNothingForFastClientsAndDropsASlowOne(t *testing.T) {
	const changes = 3_000
	clients := 500
	if raceDetected { // which makes each ten times slower
		clients = 100
	}
	server, change, followers := streamed(t, 2*clients) // one address has three quarters at most
	url := server.URL + "/applications/web/stream"
	// The slow one asks and never reads.
	slow, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	_ = slow.(*net.TCPConn).SetReadBuffer(4 << 10)
	if _, err := io.WriteString(slow, "GET /applications/web/stream HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	var ready, done sync.WaitGroup
	ready.Add(clients)
	progress := make(chan int, clients)
	for range clients {
		done.Go(func() {
			mine, stop := context.WithCancel(ctx)
			defer stop()
			expected := 1
			err := follow(mine, url, "", func(e event) {
				switch e.name {
				case "ready":
					ready.Done()
				case "changed":
					if !strings.Contains(e.data, fmt.Sprintf(`"resourceVersion":"%d"`, expected)) {
						t.Errorf("event %s instead of change %d", e.data, expected)
						stop()
					}
					if expected%500 == 0 {
						progress <- expected
					}
					if expected == changes {
						stop()
					}
					expected++
				default:
					t.Errorf("%+v", e)
					stop()
				}
			})
			if expected != changes+1 {
				t.Errorf("ended at %d: %v", expected, err)
			}
		})
	}
	ready.Wait()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	// As fast as the clients follow, but no faster than they are allowed to lag.
	for n := 1; n <= changes; n++ {
		change(n)
		if n%500 == 0 && n >= 1000 {
			for range clients {
				<-progress
			}
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	done.Wait()
	t.Logf("%d clients, %d changes: heap %d KB before, %d KB after", clients, changes, before.HeapAlloc>>10, after.HeapAlloc>>10)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 64<<20 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	// It has been dropped when the server lets its place go.
	deadline := time.Now().Add(2 * streamWrite)
	for followers() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d clients are still served", followers())
		}
		time.Sleep(10 * time.Millisecond)
	}
	_ = slow.SetReadDeadline(time.Now().Add(time.Minute))
	rest, _ := io.ReadAll(slow) // up to the reset
	if n := strings.Count(string(rest), "event: changed"); n >= changes {
		t.Errorf("the slow client was sent everything, %d events: it was not slow", n)
	}
}

func TestStream_GoesOnFromAnEventID(t *testing.T) {
	server, change, _ := streamed(t, 2)
	url := server.URL + "/applications/WEB/stream"
	read := func(lastID string, until func(events []event) bool) []event {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var events []event
		enough := false
		err := follow(ctx, url, lastID, func(e event) {
			if enough {
				return // what was on its way already
			}
			events = append(events, e)
			if enough = until(events); enough {
				cancel()
			}
		})
		if !enough {
			t.Fatalf("%v %v", events, err)
		}
		return events
	}
	first := read("", func(events []event) bool {
		change(len(events))
		return len(events) == 4
	})
	if first[0].name != "ready" || first[3].name != "changed" {
		t.Fatalf("%v", first)
	}
	var data any
	if err := json.Unmarshal([]byte(first[3].data), &data); err != nil {
		t.Fatal(err)
	}
	if err := description(t).Components.Schemas["Change"].Value.VisitJSON(data); err != nil {
		t.Errorf("not as described: %v", err)
	}
	again := read(first[1].id, func(events []event) bool { return len(events) >= 2 })
	if again[0] != first[2] || again[1] != first[3] {
		t.Errorf("%v after %v", again, first)
	}
	if reset := read("another-1", func([]event) bool { return true }); reset[0].name != "reset" {
		t.Errorf("%v", reset)
	}
	for n := 100; n < 100+5000; n++ {
		change(n)
	}
	if late := read(first[1].id, func([]event) bool { return true }); late[0].name != "dropped" || !strings.Contains(late[0].data, "too slow") {
		t.Errorf("%v", late)
	}
}

func TestStream_BoundsTheClients(t *testing.T) {
	server, _, _ := streamed(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	open := make(chan struct{})
	go func() { _ = follow(ctx, server.URL+"/applications/web/stream", "", func(event) { close(open) }) }()
	<-open
	if err := follow(t.Context(), server.URL+"/applications/web/stream", "", func(event) {}); err == nil || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
}
