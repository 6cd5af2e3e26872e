package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/validate/content"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// Field managers of writes, those of kubectl, so that objects can go back and
// forth between it and us (kubernetes/kubectl, pkg/cmd/apply).
const (
	ManagerApply       = "kubectl-client-side-apply"
	ManagerServerApply = "kubectl"
	ManagerPatch       = "kubectl-patch"
	ManagerReplace     = "kubectl-replace"
	ManagerCreate      = "kubectl-create"
)

// objectLimit bounds one answer: an object, of which etcd holds less, or a page
// of a list.
const objectLimit = 32 << 20

var errTooLarge = fmt.Errorf("the answer is larger than %d bytes", objectLimit)

// Get reads an object by name.
func (c *Client) Get(ctx context.Context, r Resource, namespace, name string) (*unstructured.Unstructured, error) {
	return c.object(ctx, http.MethodGet, r, namespace, name, "", nil, "", nil)
}

// List reads all objects of a kind in a namespace, in pages.
func (c *Client) List(ctx context.Context, r Resource, namespace, selector string) ([]*unstructured.Unstructured, error) {
	q := url.Values{}
	if selector != "" {
		q.Set("labelSelector", selector)
	}
	return c.list(ctx, r, namespace, q)
}

// pages reads a list page by page; take returns what the next one is asked
// with.
func (c *Client) pages(ctx context.Context, r Resource, namespace string, q url.Values, accept string, take func(body []byte) (next string, err error)) error {
	most := 500 // objects of a page; fewer where they are large
	if why := content.IsPathSegmentName(namespace); len(why) > 0 {
		return &Error{Reason: NotFound, Err: fmt.Errorf("no namespace is called %q: it %s", namespace, strings.Join(why, ", "))}
	}
	for {
		q.Set("limit", strconv.Itoa(most))
		body, err := c.page(ctx, r, namespace, q, accept)
		if errors.Is(err, errTooLarge) && most > 1 {
			most = max(most/8, 1)
			continue
		}
		if Is(err, NotFound) { // a set is never "not there"
			err = &Error{Reason: Unavailable, Err: err}
		}
		if err != nil {
			return fmt.Errorf("list %s in %q: %w", r.Plural, namespace, err)
		}
		next, err := take(body)
		if err != nil {
			return &Error{Reason: Unavailable, Err: fmt.Errorf("decode the list of %s: %w", r.Plural, err)}
		}
		if next == "" {
			return nil
		}
		q.Set("continue", next)
	}
}

func (c *Client) page(ctx context.Context, r Resource, namespace string, q url.Values, accept string) ([]byte, error) {
	return c.served(ctx, r, func(now Resource) ([]byte, error) {
		at, err := now.collection(namespace)
		if err != nil {
			return nil, err
		}
		return c.send(ctx, http.MethodGet, at, q, accept, "", nil)
	})
}

// Metadata lists the metadata of all objects of a kind in a namespace, in
// pages: names and annotations, without what the objects hold or were applied as.
func (c *Client) Metadata(ctx context.Context, r Resource, namespace string) ([]*metav1.PartialObjectMetadata, error) {
	var out []*metav1.PartialObjectMetadata
	err := c.pages(ctx, r, namespace, url.Values{}, metadataOf("PartialObjectMetadataList"), func(body []byte) (string, error) {
		var list metav1.PartialObjectMetadataList
		if err := json.Unmarshal(body, &list); err != nil {
			return "", err
		}
		for i := range list.Items {
			// Both say again what the object holds: kept for all of a namespace, they
			// would be as large as that. Only versions are compared by it.
			item := &list.Items[i]
			item.ManagedFields = nil
			if item.Annotations[spinnaker.AnnotationArtifactType] == "" {
				delete(item.Annotations, lastApplied)
			}
			out = append(out, item)
		}
		return list.Continue, nil
	})
	return out, err
}

// lastApplied is where kubectl keeps what was applied.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

func (c *Client) list(ctx context.Context, r Resource, namespace string, q url.Values) ([]*unstructured.Unstructured, error) {
	var out []*unstructured.Unstructured
	err := c.pages(ctx, r, namespace, q, jsonType, func(body []byte) (string, error) {
		list := &unstructured.UnstructuredList{}
		if err := list.UnmarshalJSON(body); err != nil {
			return "", err
		}
		for i := range list.Items {
			o := &list.Items[i]
			if o.GetKind() == "" {
				o.SetAPIVersion(r.APIVersion())
				o.SetKind(r.Kind)
			}
			out = append(out, o)
		}
		return list.GetContinue(), nil
	})
	return out, err
}

