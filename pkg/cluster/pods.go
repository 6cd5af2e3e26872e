package cluster

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Events lists the events about objects of a name and kind. Those of
// cluster-scoped objects are in the namespace default.
func (c *Client) Events(ctx context.Context, namespace, kind, name string) ([]*unstructured.Unstructured, error) {
	return c.list(ctx, Resource{Version: "v1", Plural: "events", Kind: "Event", Namespaced: true}, namespace,
		url.Values{"fieldSelector": {"involvedObject.kind=" + kind + ",involvedObject.name=" + name}})
}

// Logs reads what the current instance of a container has written. The caller
// closes it; its context is the only deadline.
func (c *Client) Logs(ctx context.Context, namespace, pod, container string) (io.ReadCloser, error) {
	at, err := Resource{Version: "v1", Plural: "pods", Namespaced: true}.at(namespace, pod, "log")
	if err != nil {
		return nil, err
	}
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + at
	u.RawQuery = url.Values{"container": {container}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	req.Header.Set("User-Agent", userAgent)
	res, err := c.do(req, false)
	if err != nil {
		return nil, err
	}
	if res.StatusCode < http.StatusMultipleChoices {
		return res.Body, nil
	}
	defer func() { _ = res.Body.Close() }()
	const most = 8 << 10
	text, err := io.ReadAll(io.LimitReader(res.Body, most))
	if err != nil {
		return nil, &Error{Reason: Unavailable, Err: fmt.Errorf("read the answer: %w", err)}
	}
	return nil, refused(res, text)
}

// Metrics reads the usage of a pod's containers (metrics.k8s.io). Where nothing
// measures, the path is not served, and nobody looks whether it has moved.
func (c *Client) Metrics(ctx context.Context, namespace, pod string) (*unstructured.Unstructured, error) {
	at, err := Resource{Group: "metrics.k8s.io", Version: "v1beta1", Plural: "pods", Namespaced: true}.at(namespace, pod, "")
	if err != nil {
		return nil, err
	}
	out, err := c.call(ctx, http.MethodGet, at, nil, "", nil)
	return decoded(out, err, http.MethodGet, at)
}
