// Package front50 reads projects and applications from Front50, Spinnaker's
// store of metadata (spinnaker/front50, v2 API).
package front50

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// ErrNotFound is returned for a name that Front50 does not know.
var ErrNotFound = errors.New("not found in Front50")

// Project is a project as the dashboard needs it.
type Project struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Config struct {
		Applications []string  `json:"applications"`
		Clusters     []Cluster `json:"clusters"`
	} `json:"config"`
}

// Cluster says which server groups a project shows. Applications are the
// project's when there are none.
type Cluster struct {
	Account      string   `json:"account"`
	Stack        *string  `json:"stack"`
	Detail       *string  `json:"detail"`
	Applications []string `json:"applications"`
}

// Client asks one Front50. It keeps the lists of everything for a while, since
// each search looks through them.
type Client struct {
	base    string
	http    *http.Client
	headers func(context.Context) http.Header

	flight singleflight.Group
	mu     sync.Mutex
	kept   map[string]kept // by path
}

type kept struct {
	list []map[string]any
	at   time.Time
}

const (
	// fresh is how long a list is taken as it is, and usable how long while a
	// newer one is asked for.
	fresh  = 15 * time.Second
	usable = time.Minute
)

// answerMost bounds an answer: all applications of a large installation.
const answerMost = 64 << 20

// New makes a client. headers, which may be nil, are sent along: who asks.
func New(base string, timeout time.Duration, headers func(context.Context) http.Header) *Client {
	return &Client{base: strings.TrimSuffix(base, "/"), http: outgoing.Client(nil, timeout), headers: headers, kept: map[string]kept{}}
}

// Project reads one by name; ErrNotFound.
func (c *Client) Project(ctx context.Context, name string) (Project, error) {
	var p Project
	err := c.get(ctx, "/v2/projects/"+url.PathEscape(strings.ToLower(name)), &p)
	if err == nil && p.Name == "" {
		err = fmt.Errorf("Front50's answer for project %s is no project", name)
	}
	return p, err
}

// Projects lists all, as they are, at most a minute old. The list is shared:
// callers must not change it.
func (c *Client) Projects(ctx context.Context) ([]map[string]any, error) {
	return c.list(ctx, "/v2/projects")
}

// Applications lists all, as they are, at most a minute old. The list is
// shared: callers must not change it.
func (c *Client) Applications(ctx context.Context) ([]map[string]any, error) {
	return c.list(ctx, "/v2/applications?restricted=false")
}

// Templates lists all pipeline templates, as they are, at most a minute old. The
// list is shared: callers must not change it.
func (c *Client) Templates(ctx context.Context) ([]map[string]any, error) {
	return c.list(ctx, "/v2/pipelineTemplates")
}

// Template is a pipeline template, of a tag or a digest where one is named.
func (c *Client) Template(ctx context.Context, id, tag, digest string) (json.RawMessage, error) {
	var out json.RawMessage
	err := c.get(ctx, "/v2/pipelineTemplates/"+url.PathEscape(id)+"?"+url.Values{"tag": {tag}, "digest": {digest}}.Encode(), &out)
	return out, err
}

// have is the list that is kept, of no time when there is none.
func (c *Client) have(path string) kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept[path]
}

func (c *Client) list(ctx context.Context, path string) ([]map[string]any, error) {
	have := c.have(path)
	age := time.Since(have.at)
	if age < fresh {
		return have.list, nil
	}
	asked := c.flight.DoChan(path, func() (any, error) {
		// Another call may have ended since we looked.
		have := c.have(path)
		if time.Since(have.at) < fresh {
			return have.list, nil
		}
		var list []map[string]any
		// Whoever asked first may go; the others still wait.
		if err := c.get(context.WithoutCancel(ctx), path, &list); err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(list, func(m map[string]any) bool { return m == nil })
		c.mu.Lock()
		defer c.mu.Unlock()
		c.kept[path] = kept{list, time.Now()}
		return list, nil
	})
	if age < usable {
		return have.list, nil
	}
	select {
	case r := <-asked:
		list, _ := r.Val.([]map[string]any)
		return list, r.Err
	case <-ctx.Done():
		return nil, fmt.Errorf("ask Front50: %w", ctx.Err())
	}
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+path, nil)
	if err != nil {
		return err
	}
	if c.headers != nil {
		for name, values := range c.headers(ctx) {
			req.Header[name] = values
		}
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("ask Front50: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNotFound:
		return ErrNotFound
	case res.StatusCode >= http.StatusMultipleChoices:
		return fmt.Errorf("ask Front50: %s", res.Status)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, answerMost)).Decode(into); err != nil {
		return fmt.Errorf("read Front50's answer to %s: %w", path, err)
	}
	return nil
}
