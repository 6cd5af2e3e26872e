package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// listed lists in the way that the server knows. What is listed by a watch goes on as
// one; nil for a list that does not.
func (r *Reflector) listed(ctx context.Context, cancel context.CancelCauseFunc) (*follower, error) {
	if !r.noStreams {
		f, err := r.streamList(ctx, cancel)
		if !cluster.Is(err, cluster.Unsupported) {
			return f, err
		}
		r.noStreams = true
	}
	return nil, r.list(ctx)
}

// streamList lists by a watch that begins with the current objects (KEP-3157). One
// request for both is half of what a start asks of a cluster.
func (r *Reflector) streamList(ctx context.Context, cancel context.CancelCauseFunc) (f *follower, err error) {
	hold, err := r.shared.lists.acquire(ctx, r.slotOf)
	if err != nil {
		return nil, err
	}
	defer hold.release()
	q, lasting := r.watchQuery()
	q.Set("sendInitialEvents", "true")
	q.Set("resourceVersionMatch", "NotOlderThan")
	var body io.ReadCloser
	asked := time.Now()
	if waited := hold.while(ctx, func() { body, err = r.source.Open(ctx, r.path, q, true) }); err == nil {
		err = waited
	}
	if body != nil {
		f = newFollower(body, asked, lasting)
	}
	if err == nil {
		err = r.initial(f, hold.reader(ctx, body), newSilence(r.timing.RequestTimeout, cancel, hold))
	}
	if err != nil {
		if f != nil {
			f.close()
		}
		return nil, err
	}
	f.behind = time.Since(asked) > openAtOnce
	return f, nil
}

// initial takes in what a watch begins with.
func (r *Reflector) initial(f *follower, from *heldReader, silence *silence) error {
	var objects []Object
	seat := &seat{of: r.shared.decoders}
	defer seat.leave()
	take, fresh := r.taker(seat.do)
	err := f.each(leaving{from, seat}, silence, func(fr frame) error {
		switch fr.event {
		case "ADDED", "MODIFIED":
			if r.timing.MostBytes > 0 && from.read > r.timing.MostBytes {
				return r.tooLarge()
			}
			if obj := take(fr.object); obj != nil {
				objects = append(objects, obj)
			}
			if r.timing.MostObjects > 0 && len(objects) > r.timing.MostObjects {
				return r.tooMany()
			}
		case "BOOKMARK":
			mark, err := bookmarkOf(fr)
			if err != nil {
				return err
			}
			if !mark.ends() {
				return nil
			}
			seat.leave()
			if err := r.replace(objects, mark.Metadata.ResourceVersion, fresh); err != nil {
				return err
			}
			return errThrough
		case "ERROR":
			return fr.failure()
		}
		return nil
	})
	switch {
	case errors.Is(err, errThrough):
		return nil
	case err == nil:
		return undecodable(io.ErrUnexpectedEOF) // it has ended before the list has
	}
	return err
}

// errThrough ends the list that a watch begins with.
var errThrough = errors.New("the list is through")

// list reads all pages and replaces the content.
func (r *Reflector) list(ctx context.Context) error {
	hold, err := r.shared.lists.acquire(ctx, r.slotOf)
	if err != nil {
		return err
	}
	defer hold.release()
	take, fresh := r.taker(r.shared.decoders.do)
	all, version, err := r.pages(ctx, hold, take)
	if err != nil {
		return err
	}
	return r.replace(all, version, fresh)
}

// replace makes a list the content. fresh says that it was begun as the first of a new
// epoch.
func (r *Reflector) replace(objects []Object, version string, fresh bool) error {
	r.mu.Lock()
	back := r.highest != "" && older(version, r.highest) || r.beside != "" && older(version, r.beside)
	if back {
		// A consistent list older than what was seen means that the cluster was
		// restored from a backup, or is another one.
		r.version, r.highest, r.beside, r.reset = "", "", "", true
	}
	if stale := r.reset && !fresh; back || stale {
		r.mu.Unlock()
		if back {
			r.wentBack(true)
		}
		return errRelist // what it has for held may be of the history that is over
	}
	r.version, r.highest, r.reset, r.doubted = version, version, false, false
	r.mu.Unlock()
	r.receiver.Replace(objects, version, fresh)
	r.stream.complete(version)
	return nil
}

// refresh lists beside the watch, for somebody who has to know the content as
// it is now.
func (r *Reflector) refresh(ctx context.Context) error {
	take, fresh := r.taker(r.shared.decoders.do)
	r.mu.Lock()
	seen := []string{r.highest, r.beside} // the watch goes on meanwhile
	r.mu.Unlock()
	objects, version, err := r.pages(ctx, nil, take)
	if err != nil {
		return err
	}
	for _, before := range seen {
		if before != "" && older(version, before) {
			r.wentBack(false)
			return &cluster.Error{Reason: cluster.Unavailable, Err: errWentBack}
		}
	}
	r.mu.Lock()
	over := r.reset && !fresh
	if !over {
		r.beside = version
	}
	r.mu.Unlock()
	if over {
		return &cluster.Error{Reason: cluster.Unavailable, Err: errWentBack}
	}
	r.receiver.Replace(objects, version, fresh)
	return nil
}

// taker makes objects of what a list has that begins now; decoding has it done. fresh
// says that it is the first of a new epoch: nothing that is held counts in it.
func (r *Reflector) taker(decoding func(func())) (take func(raw []byte) Object, fresh bool) {
	r.mu.Lock()
	fresh = r.reset
	r.mu.Unlock()
	holder, _ := r.receiver.(Holder)
	if fresh || !r.stream.Listed() {
		holder = nil
	}
	return func(raw []byte) Object { return r.take(raw, holder, decoding) }, fresh
}

