package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
)

var errOtherDigest = errors.New("what came is not what its digest says")

// flight is one fetch that many may read.
type flight struct {
	cache *cache
	want  wanted
	ctx   context.Context
	end   context.CancelFunc
	refs  int // readers; guarded by the cache's lock

	begun  chan struct{} // closed when the four below are known
	err    error
	again  *kept // what is kept is still right
	direct bool  // each has to fetch it alone
	size   int64
	// come is content that does not go through the cache, until somebody takes it;
	// both are guarded by the cache's lock.
	come  *Content
	taken bool

	mu      sync.Mutex
	more    *sync.Cond
	file    *os.File
	written int64
	over    error // io.EOF once all is there
}

func newFlight(ctx context.Context, c *cache, w wanted) *flight {
	f := &flight{cache: c, want: w, begun: make(chan struct{})}
	f.ctx, f.end = context.WithCancel(context.WithoutCancel(ctx)) // it is not the first reader's alone
	f.more = sync.NewCond(&f.mu)
	return f
}

// run fetches. before is what is kept of it, nil for nothing.
func (f *flight) run(before *kept) {
	etag := ""
	if before != nil {
		etag = before.etag
	}
	got, err := f.want.ask(f.ctx, etag)
	switch {
	case err != nil:
		f.err = err
	case got.same:
		f.again = before
	case !f.fits(got.Size):
		f.direct = true
	default:
		f.size = got.Size
		if f.file, err = os.CreateTemp(f.cache.folder, "new"); err != nil {
			f.direct = true // without room, all the same
		}
	}
	if f.err != nil || f.again != nil || f.direct {
		f.leave()
	}
	if f.direct {
		f.offer(got.Content)
	}
	close(f.begun)
	if f.direct {
		return // it ends with whoever takes it
	}
	if f.file != nil {
		f.copy(got)
	}
	f.end()
}

// offer has content for the first one who takes it.
func (f *flight) offer(content Content) {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	if f.refs > 0 {
		f.come = &content
		return
	}
	_ = content.Close()
	f.end()
}

// take is what is offered, for whoever comes first.
func (f *flight) take(ctx context.Context) (Content, bool) {
	f.cache.mu.Lock()
	got := f.come
	f.come = nil
	f.taken = f.taken || got != nil
	f.cache.mu.Unlock()
	if got == nil {
		return Content{}, false
	}
	stop := context.AfterFunc(ctx, f.end)
	return Content{&alone{got.ReadCloser, func() { stop(); f.end() }}, got.Size}, true
}

// alone is content whose fetch ends with it.
type alone struct {
	io.ReadCloser
	end func()
}

func (a *alone) Close() error {
	err := a.ReadCloser.Close()
	a.end()
	return err
}

func (f *flight) fits(size int64) bool {
	if size < 0 {
		return f.want.bound > 0 && f.want.bound <= f.cache.most
	}
	return size <= f.cache.most/share
}

// leave lets those who come from now on begin anew.
func (f *flight) leave() {
	f.cache.mu.Lock()
	defer f.cache.mu.Unlock()
	if f.cache.flights[f.want.key] == f {
		delete(f.cache.flights, f.want.key)
	}
}

// copy writes what comes to the file, for all who read.
func (f *flight) copy(got fetched) {
	defer func() { _ = got.Close() }()
	sum := sha256.New()
	err := f.pour(got, sum)
	k := &kept{key: f.want.key, path: f.file.Name(), etag: got.etag, size: f.written, sum: [sha256.Size]byte(sum.Sum(nil))}
	switch {
	case err != nil:
	case got.Size >= 0 && f.written != got.Size:
		err = fmt.Errorf("%d bytes came, and %d were said", f.written, got.Size)
	case f.want.digest != "" && hex.EncodeToString(k.sum[:]) != f.want.digest:
		err = errOtherDigest
	}
	if err == nil && (f.want.digest != "" || got.etag != "") {
		f.cache.keep(k)
	} else {
		_ = os.Remove(k.path) // who reads it has it still
	}
	f.leave()
	if err == nil {
		err = io.EOF
	}
	f.mu.Lock()
	f.over = err
	f.more.Broadcast()
	f.mu.Unlock()
	f.release() // the file stays open for those who read
}

