package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

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
		page, n, err := r.page(ctx, q, hold, take)
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

// page decodes one page as it arrives, one item at a time, and says how many
// bytes it has.
func (r *Reflector) page(ctx context.Context, q url.Values, hold *hold, take func([]byte) Object) (page, int64, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	deadline := newSilence(r.timing.RequestTimeout, cancel, hold) // waiting for its slot does not count
	defer deadline.timer.Stop()
	var body io.ReadCloser
	open := func() (err error) {
		body, err = r.source.Open(ctx, r.path, q, false)
		return err
	}
	var err error
	if hold == nil {
		err = open()
	} else if waited := hold.while(ctx, func() { err = open() }); err == nil {
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
	p, err := decodeList(from, take)
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
			var m struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			}
			if err := dec.Decode(&m); err != nil {
				return p, err
			}
			p.version, p.next = m.ResourceVersion, m.Continue
		case "items":
			if p.objects, err = decodeItems(dec, take); err != nil {
				return p, err
			}
		default:
			var skipped json.RawMessage
			if err := dec.Decode(&skipped); err != nil {
				return p, err
			}
		}
	}
	if err := expect(dec, json.Delim('}')); err != nil {
		return p, err // the list broke in the middle
	}
	if p.version == "" {
		return p, errors.New("the list has no resourceVersion")
	}
	return p, nil
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
