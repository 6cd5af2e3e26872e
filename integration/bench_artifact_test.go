package integration

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// resident is the memory of this process, in bytes.
func resident(t testing.TB) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if text, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("the kernel does not say it")
	return 0
}

// drained reads an answer to its end, and says how long that took and by how much the
// process grew meanwhile.
func drained(t testing.TB, res *http.Response, size int64) (took time.Duration, grew int64) {
	t.Helper()
	defer func() { _ = res.Body.Close() }()
	before, most := resident(t), int64(0)
	chunk, read, begin := make([]byte, 256<<10), int64(0), time.Now()
	for {
		n, err := res.Body.Read(chunk)
		if read += int64(n); read%(256<<20) < int64(n) {
			most = max(most, resident(t)-before)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if read != size {
		t.Fatalf("%d bytes of %d", read, size)
	}
	return time.Since(begin), most
}

// bareCopy is a proxy that does nothing but io.Copy between two sockets.
func bareCopy(t testing.TB, to string) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = from.Close() }()
				req, err := http.ReadRequest(bufio.NewReader(from))
				if err != nil {
					return
				}
				upstream, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer func() { _ = upstream.Close() }()
				_, _ = fmt.Fprintf(upstream, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", req.URL.Path)
				_, _ = io.Copy(from, upstream) // the reader counts
			}()
		}
	}()
	return listener.Addr().String()
}

// BenchmarkArtifactStream sends an artifact of 5 GB through, beside a bare copy
// between the same two sockets.
func BenchmarkArtifactStream(b *testing.B) {
	const size, runs = int64(5_000_000_000), 3
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyN(w, zeros{}, size) // the reader counts
	}))
	b.Cleanup(web.Close)
	bare := bareCopy(b, strings.TrimPrefix(web.URL, "http://"))
	no := false
	c := settings()
	c.Artifacts.HTTP.Enabled = true
	c.Artifacts.HTTP.Accounts = []config.ArtifactAccount{{Name: "near", URLRestrictions: config.URLRestrictions{RejectVerbatimIPs: &no, RejectLocalhost: &no}}}
	s := startWith(b, c, nil)
	var ours, copied time.Duration
	var grew int64
	for range runs {
		res, err := http.Get("http://" + bare + "/large")
		if err != nil {
			b.Fatal(err)
		}
		took, _ := drained(b, res, size)
		copied += took
		req, err := http.NewRequest(http.MethodPut, s.URL+"/artifacts/fetch", strings.NewReader(fmt.Sprintf(`{"type":"http/file","artifactAccount":"near","reference":%q}`, web.URL+"/large")))
		if err != nil {
			b.Fatal(err)
		}
		if res, err = http.DefaultClient.Do(req); err != nil {
			b.Fatal(err)
		}
		took, more := drained(b, res, size)
		ours, grew = ours+took, max(grew, more)
	}
	ratio := float64(copied) / float64(ours)
	t := &table{}
	t.add("5 GB through: throughput", fmt.Sprintf("%.0f%% of a bare io.Copy (%s and %s for %d times 5 GB)", 100*ratio, round(ours), round(copied), runs), "at least 70%", ratio >= 0.7)
	t.add("5 GB through: resident memory", fmt.Sprintf("%+.1f MiB", float64(grew)/(1<<20)), "at most 32 MiB more", grew <= 32<<20)
	fmt.Print(t)
	for b.Loop() {
	}
}
