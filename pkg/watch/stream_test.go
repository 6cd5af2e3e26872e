package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// scripted is a cluster that plays a part in each request.
type scripted struct {
	mu       sync.Mutex
	requests []string // "list", "peek", "stream" and "watch", with the version
	answer   func(n int, what string) (io.ReadCloser, error)
}

func (s *scripted) Open(ctx context.Context, _ string, q url.Values, watching bool) (io.ReadCloser, error) {
	what := "watch " + q.Get("resourceVersion")
	switch {
	case q.Get("sendInitialEvents") != "":
		what = "stream"
	case !watching && q.Get("limit") == "1":
		what = "peek"
	case !watching:
		what = "list"
	}
	s.mu.Lock()
	s.requests = append(s.requests, what)
	n := len(s.requests)
	s.mu.Unlock()
	body, err := s.answer(n, what)
	if err != nil {
		return nil, err
	}
	return &bounded{body, ctx}, nil
}

func (s *scripted) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if strings.HasPrefix(r, what) {
			n++
		}
	}
	return n
}

// bounded is a body that ends with its request.
type bounded struct {
	io.ReadCloser
	ctx context.Context
}

func (b *bounded) Read(p []byte) (int, error) {
	type result struct {
		n   int
		err error
	}
	read := make(chan result, 1)
	go func() {
		n, err := b.ReadCloser.Read(p)
		read <- result{n, err}
	}()
	select {
	case r := <-read:
		return r.n, r.err
	case <-b.ctx.Done():
		_ = b.Close()
		<-read
		return 0, b.ctx.Err()
	}
}

// open is a watch that has begun with lines and goes on by say.
type openWatch struct {
	*io.PipeReader
	w *io.PipeWriter
}

func newWatch(lines ...string) *openWatch {
	r, w := io.Pipe()
	o := &openWatch{r, w}
	go func() {
		for _, line := range lines {
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				return
			}
		}
	}()
	return o
}

func (o *openWatch) end() { _ = o.w.Close() }

func mark(version string, ends bool) string {
	annotations := ""
	if ends {
		annotations = `,"annotations":{"k8s.io/initial-events-end":"true"}`
	}
	return fmt.Sprintf(`{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":%q%s}}}`, version, annotations)
}

func added(version string) string {
	return fmt.Sprintf(`{"type":"ADDED","object":{"metadata":{"name":"o%s","resourceVersion":%q}}}`, version, version)
}

