package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

// Version asks for the server's version, like v1.30.1, and for its clock, which
// is zero when it does not say.
func (c *Client) Version(ctx context.Context) (text string, clock time.Time, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	u := *c.base
	u.Path = u.JoinPath("version").Path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return "", time.Time{}, &Error{Reason: Invalid, Err: err}
	}
	req.Header.Set("User-Agent", userAgent)
	res, err := c.do(req, false)
	if err != nil {
		return "", time.Time{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if err := c.took(answered(res)); err != nil {
		return "", time.Time{}, err
	}
	var v version.Info
	if err := json.NewDecoder(http.MaxBytesReader(nil, res.Body, objectLimit)).Decode(&v); err != nil {
		return "", time.Time{}, &Error{Reason: Unavailable, Err: fmt.Errorf("its version: %w", err)}
	}
	clock, _ = http.ParseTime(res.Header.Get("Date")) // zero when it does not say
	return v.GitVersion, clock, nil
}

// WhoAmI asks whom the server takes us for. It changes nothing.
func (c *Client) WhoAmI(ctx context.Context) (string, error) {
	var review authenticationv1.SelfSubjectReview
	review.TypeMeta = metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "SelfSubjectReview"}
	err := c.review(ctx, "/apis/authentication.k8s.io/v1/selfsubjectreviews", &review)
	return review.Status.UserInfo.Username, err
}

// May asks whether we may do something with a kind, in one namespace or in all
// (""), and why not. It changes nothing.
func (c *Client) May(ctx context.Context, verb string, r Resource, namespace string) (allowed bool, why string, err error) {
	review := authorizationv1.SelfSubjectAccessReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "authorization.k8s.io/v1", Kind: "SelfSubjectAccessReview"},
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: r.Group, Version: r.Version, Resource: r.Plural,
		}},
	}
	err = c.review(ctx, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review)
	return review.Status.Allowed, review.Status.Reason, err
}

// review posts a question that the server answers in the object itself.
func (c *Client) review(ctx context.Context, path string, object any) error {
	body, err := json.Marshal(object)
	if err != nil {
		return &Error{Reason: Invalid, Err: err}
	}
	answer, err := c.call(ctx, http.MethodPost, path, nil, jsonType, body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, object); err != nil {
		return &Error{Reason: Unavailable, Err: fmt.Errorf("answer of %s: %w", path, err)}
	}
	return nil
}