// WriteOptions are the query of a write.
type WriteOptions struct {
	Manager string
	Force   bool
	DryRun  bool
	// Strict has the server refuse fields that it does not know, instead of
	// dropping them.
	Strict bool
}

func (o WriteOptions) query() url.Values {
	q := url.Values{}
	if o.Manager != "" {
		q.Set("fieldManager", o.Manager)
	}
	if o.Force {
		q.Set("force", "true")
	}
	if o.DryRun {
		q.Set("dryRun", "All")
	}
	if o.Strict {
		q.Set("fieldValidation", "Strict")
	}
	return q
}

// Create makes an object that must not exist.
func (c *Client) Create(ctx context.Context, r Resource, o *unstructured.Unstructured, options WriteOptions) (*unstructured.Unstructured, error) {
	body, err := o.MarshalJSON()
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	at, err := r.collection(o.GetNamespace())
	if err != nil {
		return nil, err
	}
	out, err := c.call(ctx, http.MethodPost, at, options.query(), jsonType, body)
	return decoded(out, err, http.MethodPost, at)
}

// Update replaces an object; a resourceVersion in it must be the current one.
func (c *Client) Update(ctx context.Context, r Resource, o *unstructured.Unstructured, options WriteOptions) (*unstructured.Unstructured, error) {
	body, err := o.MarshalJSON()
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	return c.object(ctx, http.MethodPut, r, o.GetNamespace(), o.GetName(), "", options.query(), jsonType, body)
}

// Patch changes an object, or one of its subresources.
func (c *Client) Patch(ctx context.Context, r Resource, namespace, name, subresource string, kind types.PatchType, patch []byte, options WriteOptions) (*unstructured.Unstructured, error) {
	return c.object(ctx, http.MethodPatch, r, namespace, name, subresource, options.query(), string(kind), patch)
}

// Delete removes an object, with preconditions and propagation as given.
func (c *Client) Delete(ctx context.Context, r Resource, namespace, name string, options metav1.DeleteOptions) error {
	options.APIVersion, options.Kind = "v1", "DeleteOptions"
	body, err := json.Marshal(options)
	if err != nil {
		return err
	}
	_, err = c.served(ctx, r, func(now Resource) ([]byte, error) {
		at, err := now.at(namespace, name, "")
		if err != nil {
			return nil, err
		}
		return c.call(ctx, http.MethodDelete, at, nil, jsonType, body)
	})
	return err
}

func (r Resource) scope(namespace string) string {
	if !r.Namespaced {
		return ""
	}
	return namespace
}

// collection is the path of all objects in a namespace. A namespace that would
// lead elsewhere is none.
func (r Resource) collection(namespace string) (string, error) {
	if why := content.IsPathSegmentName(r.scope(namespace)); len(why) > 0 {
		return "", &Error{Reason: Invalid, Err: fmt.Errorf("no namespace is called %q: it %s", namespace, strings.Join(why, ", "))}
	}
	return r.Path(r.scope(namespace)), nil
}

// at is the path of an object, or of one of its subresources. A name that
// would lead elsewhere is that of no object.
func (r Resource) at(namespace, name, subresource string) (string, error) {
	for _, segment := range []string{r.scope(namespace), name} {
		if why := content.IsPathSegmentName(segment); len(why) > 0 {
			return "", &Error{Reason: NotFound, Err: fmt.Errorf("no object is called %q: it %s", segment, strings.Join(why, ", "))}
		}
	}
	if name == "" {
		return "", &Error{Reason: NotFound, Err: errors.New("an object without a name")}
	}
	if subresource != "" {
		name += "/" + subresource
	}
	return r.Path(r.scope(namespace)) + "/" + name, nil
}

func (c *Client) object(ctx context.Context, method string, r Resource, namespace, name, subresource string, q url.Values, contentType string, body []byte) (*unstructured.Unstructured, error) {
	at, err := r.at(namespace, name, subresource)
	if err != nil {
		return nil, err
	}
	out, err := c.served(ctx, r, func(now Resource) ([]byte, error) {
		if at, err = now.at(namespace, name, subresource); err != nil {
			return nil, err
		}
		return c.call(ctx, method, at, q, contentType, body)
	})
	return decoded(out, err, method, at)
}

