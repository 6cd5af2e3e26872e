package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Reason is the kind of a failure, as far as callers act on it.
type Reason string

// The reasons.
const (
	Unavailable  Reason = "unavailable"  // not reached, or too slow, or not answering as Kubernetes does
	Unauthorized Reason = "unauthorized" // the credentials are not (or no longer) accepted
	Forbidden    Reason = "forbidden"    // the identity may not do this
	NotFound     Reason = "notFound"     // no such object
	NoKind       Reason = "noKind"       // the path is not served: no such kind here, as far as is known
	Expired      Reason = "expired"      // 410: the history asked for is gone
	Unsupported  Reason = "unsupported"  // the server does not know what was asked for
	Throttled    Reason = "throttled"    // 429
	Invalid      Reason = "invalid"      // the account cannot work as configured
	Conflict     Reason = "conflict"     // the object has changed, or a precondition does not hold
	Exists       Reason = "exists"       // an object of that name is there already
	TooLarge     Reason = "tooLarge"     // what it lists is more than is held
)

// Error is a failed call to a cluster.
type Error struct {
	Reason Reason
	Err    error
	// Code is the status of the answer, 0 if there was none.
	Code int
	// RetryAfter is in seconds; 0 if the server did not say.
	RetryAfter int
	// Causes are what the server found wrong, field by field.
	Causes []Cause
	// owned says that a conflict is about fields that others own.
	owned bool
}

// Cause is one thing that is wrong with an object.
type Cause struct{ Type, Field, Message string }

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Is tells whether an error has the reason.
func Is(err error, reason Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == reason
}

// OwnedByOthers tells whether a server-side apply is in conflict with other
// field managers, and not with another writer at the same moment.
func OwnedByOthers(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.owned
}

// Message is what the server said, without our reason.
func Message(err error) string {
	var e *Error
	if errors.As(err, &e) && e.Code != 0 {
		return e.Err.Error()
	}
	return err.Error()
}

// ReasonOf finds the reason of an error; Unavailable when it has none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return Unavailable
}

// Status is the part of Kubernetes' Status object that matters here.
type Status struct {
	Code    int    `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Details struct {
		Name   string `json:"name"`
		Causes []struct {
			Reason string `json:"reason"`
		} `json:"causes"`
	} `json:"details"`
}

// ahead says that the version that was asked for is still to come, which is so
// when a cluster was restored from a backup (apimachinery, pkg/apis/meta/v1,
// CauseTypeResourceVersionTooLarge).
func (s Status) ahead() bool {
	for _, c := range s.Details.Causes {
		if c.Reason == "ResourceVersionTooLarge" {
			return true
		}
	}
	return strings.Contains(s.Message, "Too large resource version")
}

// Failure makes an error of a Status, as a watch delivers it inside the stream.
func (s Status) Failure() error {
	reason := reasonOfCode(s.Code, s.Reason)
	switch {
	case s.ahead():
		reason = Expired
	case reason == NotFound && s.Details.Name == "":
		reason = NoKind // it is the path that was not found
	}
	return &Error{Reason: reason, Code: s.Code, Err: fmt.Errorf("%s (%d %s)", cut(s.Message), s.Code, s.Reason)}
}

func reasonOfCode(code int, reason string) Reason {
	switch {
	case code == http.StatusGone, reason == "Expired", reason == "Gone":
		return Expired
	case code == http.StatusUnauthorized:
		return Unauthorized
	case code == http.StatusForbidden:
		return Forbidden
	case code == http.StatusNotFound:
		return NotFound
	case code == http.StatusMethodNotAllowed:
		return NoKind
	case code == http.StatusTooManyRequests:
		return Throttled
	case code == http.StatusBadRequest, code == http.StatusUnprocessableEntity, code == http.StatusNotAcceptable:
		return Unsupported
	}
	return Unavailable
}

// reasonOf is the reason of an answer whose body does not say it. A 404 of
// something in between, for example a load balancer without its backend, says
// nothing about objects: Kubernetes gives every answer an id for its audit log.
func reasonOf(res *http.Response) Reason {
	reason := reasonOfCode(res.StatusCode, "")
	switch {
	case reason == NotFound && res.Header.Get("Audit-Id") == "":
		return Unavailable
	case reason == NotFound:
		return NoKind // an object that is not there is said by a Status
	}
	return reason
}

// retryAfter is what a server asks for, 0 if it does not. Dates are not in use.
func retryAfter(res *http.Response) int {
	const most = 600
	n, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(n, most)
}

// answered turns anything but a JSON answer with success into an error.
func answered(res *http.Response) error {
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode < http.StatusMultipleChoices {
		if media != "application/json" {
			return &Error{Reason: Unavailable, Err: fmt.Errorf("the server answered %q, not JSON: is it a Kubernetes API server?", media[:min(len(media), 100)])}
		}
		return nil
	}
	const most = 8 << 10
	text, _ := io.ReadAll(io.LimitReader(res.Body, most)) // best effort: the code already says that it failed
	var status Status
	if media == "application/json" && json.Unmarshal(text, &status) == nil && status.Code != 0 {
		failure := status.Failure()
		var e *Error
		if errors.As(failure, &e) {
			e.RetryAfter = retryAfter(res)
		}
		return failure
	}
	return &Error{Reason: reasonOf(res), Code: res.StatusCode, RetryAfter: retryAfter(res), Err: noStatus(res)}
}

// noStatus is the error of an answer that does not speak Kubernetes. Its body is
// not quoted: it may be anybody's, and whoever reads the error is not asked who
// they are.
func noStatus(res *http.Response) error {
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode >= http.StatusMultipleChoices && res.StatusCode < http.StatusBadRequest:
		return fmt.Errorf("the server answered with a redirect (%d), which is not followed: the address of the account must be the API server's own", res.StatusCode)
	case media == "text/html":
		return fmt.Errorf("the server answered %d %s with an HTML page, which no Kubernetes API server sends", res.StatusCode, http.StatusText(res.StatusCode))
	}
	return fmt.Errorf("the server answered %d %s without saying why as Kubernetes does", res.StatusCode, http.StatusText(res.StatusCode))
}

// longestText is what is passed on of a Status, in bytes: the reason of a refused
// patch stands behind the patch.
const longestText = 10_000

// cut shortens a server's text between two characters.
func cut(text string) string {
	if len(text) <= longestText {
		return text
	}
	return strings.ToValidUTF8(text[:longestText], "") + "…"
}
