package auth

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Anonymous is who asks without a name.
const Anonymous = "anonymous"

// Caller is who asks, and what they may.
type Caller struct {
	// User is the name in X-SPINNAKER-USER, or Anonymous.
	User string
	// open means that nobody is asked what callers may: there is no Fiat.
	open bool
	// view is nil for one of whom nothing is known; why says so.
	view *view
	why  error
	// listed are the accounts that Gate lets the caller write to, as its header has
	// them.
	listed string
}

// Denied is a refusal. Its text is what Java says (accounts.md 8.3).
type Denied struct{ text string }

func (d *Denied) Error() string { return d.text }

func denied(resource, name string, wanted Authorization) error {
	return &Denied{fmt.Sprintf("Access denied to %s %s - required authorization: %s", resource, name, wanted)}
}

// Unreachable is returned when it cannot be found out what a caller may: Fiat
// fails. Nothing is allowed then.
type Unreachable struct{ Err error }

func (u *Unreachable) Error() string {
	return "Access is denied: Fiat cannot be asked what the caller may: " + u.Err.Error()
}

// Unwrap is the cause.
func (u *Unreachable) Unwrap() error { return u.Err }

// NotManager is the refusal of somebody who may not manage accounts.
var NotManager error = &Denied{"Access is denied: only account managers and administrators may manage accounts"}

// ErrUnknownUser is returned for somebody whom Fiat does not know: one who has
// never logged in.
var ErrUnknownUser = errors.New("fiat does not know the user")

// Everybody is the caller of a service without Fiat.
func Everybody(header http.Header) *Caller {
	return &Caller{User: userOf(header), open: true, listed: header.Get(accountsHeader)}
}

func userOf(header http.Header) string {
	if user := strings.TrimSpace(header.Get("X-Spinnaker-User")); user != "" {
		return user
	}
	return Anonymous
}

// Named says whether a request says who asks.
func Named(header http.Header) bool { return userOf(header) != Anonymous }

const accountsHeader = "X-Spinnaker-Accounts"

// accountsIn are the names in that header.
func accountsIn(listed string) []string {
	var out []string
	for name := range strings.SplitSeq(listed, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// Known is nil for a caller of whom it is known what they may.
func (c *Caller) Known() error {
	switch {
	case c.open, c.view != nil:
		return nil
	case c.why == nil, errors.Is(c.why, ErrUnknownUser):
		return &Denied{"Access is denied"}
	}
	return c.why
}

// Account is nil when the caller may do that with an account. Without Fiat
// everybody may read everything; who may write is Operate's to say.
func (c *Caller) Account(name string, wanted Authorization) error {
	return c.decided(c.mayAccount(name, wanted), "account", name, wanted)
}

func (c *Caller) mayAccount(name string, wanted Authorization) bool {
	return c.open || c.view != nil && c.view.account(name, wanted)
}

func (c *Caller) mayApplication(name string, wanted Authorization) bool {
	return c.open || c.view != nil && c.view.application(name, wanted)
}

// decided is nil for what is allowed, else the refusal.
func (c *Caller) decided(allowed bool, resource, name string, wanted Authorization) error {
	switch {
	case allowed:
		return nil
	case c.view == nil:
		return c.Known()
	}
	return denied(resource, name, wanted)
}

// Application is nil when the caller may do that with an application.
func (c *Caller) Application(name string, wanted Authorization) error {
	return c.decided(c.mayApplication(name, wanted), "application", name, wanted)
}

// Operate says whether the caller may run an operation on an account, and the
// finding of the validation if not (accounts.md 8.3, 8.8). Without Fiat, Gate
// says who may use an account that is restricted.
func (c *Caller) Operate(account string, restricted bool, operation string) (finding string, ok bool) {
	if c.open {
		same := func(name string) bool { return strings.EqualFold(name, account) }
		if !restricted || slices.ContainsFunc(accountsIn(c.listed), same) {
			return "", true
		}
		return fmt.Sprintf("%s is not authorized (account: %s, description: %s)", c.User, account, operation), false
	}
	if c.mayAccount(account, Write) {
		return "", true
	}
	return "Access denied to account " + account, false
}

// SeesAccount and SeesApplication are the same as Account and Application for
// reading, for filters.
func (c *Caller) SeesAccount(name string) bool { return c.mayAccount(name, Read) }

// SeesApplication says whether the caller may read an application.
func (c *Caller) SeesApplication(name string) bool { return c.mayApplication(name, Read) }

// SeesEverything says that nothing is to be filtered.
func (c *Caller) SeesEverything() bool { return c.open || c.view != nil && c.view.admin }

// Mark is the same for callers who may see the same, "" for everything: what is
// rendered for one is shown to nobody else.
func (c *Caller) Mark() string {
	switch {
	case c.SeesEverything():
		return ""
	case c.view == nil:
		return "nothing"
	}
	return c.view.mark
}

// Admin says whether the caller is an administrator of Spinnaker. Without Fiat
// there are none that could be told from others, and everybody passes.
func (c *Caller) Admin() bool { return c.open || c.view != nil && c.view.admin }

// Manages says whether the caller may manage accounts.
func (c *Caller) Manages() bool { return c.Admin() || c.view != nil && c.view.manager }

// HasRole says whether the caller has one of the roles; everybody has without
// Fiat, and administrators do.
func (c *Caller) HasRole(roles []string) bool {
	if c.Admin() {
		return true
	}
	for _, role := range roles {
		if c.view != nil && c.view.roles[strings.ToLower(strings.TrimSpace(role))] {
			return true
		}
	}
	return false
}
