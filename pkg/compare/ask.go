package compare

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// side is one of the two.
type side struct {
	name   string
	base   *url.URL
	client *http.Client
	header http.Header
	// within is how long an answer may take.
	within time.Duration
}

// mostBytes of an answer are read.
const mostBytes = 256 << 20

func newSide(name, address string, o Options) (*side, error) {
	base, err := url.Parse(strings.TrimSuffix(address, "/"))
	if err != nil || base.Host == "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("%q is not the address of a Clouddriver, like http://spin-clouddriver:7002", address)
	}
	header := http.Header{"Accept": {"application/json"}}
	if o.User != "" {
		header.Set("X-Spinnaker-User", o.User)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = o.Concurrency
	return &side{name: name, base: base, header: header, within: o.Timeout, client: outgoing.Client(transport, 0)}, nil
}

// refusals say nothing of what is asked for.
var refusals = map[int]bool{http.StatusUnauthorized: true, http.StatusForbidden: true, http.StatusTooManyRequests: true, http.StatusProxyAuthRequired: true}

// said is an answer.
type said struct {
	status int
	body   any
}

// ask gets one answer. The error says what is wrong with an answer that a
// Clouddriver does not give.
func (s *side) ask(ctx context.Context, path string) (said, error) {
	ctx, cancel := context.WithTimeout(ctx, s.within)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.String()+path, nil)
	if err != nil {
		return said{}, err
	}
	req.Header = s.header.Clone()
	res, err := s.client.Do(req)
	if err != nil {
		return said{}, s.late(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostBytes+1))
	if err != nil {
		return said{}, s.late(ctx, err)
	}
	if len(body) > mostBytes {
		return said{}, fmt.Errorf("the answer is longer than %d MiB", mostBytes>>20)
	}
	out := said{status: res.StatusCode}
	switch {
	case res.StatusCode == http.StatusOK:
	case res.StatusCode >= http.StatusInternalServerError, res.StatusCode < http.StatusBadRequest, refusals[res.StatusCode]:
		// Two that fail alike are not equal: neither has shown anything.
		return out, fmt.Errorf("it answers %s: %.100q", res.Status, body)
	default:
		return out, nil // the texts of errors are for people
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return out, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&out.body); err != nil {
		return out, fmt.Errorf("the answer is no JSON (Content-Type %q): %.60q", res.Header.Get("Content-Type"), body)
	}
	if decoder.More() {
		return out, errors.New("the answer goes on after its JSON")
	}
	return out, nil
}

func (s *side) late(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no whole answer within %s", s.within)
	}
	return err
}
