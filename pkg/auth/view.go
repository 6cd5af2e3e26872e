package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Authorization is what somebody may do with a resource (spinnaker/fiat,
// fiat-core/.../model/Authorization.java).
type Authorization string

// The authorizations of Fiat.
const (
	Read    Authorization = "READ"
	Write   Authorization = "WRITE"
	Execute Authorization = "EXECUTE"
	Create  Authorization = "CREATE"
)

// view is what Fiat says of a user (accounts.md 8.1), by lower-case names.
type view struct {
	admin, manager bool
	// unknownApplications allows applications that are not listed.
	unknownApplications bool
	// everyApplication allows all: it is Java's legacy fallback.
	everyApplication bool
	accounts         grants
	applications     grants
	roles            map[string]bool
	// mark is the same for views that allow the same.
	mark string
}

// grants are authorizations by resource.
type grants map[string]map[Authorization]bool

func (g grants) allow(name string, wanted Authorization) bool {
	return g[strings.ToLower(name)][wanted]
}

func (g grants) lists(name string) bool {
	_, ok := g[strings.ToLower(name)]
	return ok
}

func (v *view) account(name string, wanted Authorization) bool {
	return name != "" && (v.admin || v.accounts.allow(name, wanted))
}

func (v *view) application(name string, wanted Authorization) bool {
	switch {
	case name == "":
		return false
	case v.admin, v.everyApplication:
		return true
	case v.applications.lists(name):
		return v.applications.allow(name, wanted)
	}
	return v.unknownApplications
}

// wireView is Fiat's answer.
type wireView struct {
	Name                             string
	Accounts, Applications           []wireGrant
	Roles                            []struct{ Name string }
	Admin, AccountManager            bool
	LegacyFallback                   bool
	AllowAccessToUnknownApplications bool
}

type wireGrant struct {
	Name           string
	Authorizations []Authorization
}

// decode reads Fiat's answer. What is none is an error: a page of a proxy must
// not be taken for somebody who may nothing, nor for one who may all.
func decode(body []byte) (*view, error) {
	var w *wireView
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, errors.New("its answer is not the JSON of a user's permissions")
	}
	if w == nil || w.Name == "" {
		return nil, errors.New("its answer is no user's permissions: it has no name")
	}
	out := &view{
		admin: w.Admin, manager: w.AccountManager, unknownApplications: w.AllowAccessToUnknownApplications, everyApplication: w.LegacyFallback,
		accounts: granted(w.Accounts), applications: granted(w.Applications), roles: map[string]bool{},
	}
	for _, r := range w.Roles {
		out.roles[strings.ToLower(r.Name)] = true
	}
	if out.admin { // who may all needs no list
		out.accounts, out.applications = nil, nil
	}
	out.sign()
	return out, nil
}

func granted(list []wireGrant) grants {
	out := grants{}
	for _, g := range list {
		name := strings.ToLower(g.Name)
		if name == "" {
			continue
		}
		if out[name] == nil {
			out[name] = map[Authorization]bool{}
		}
		for _, a := range g.Authorizations {
			out[name][a] = true
		}
	}
	return out
}

// sign gives the view its mark.
func (v *view) sign() {
	if v.admin {
		v.mark = "admin"
		return
	}
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%t %t\n", v.unknownApplications, v.everyApplication) // a hash takes everything
	for _, g := range []grants{v.accounts, v.applications} {
		for _, name := range slices.Sorted(maps.Keys(g)) {
			_, _ = fmt.Fprintf(sum, "%s %v\n", strconv.Quote(name), slices.Sorted(maps.Keys(g[name])))
		}
		_, _ = fmt.Fprintln(sum)
	}
	v.mark = base64.RawURLEncoding.EncodeToString(sum.Sum(nil))
}

// fallbackView is what Java's legacy fallback makes of the accounts that Gate
// names (accounts.md 8.2).
func fallbackView(accounts []string) *view {
	out := &view{unknownApplications: true, everyApplication: true, accounts: grants{}, applications: grants{}, roles: map[string]bool{}}
	for _, name := range accounts {
		out.accounts[strings.ToLower(name)] = map[Authorization]bool{Read: true, Write: true, Execute: true, Create: true}
	}
	out.sign()
	return out
}
