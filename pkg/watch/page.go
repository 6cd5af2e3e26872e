package watch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

type page struct {
	objects       []Object
	version, next string
}

// page decodes one page as it arrives, one item at a time.
func (r *Reflector) page(ctx context.Context, q url.Values) (page, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timing.RequestTimeout)
	defer cancel()
	body, err := r.source.Open(ctx, r.path, q, false)
	if err != nil {
		return page{}, err
	}
	defer func() { _ = body.Close() }()
	p, err := decodeList(body, r.decode)
	if err != nil {
		return page{}, &cluster.Error{Reason: cluster.Unavailable, Err: fmt.Errorf("read the list: %w", err)}
	}
	return p, nil
}

func decodeList(body io.Reader, decode Decode) (page, error) {
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
			if p.objects, err = decodeItems(dec, decode); err != nil {
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

func decodeItems(dec *json.Decoder, decode Decode) ([]Object, error) {
	token, err := dec.Token()
	if err != nil || token == nil { // Go servers write no items as null
		return nil, err
	}
	var objects []Object
	for dec.More() {
		obj, err := decode(dec.Decode)
		if err != nil {
			return nil, err
		}
		if obj != nil {
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