type page struct {
	objects       []Object
	version, next string
}

// pages reads a whole list, page by page. Within it hold is lent to others
// while the cluster says nothing; it may be nil.
func (r *Reflector) pages(ctx context.Context, hold *hold, take func([]byte) Object) ([]Object, string, error) {
	var all []Object
	q := url.Values{"limit": {strconv.Itoa(pageSize)}}
	if r.selector != "" {
		q.Set("labelSelector", r.selector)
	}
	read := int64(0)
	for {
		page, n, err := r.page(ctx, q, hold, func(body io.Reader) (page, error) { return decodeList(body, take) })
		if err != nil {
			return nil, "", err
		}
		if read += n; r.timing.MostBytes > 0 && read > r.timing.MostBytes {
			return nil, "", r.tooLarge()
		}
		all = append(all, page.objects...)
		if r.timing.MostObjects > 0 && len(all) > r.timing.MostObjects {
			return nil, "", r.tooMany()
		}
		if page.next == "" {
			return all, page.version, nil
		}
		q.Set("continue", page.next)
	}
}

func (r *Reflector) tooLarge() error {
	return &cluster.Error{Reason: cluster.TooLarge, Err: fmt.Errorf("the list is larger than watch.maxListBytes, %d bytes", r.timing.MostBytes)}
}

func (r *Reflector) tooMany() error {
	return &cluster.Error{Reason: cluster.TooLarge, Err: fmt.Errorf("the list has more objects than watch.maxListObjects, %d", r.timing.MostObjects)}
}

// page decodes one page as it arrives, and says how many bytes it has.
func (r *Reflector) page(ctx context.Context, q url.Values, hold *hold, decode func(io.Reader) (page, error)) (page, int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	deadline := newSilence(r.timing.RequestTimeout, cancel, hold) // waiting for its slot does not count
	defer deadline.timer.Stop()
	var body io.ReadCloser
	var err error
	if waited := hold.while(ctx, func() { body, err = r.source.Open(ctx, r.path, q, false) }); err == nil {
		err = waited
	}
	if body != nil {
		defer func() { _ = body.Close() }()
	}
	if err != nil {
		return page{}, 0, err
	}
	reader := &counted{from: body, most: r.timing.MostBytes}
	var from io.Reader = reader
	if hold != nil {
		from = hold.reader(ctx, reader)
	}
	p, err := decode(from)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		if errors.Is(err, errLong) {
			return page{}, 0, r.tooLarge()
		}
		return page{}, 0, &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("read the list: %w", err)}
	}
	return p, reader.n, nil
}

// errLong ends a list that is longer than watch.maxListBytes.
var errLong = errors.New("the list is too long")

// counted ends a body that is longer than anybody has memory for.
type counted struct {
	from    io.Reader
	n, most int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n += int64(n)
	if c.most > 0 && c.n > c.most {
		return n, errLong
	}
	return n, err
}

// decodeList takes a list apart. take makes an object of each item, nil for one
// that is left out.
func decodeList(body io.Reader, take func(raw []byte) Object) (page, error) {
	var p page
	dec := json.NewDecoder(body)
	if err := expect(dec, json.Delim('{')); err != nil {
		return p, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return p, err
		}
		switch key {
		case "metadata":
			if p.version, p.next, err = decodeListMetadata(dec); err != nil {
				return p, err
			}
		case "items":
			if p.objects, err = decodeItems(dec, take); err != nil {
				return p, err
			}
		default:
			if err := skip(dec); err != nil {
				return p, err
			}
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return p, err // the list broke in the middle
	}
	if p.version == "" {
		return p, errNoVersion
	}
	return p, nil
}

var errNoVersion = errors.New("the list has no resourceVersion")

// decodeListVersion reads of a list how far it is. Its items, which API servers write
// behind that, are not looked at.
func decodeListVersion(body io.Reader) (page, error) {
	dec := json.NewDecoder(body)
	if err := expect(dec, json.Delim('{')); err != nil {
		return page{}, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return page{}, err
		}
		if key != "metadata" {
			if err := skip(dec); err != nil {
				return page{}, err
			}
			continue
		}
		var p page
		if p.version, p.next, err = decodeListMetadata(dec); err != nil {
			return page{}, err
		}
		if p.version == "" {
			return page{}, errNoVersion
		}
		_, err = io.Copy(io.Discard, body) // breaking a stream off costs both sides more
		return p, err
	}
	return page{}, errNoVersion
}

func decodeListMetadata(dec *json.Decoder) (version, next string, err error) {
	var m struct {
		ResourceVersion string `json:"resourceVersion"`
		Continue        string `json:"continue"`
	}
	err = dec.Decode(&m)
	return m.ResourceVersion, m.Continue, err
}

func skip(dec *json.Decoder) error {
	var skipped json.RawMessage
	return dec.Decode(&skipped)
}

func decodeItems(dec *json.Decoder, take func(raw []byte) Object) ([]Object, error) {
	token, err := dec.Token()
	if err != nil || token == nil { // Go servers write no items as null
		return nil, err
	}
	var objects []Object
	var raw json.RawMessage
	for dec.More() {
		// An item that is no JSON breaks the list; one that is no object of its
		// kind harms itself only.
		if err := dec.Decode(&raw); err != nil {
			return nil, err
		}
		if obj := take(raw); obj != nil {
			objects = append(objects, obj)
		}
	}
	return objects, expect(dec, json.Delim(']'))
}

func expect(dec *json.Decoder, want json.Token) error {
	got, err := dec.Token()
	if err != nil {
		return err
	}
	if got != want {
		return fmt.Errorf("found %v where %v was expected", got, want)
	}
	return nil
}