// served makes a call for a resource. "There is no such path" does not say that
// there is no such object: the cluster is asked what it serves now, and the call
// repeated where the kind is.
func (c *Client) served(ctx context.Context, r Resource, call func(Resource) ([]byte, error)) ([]byte, error) {
	out, err := call(r)
	if !Is(err, NoKind) {
		return out, err
	}
	catalog, failed := c.Rediscover(ctx)
	if failed != nil {
		return nil, &Error{Reason: Unavailable, Err: fmt.Errorf("%s is not served any more, and the cluster does not say what is: %w", r.Path(""), failed)}
	}
	now, ok := r, catalog.has(r)
	if !ok {
		now, ok = catalog.moved(r)
	}
	switch {
	case ok:
		if out, err = call(now); Is(err, NoKind) && now == r {
			var e *Error
			if errors.As(err, &e) {
				// Its own API server does not say by a name what is not there.
				return nil, &Error{Reason: NotFound, Code: e.Code, Err: e.Err}
			}
		}
		return out, err
	case catalog.Incomplete():
		return nil, &Error{Reason: Unavailable, Err: fmt.Errorf("the cluster does not say whether it serves %s: one of its APIs does not answer", r.Path(""))}
	}
	return nil, &Error{Reason: NoKind, Code: http.StatusNotFound, Err: fmt.Errorf("the cluster serves no kind %s any more", r.KindText())}
}

func decoded(body []byte, err error, method, at string) (*unstructured.Unstructured, error) {
	if err != nil {
		return nil, err
	}
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(body); err != nil {
		return nil, &Error{Reason: Unavailable, Err: fmt.Errorf("decode the answer to %s %s: %w", method, at, err)}
	}
	return o, nil
}

// call sends one request within the client's deadline and returns the body of
// a success.
func (c *Client) call(ctx context.Context, method, at string, query url.Values, contentType string, body []byte) ([]byte, error) {
	return c.send(ctx, method, at, query, jsonType, contentType, body)
}

const jsonType = "application/json"

// metadataOf asks for the metadata of objects only, as one of the forms of it.
func metadataOf(form string) string { return jsonType + ";as=" + form + ";g=meta.k8s.io;v=v1" }

func (c *Client) send(ctx context.Context, method, at string, query url.Values, accept, contentType string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	u := *c.base
	u.Path = strings.TrimSuffix(u.Path, "/") + at
	u.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, &Error{Reason: Invalid, Err: err}
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", userAgent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	res, err := c.do(req, false)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	out, err := io.ReadAll(io.LimitReader(res.Body, objectLimit+1))
	if err == nil && len(out) > objectLimit {
		err = errTooLarge
	}
	if err != nil {
		return nil, &Error{Reason: Unavailable, Err: fmt.Errorf("read the answer: %w", err)}
	}
	if res.StatusCode < http.StatusMultipleChoices {
		return out, c.took(nil)
	}
	return nil, c.took(refused(res, out))
}

// refused makes an error of an answer that is no success.
func refused(res *http.Response, out []byte) error {
	failure := &Error{Reason: reasonOf(res), Code: res.StatusCode, RetryAfter: retryAfter(res)}
	var status metav1.Status
	if json.Unmarshal(out, &status) != nil || status.Kind != "Status" {
		failure.Err = noStatus(res)
		return failure
	}
	failure.Reason = reasonOfCode(int(status.Code), string(status.Reason))
	if failure.Reason == NotFound && (status.Details == nil || status.Details.Name == "") {
		failure.Reason = NoKind
	}
	failure.Err = errors.New(cut(status.Message))
	if status.Details != nil {
		for _, c := range status.Details.Causes {
			failure.Causes = append(failure.Causes, Cause{Type: string(c.Type), Field: c.Field, Message: cut(c.Message)})
		}
	}
	if strings.Contains(status.Message, "failed to create typed patch object") {
		failure.Reason = Unsupported // the server calls what is wrong with a manifest an error of its own
	}
	if slices.ContainsFunc(failure.Causes, func(c Cause) bool { return c.Field == "metadata.uid" }) {
		failure.Reason = Conflict // a patch that names the UID of an object that was replaced
	}
	switch status.Reason {
	case metav1.StatusReasonAlreadyExists:
		failure.Reason = Exists
	case metav1.StatusReasonConflict:
		failure.Reason = Conflict
		failure.owned = status.Details != nil && slices.ContainsFunc(status.Details.Causes, func(c metav1.StatusCause) bool {
			return c.Type == metav1.CauseTypeFieldManagerConflict
		})
	}
	return failure
}