func (f *flight) pour(got fetched, sum hash.Hash) error {
	most := f.want.bound
	if got.Size >= 0 {
		most = got.Size
	}
	chunk := make([]byte, 64<<10) //nolint:mnd // as a fetch is sent
	for {
		n, err := got.Read(chunk)
		if n > 0 {
			if f.written+int64(n) > most {
				return fmt.Errorf("it has more than %d bytes", most)
			}
			if _, failed := f.file.Write(chunk[:n]); failed != nil {
				return fmt.Errorf("keep it on disk: %w", failed)
			}
			_, _ = sum.Write(chunk[:n]) // a hash takes everything
			f.mu.Lock()
			f.written += int64(n)
			f.more.Broadcast()
			f.mu.Unlock()
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// wait is the content, once it is known what it is.
func (f *flight) wait(ctx context.Context) (content Content, direct bool, err error) {
	select {
	case <-f.begun:
	case <-ctx.Done():
		f.gone()
		return Content{}, false, ctx.Err()
	}
	if f.file == nil {
		defer f.gone()
	}
	switch {
	case f.err != nil:
		return Content{}, false, f.err
	case f.direct:
		content, ok := f.take(ctx)
		return content, !ok, nil
	case f.again != nil:
		content, err := f.cache.open(f.again)
		return content, err != nil, nil // what was dropped meanwhile is fetched
	}
	r := &shared{flight: f, ctx: ctx}
	r.stop = context.AfterFunc(ctx, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.more.Broadcast()
	})
	return Content{r, f.size}, false, nil
}

// gone is one reader less. Where nobody reads any more, nothing is fetched.
func (f *flight) gone() {
	f.cache.mu.Lock()
	f.refs--
	untaken := f.come
	last := f.refs == 0 && !f.taken && (!f.want.whole || untaken != nil)
	if last && f.cache.flights[f.want.key] == f {
		delete(f.cache.flights, f.want.key) // who comes now begins anew
	}
	f.cache.mu.Unlock()
	if last && untaken != nil {
		_ = untaken.Close()
	}
	if last {
		f.end()
	}
	f.release()
}

// release closes the file once it is written, and nobody reads it.
func (f *flight) release() {
	f.cache.mu.Lock()
	unread := f.refs == 0
	f.cache.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if unread && f.over != nil && f.file != nil {
		_ = f.file.Close() // it is read by name from now on
	}
}

// shared reads a flight's file as it grows.
type shared struct {
	flight *flight
	ctx    context.Context
	stop   func() bool
	at     int64
	closed sync.Once
}

func (r *shared) Read(into []byte) (int, error) {
	f := r.flight
	f.mu.Lock()
	for f.over == nil && r.at >= r.visible() && r.ctx.Err() == nil {
		f.more.Wait()
	}
	n := min(int64(len(into)), r.visible()-r.at)
	over := f.over
	f.mu.Unlock()
	switch {
	case r.ctx.Err() != nil:
		return 0, r.ctx.Err()
	case over != nil && !errors.Is(over, io.EOF):
		return 0, over
	case n <= 0:
		return 0, io.EOF
	}
	read, err := f.file.ReadAt(into[:n], r.at)
	r.at += int64(read)
	return read, err
}

// visible is how far it may be read: the last byte comes when all is verified.
func (r *shared) visible() int64 {
	if r.flight.over != nil {
		return r.flight.written
	}
	return r.flight.written - 1
}

func (r *shared) Close() error {
	r.closed.Do(func() {
		r.stop()
		r.flight.gone()
	})
	return nil
}