func listOf(version string) io.ReadCloser {
	return io.NopCloser(strings.NewReader(fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"items":[]}`, version)))
}

// received is a Receiver that remembers what it got.
type received struct {
	mu    sync.Mutex
	calls []string
}

func (r *received) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, fmt.Sprintf(format, args...))
}

func (r *received) Replace(objects []Object, version string, reset bool) {
	r.note("replace %d as of %s, reset %v", len(objects), version, reset)
}
func (r *received) Upsert(o Object)       { r.note("upsert %s", o.ResourceVersion()) }
func (r *received) Delete(o Object)       { r.note("delete %s", o.ResourceVersion()) }
func (r *received) Passed(version string) { r.note("passed %s", version) }

func (r *received) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.calls, "; ")
}

// reflected runs a reflector on a script.
func reflected(t *testing.T, answer func(n int, what string) (io.ReadCloser, error)) (*Reflector, *scripted, *received) {
	t.Helper()
	source, got := &scripted{answer: answer}, &received{}
	r := &Reflector{
		source: source, path: "/x", decode: decodeVersion, receiver: got, stream: newStream("thing", "", time.Hour, nil),
		shared: shared{lists: NewSlots(1)}, slotOf: "a", log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1),
		timing:      Timing{RequestTimeout: 10 * time.Second, StuckAfter: 3 * time.Minute, MostBytes: 1 << 20},
		sameCluster: func(context.Context) error { return nil }, unserved: func() {},
	}
	r.wentBack = func(begun bool) {
		if !begun {
			r.forget()
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return r, source, got
}

func TestStream_IsLiveOnlyWhileAWatchIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first *openWatch
		hold := make(chan struct{})
		r, _, got := reflected(t, func(n int, _ string) (io.ReadCloser, error) {
			if n == 1 {
				<-hold
				first = newWatch(added("3"), mark("5", true))
				return first, nil
			}
			return nil, &cluster.Error{Reason: cluster.Unavailable, Err: errors.New("refused")}
		})
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Listing || r.stream.Live() {
			t.Errorf("before the answer: %+v", f)
		}
		close(hold)
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Live || f.Complete != "5" || !r.stream.Live() {
			t.Errorf("after the list: %+v", f)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		_, _ = io.WriteString(first.w, added("7")+"\n"+mark("9", false)+"\n")
		synctest.Wait()
		if f := r.stream.Freshness(); f.Complete != "9" || time.Since(f.Heard) != 0 {
			t.Errorf("after a bookmark: %+v", f)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		first.end()
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Broken || f.Err == nil || r.stream.Live() {
			t.Errorf("after the end: %+v", f)
		}
		if want := "replace 1 as of 5, reset false; upsert 7; passed 9"; got.String() != want {
			t.Errorf("got %s", got)
		}
	})
}

func TestStream_IsNotLiveWhenItsConnectionIsSilent(t *testing.T) {
	heard := time.Now()
	s := newStream("thing", "", 10*time.Second, nil)
	body := line{func() (time.Time, bool) { return heard, true }}
	s.live(body)
	if !s.Live() {
		t.Error("a connection that was heard of is not live")
	}
	heard = time.Now().Add(-11 * time.Second)
	if s.Live() || s.Freshness().Phase != Live {
		t.Error("a connection that nobody has heard of proves something")
	}
	s.live(line{func() (time.Time, bool) { return time.Time{}, false }})
	if !s.Live() {
		t.Error("the silence of a connection that nobody pings means something")
	}
}

type line struct{ heard func() (time.Time, bool) }

func (l line) Heard() (time.Time, bool) { return l.heard() }

func TestReflector_AWatchThatEndsAtOnceBacksOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, source, _ := reflected(t, func(_ int, what string) (io.ReadCloser, error) {
			switch what {
			case "stream":
				w := newWatch(mark("5", true))
				time.AfterFunc(time.Minute, w.end)
				return w, nil
			case "peek":
				return listOf("6"), nil
			}
			return io.NopCloser(strings.NewReader("")), nil
		})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if n := source.count("watch"); n < 10 || n > 50 || source.count("stream") != 1 {
			t.Errorf("%d watches in 10 minutes", n)
		}
	})
}

func TestReflector_AWatchThatEndsAsAgreedIsGoneOnWithUnnoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended, over := false, make(chan struct{})
		defer close(over)
		r, source, got := reflected(t, func(_ int, what string) (io.ReadCloser, error) {
			w := newWatch()
			if what == "stream" {
				w = newWatch(mark("5", true))
			}
			beat := time.NewTicker(time.Minute)
			go func() {
				defer beat.Stop()
				for {
					select {
					case <-beat.C:
					case <-over:
						return
					}
					if _, err := io.WriteString(w.w, mark("6", false)+"\n"); err != nil {
						return
					}
				}
			}()
			time.AfterFunc(watchLeast*2, w.end) // the longest that is asked for
			return w, nil
		})
		for range 25 * 60 * 10 {
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			ended = ended || r.stream.Freshness().Phase == Broken
		}
		if ended || source.count("watch 6") == 0 || source.count("peek") != 0 || strings.Count(got.String(), "replace") != 1 {
			t.Errorf("broken %v; %v; %s", ended, source.requests, got)
		}
	})
}

func TestReflector_SilenceListsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, source, _ := reflected(t, func(int, string) (io.ReadCloser, error) { return newWatch(mark("5", true)), nil })
		time.Sleep(3*time.Minute + time.Second)
		synctest.Wait()
		if source.count("stream") != 2 || source.count("watch") != 0 {
			t.Errorf("%v", source.requests)
		}
		if f := r.stream.Freshness(); f.Phase != Live {
			t.Errorf("%+v", f)
		}
	})
}

func TestReflector_HeadersAndThenNothingIsSoonGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := reflected(t, func(int, string) (io.ReadCloser, error) { return newWatch(), nil })
		time.Sleep(9 * time.Second)
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Listing {
			t.Errorf("%+v", f)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Broken || !errors.Is(f.Err, errStuck) {
			t.Errorf("%+v", f)
		}
	})
}

func TestReflector_AListWithoutEndIsBrokenOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, got := reflected(t, func(int, string) (io.ReadCloser, error) {
			lines := make([]string, 100_000)
			for i := range lines {
				lines[i] = added("3")
			}
			return newWatch(lines...), nil
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Broken || !strings.Contains(f.Err.Error(), "maxListBytes") || got.String() != "" {
			t.Errorf("%+v %s", f, got)
		}
	})
}

func TestReflector_HonoursRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, source, _ := reflected(t, func(int, string) (io.ReadCloser, error) {
			return nil, &cluster.Error{Reason: cluster.Throttled, RetryAfter: 120, Err: errors.New("too many")}
		})
		for range 10 {
			time.Sleep(11 * time.Second)
			synctest.Wait()
			r.nudge() // somebody who waits does not change what the server has said
		}
		if source.count("") != 1 {
			t.Errorf("%v in 110 s", source.requests)
		}
	})
}

func TestReflector_WhatIsForbiddenIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		allowed := time.Now().Add(20 * time.Second)
		r, _, got := reflected(t, func(_ int, what string) (io.ReadCloser, error) {
			switch {
			case time.Now().Before(allowed):
				return nil, &cluster.Error{Reason: cluster.Forbidden, Err: errors.New("no")}
			case what == "stream":
				return newWatch(mark("5", true)), nil
			}
			return newWatch(), nil
		})
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Ended {
			t.Errorf("%+v", f)
		}
		time.Sleep(45 * time.Second)
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Live || got.String() != "replace 0 as of 5, reset false" {
			t.Errorf("%+v %s", f, got)
		}
	})
}

// TestReflector_VersionsThatGoBackBeginAnEpoch: a watch from a version that is
// still to come says nothing, so the history is looked at before it is trusted.
func TestReflector_VersionsThatGoBackBeginAnEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		restored := false
		var first *openWatch
		r, _, got := reflected(t, func(_ int, what string) (io.ReadCloser, error) {
			switch {
			case what == "stream" && !restored:
				first = newWatch(mark("500", true))
				return first, nil
			case what == "stream":
				return newWatch(mark("100", true)), nil
			case what == "peek":
				return listOf("100"), nil
			}
			return newWatch(), nil
		})
		synctest.Wait()
		time.Sleep(30 * time.Second)
		synctest.Wait()
		restored = true
		first.end()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if want := "replace 0 as of 500, reset false; replace 0 as of 100, reset true"; got.String() != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if f := r.stream.Freshness(); f.Phase != Live || f.Complete != "100" {
			t.Errorf("%+v", f)
		}
	})
}

func TestReflector_AnOddObjectHarmsNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, got := reflected(t, func(int, string) (io.ReadCloser, error) {
			return newWatch(added("1"), `{"type":"ADDED","object":{"metadata":{"name":7}}}`, added("2"), mark("5", true), `{"type":"MODIFIED","object":[1]}`, added("6")), nil
		})
		time.Sleep(time.Second)
		synctest.Wait()
		if f := r.stream.Freshness(); f.Phase != Live || r.stream.odd.Load() != 2 || got.String() != "replace 2 as of 5, reset false; upsert 6" {
			t.Errorf("%+v, %d odd, %s", f, r.stream.odd.Load(), got)
		}
	})
}

// TestReflector_ProvesNothingWhileItCatchesUp: headers come at once, what was
// missed comes after them.
func TestReflector_ProvesNothingWhileItCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second *openWatch
		r, _, _ := reflected(t, func(_ int, what string) (io.ReadCloser, error) {
			switch what {
			case "stream":
				first = newWatch(mark("5", true))
				return first, nil
			case "peek":
				return listOf("90"), nil
			}
			second = newWatch(added("6"))
			return second, nil
		})
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		first.end()
		time.Sleep(500 * time.Millisecond)
		synctest.Wait()
		if second == nil || r.stream.Live() {
			t.Errorf("it is live before it has caught up: %+v", r.stream.Freshness())
		}
		_, _ = io.WriteString(second.w, added("90")+"\n")
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if !r.stream.Live() {
			t.Errorf("it has caught up: %+v", r.stream.Freshness())
		}
	})
}

// TestReflector_ProvesNothingRightAfterASlowList: what has happened while it was read
// comes behind it.
func TestReflector_ProvesNothingRightAfterASlowList(t *testing.T) {
	for name, behind := range map[string]string{"nothing behind it": "", "more behind it": added("6") + "\n"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				slow := newWatch(added("3"))
				r, source, _ := reflected(t, func(_ int, what string) (io.ReadCloser, error) {
					if what == "peek" {
						return listOf("9"), nil
					}
					return slow, nil
				})
				time.Sleep(time.Second)
				_, _ = io.WriteString(slow.w, mark("5", true)+"\n"+behind)
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
				if r.stream.Live() {
					t.Error("it proves something before it is known what has happened meanwhile")
				}
				if behind == "" {
					time.Sleep(settleAfterList)
					synctest.Wait()
					if !r.stream.Live() || source.count("peek") != 0 {
						t.Errorf("%+v, %v", r.stream.Freshness(), source.requests)
					}
					return
				}
				time.Sleep(settleAfterList)
				synctest.Wait()
				if r.stream.Live() || source.count("peek") != 1 {
					t.Errorf("before the version of now: %+v, %v", r.stream.Freshness(), source.requests)
				}
				_, _ = io.WriteString(slow.w, added("9")+"\n")
				synctest.Wait()
				if !r.stream.Live() || source.count("peek") != 1 {
					t.Errorf("%+v, %v", r.stream.Freshness(), source.requests)
				}
			})
		})
	}
}

// TestReflector_ASideListThatIsOlderThanAnotherBeginsAnEpoch: the watch has not
// moved meanwhile.
func TestReflector_ASideListThatIsOlderThanAnotherBeginsAnEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		version := "500"
		r, _, _ := reflected(t, func(_ int, what string) (io.ReadCloser, error) {
			if what == "list" {
				return listOf(version), nil
			}
			return newWatch(mark("100", true)), nil
		})
		synctest.Wait()
		if err := r.refresh(t.Context()); err != nil {
			t.Error(err)
		}
		version = "300"
		if err := r.refresh(t.Context()); err == nil {
			t.Error("a list from before was taken for what is there now")
		}
	})
}

// TestStream_OpenedAtTheEndOfItsGraceIsLive, whichever of both comes first.
func TestStream_OpenedAtTheEndOfItsGraceIsLive(t *testing.T) {
	for range 100 {
		synctest.Test(t, func(t *testing.T) {
			s := newStream("thing", "", time.Hour, nil)
			s.live(nil)
			s.reopening()
			time.Sleep(reopenGrace)
			synctest.Wait()
			s.live(nil)
			synctest.Wait()
			if !s.Live() {
				t.Fatalf("%+v", s.Freshness())
			}
		})
	}
}

// livelyBody is one whose connection says when it last brought anything.
type livelyBody struct {
	io.ReadCloser
	line
}

// TestCatchUp_ASlowListWaitsForASilentConnection: what has happened meanwhile may stand
// behind what other streams are sent.
func TestCatchUp_ASlowListWaitsForASilentConnection(t *testing.T) {
	for name, c := range map[string]struct {
		busy  time.Duration
		asked int
	}{"soon silent": {time.Second, 0}, "never silent": {time.Hour, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &scripted{answer: func(int, string) (io.ReadCloser, error) { return listOf("9"), nil }}
				r := &Reflector{
					source: source, decode: decodeVersion, receiver: &received{}, stream: newStream("thing", "", time.Hour, nil),
					timing: Timing{RequestTimeout: time.Second}, version: "9",
				}
				until := time.Now().Add(c.busy)
				body := livelyBody{nil, line{func() (time.Time, bool) {
					if now := time.Now(); now.Before(until) {
						return now, true
					}
					return until, true
				}}}
				ctx, cancel := context.WithCancelCause(t.Context())
				caught := r.catchUp(ctx, cancel, &follower{body: body, behind: true}, "")
				defer caught.stop()
				time.Sleep(time.Second)
				synctest.Wait()
				if r.stream.Freshness().Phase == Live {
					t.Error("it proves something while its connection is busy")
				}
				time.Sleep(settleFor)
				synctest.Wait()
				if r.stream.Freshness().Phase != Live || source.count("peek") != c.asked || ctx.Err() != nil {
					t.Errorf("%+v, %v, %v", r.stream.Freshness(), source.requests, context.Cause(ctx))
				}
			})
		})
	}
}

// punctual is a server that ends each watch when it was asked to, counted from the
// request, and takes its time for the headers of the first.
type punctual struct {
	*scripted
	late time.Duration
}

func (p punctual) Open(ctx context.Context, path string, q url.Values, watching bool) (io.ReadCloser, error) {
	seconds, err := strconv.Atoi(q.Get("timeoutSeconds"))
	if err != nil {
		return p.scripted.Open(ctx, path, q, watching)
	}
	over := time.Now().Add(time.Duration(seconds) * time.Second)
	if q.Get("sendInitialEvents") != "" {
		time.Sleep(p.late)
	}
	body, err := p.scripted.Open(ctx, path, q, watching)
	if err != nil {
		return nil, err
	}
	w := body.(*bounded).ReadCloser.(*openWatch)
	go func() {
		for time.Until(over) > time.Minute {
			select {
			case <-time.After(time.Minute):
			case <-ctx.Done():
				return
			}
			if _, err := io.WriteString(w.w, mark("5", false)+"\n"); err != nil {
				return
			}
		}
	}()
	time.AfterFunc(time.Until(over), w.end)
	return body, nil
}

func TestReflector_AWatchThatBeganLateEndsAsAgreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{answer: func(_ int, what string) (io.ReadCloser, error) {
			switch what {
			case "peek":
				return listOf("9"), nil
			case "stream":
				return newWatch(mark("5", true)), nil
			}
			return newWatch(), nil
		}}
		r := &Reflector{
			source: punctual{source, 15 * time.Second}, path: "/x", decode: decodeVersion, receiver: &received{}, stream: newStream("thing", "", time.Hour, nil),
			shared: shared{lists: NewSlots(1)}, slotOf: "a", log: slog.New(slog.DiscardHandler), wake: make(chan struct{}, 1),
			timing:      Timing{RequestTimeout: time.Minute, StuckAfter: 3 * time.Minute, MostBytes: 1 << 20},
			sameCluster: func(context.Context) error { return nil }, unserved: func() {}, wentBack: func(bool) {},
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); r.run(ctx) }()
		broken := false
		for range 11 * 60 * 10 {
			time.Sleep(100 * time.Millisecond)
			broken = broken || r.stream.Freshness().Phase == Broken
		}
		cancel()
		<-done
		if broken || source.count("watch") == 0 {
			t.Errorf("broken: %v, %v", broken, source.requests)
		}
	})
}
