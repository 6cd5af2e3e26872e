package fallback

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// Join makes one list of ours and the other's. Its functions are pure.
type Join struct {
	// Merge makes one body of both, ours nil for none; nil when nothing is left.
	// It fails on an answer of another shape.
	Merge func(q Question, mine, other []byte) ([]byte, error)
	// Filter takes out of the other's part what the caller may not see; nil for
	// lists that everybody may see.
	Filter func(q Question, other []byte) ([]byte, error)
	// Ask is what the other is asked for its part, nil when it has none; without
	// Ask, the same as we are.
	Ask func(q Question, r *http.Request) *http.Request
	// Keep names lists whose last part is shown while the other does not answer,
	// nil for none.
	Keep func(q Question) string
}

// Question is what a Join knows of its request.
type Question struct {
	Query url.Values
	// IsOurs says whether an account is here. What the other has of those is
	// dropped: while an account moves, both may have it.
	IsOurs func(account string) bool
	// SeesAccount and SeesApplication say what the caller may see; nil for
	// everything.
	SeesAccount, SeesApplication func(name string) bool
}

// Joins of lists, by what they are sorted by or made of.
var (
	ByPlace      = &Join{Merge: mergeByPlace, Filter: filterElements}
	ByName       = &Join{Merge: mergeByName, Filter: filterElements}
	Unique       = &Join{Merge: mergeUnique}
	ByAccount    = &Join{Merge: mergeObjects, Filter: filterByAccount}
	Application  = &Join{Merge: mergeObjects, Filter: filterApplication}
	Applications = &Join{Merge: mergeApplications, Filter: filterApplications}
	Projects     = &Join{Merge: mergeProjects, Filter: filterProjects}
	// Tasks of the other do not say which accounts they act on: whoever may not
	// see everything is shown none.
	Tasks = &Join{Merge: mergeByPlace, Filter: func(Question, []byte) ([]byte, error) { return []byte("[]"), nil }}
)

// Accounts joins lists of accounts: Fiat and Gate load them seldom, and take one
// that is missing for gone.
var Accounts = &Join{Merge: mergeUnique, Keep: func(q Question) string {
	if strings.EqualFold(q.Query.Get("expand"), "true") {
		return "accounts in full"
	}
	return "accounts" // few names, since anybody may ask
}}

// Search joins result sets. The other is asked for all of its hits, since they
// come after all of ours.
func Search(ask func(q Question, r *http.Request) *http.Request) *Join {
	return &Join{Merge: mergeSearch, Filter: filterSearch, Ask: ask}
}

var errShape = errors.New("its answer has another shape")

// decode reads JSON with its numbers as they are; null is of another shape.
func decode(raw []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) || d.Decode(into) != nil {
		return errShape
	}
	return nil
}

// element is one of a list, with what it is sorted by.
type element struct {
	raw json.RawMessage

	Account, Namespace, Region, Kind, Name string
}

// elements reads a list. What is no object would break its readers, and is left
// out.
func elements(raw []byte) ([]element, error) {
	if raw == nil {
		return nil, nil
	}
	var list []json.RawMessage
	if err := decode(raw, &list); err != nil {
		return nil, err
	}
	out := make([]element, 0, len(list))
	for _, one := range list {
		if len(one) == 0 || one[0] != '{' {
			continue
		}
		e := element{raw: one}
		_ = json.Unmarshal(one, &e) // other providers may have other types there
		e.Namespace = cmp.Or(e.Namespace, e.Region)
		out = append(out, e)
	}
	return out, nil
}

func bothElements(mine, other []byte) (out, more []element, err error) {
	if out, err = elements(mine); err == nil {
		more, err = elements(other)
	}
	return out, more, err
}

func encodeElements(list []element) []byte {
	out := make([]json.RawMessage, 0, len(list))
	for _, e := range list {
		out = append(out, e.raw)
	}
	return view.Encode(out)
}

// joinedLists adds the fallback's elements that are wanted to ours, in order.
func joinedLists(mine, other []byte, wanted func(element) bool, order func(a, b element) int) ([]byte, error) {
	out, more, err := bothElements(mine, other)
	if err != nil {
		return nil, err
	}
	for _, e := range more {
		if wanted(e) {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, order)
	return encodeElements(out), nil
}

func (j Question) isTheirs(e element) bool { return e.Account == "" || !j.IsOurs(e.Account) }

// mergeByPlace joins arrays of objects of accounts, in the order of
// read-lists.md 2.0.
func mergeByPlace(j Question, mine, other []byte) ([]byte, error) {
	return joinedLists(mine, other, j.isTheirs, func(a, b element) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
}

// mergeByName is the same in the order of load balancers.
func mergeByName(j Question, mine, other []byte) ([]byte, error) {
	return joinedLists(mine, other, j.isTheirs, func(a, b element) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Namespace, b.Namespace))
	})
}

// mergeUnique joins arrays of objects whose names are taken once.
func mergeUnique(_ Question, mine, other []byte) ([]byte, error) {
	taken := map[string]bool{}
	own, err := elements(mine)
	if err != nil {
		return nil, err
	}
	for _, e := range own {
		taken[e.Name] = true
	}
	return joinedLists(mine, other, func(e element) bool { return e.Name == "" || !taken[e.Name] }, func(a, b element) int { return cmp.Compare(a.Name, b.Name) })
}

// mergeObjects joins objects: an application, and maps by account.
func mergeObjects(j Question, mine, other []byte) ([]byte, error) {
	var more map[string]any
	if err := decode(other, &more); err != nil {
		return nil, err
	}
	if mine == nil {
		if !j.strip(more, "clusters") {
			return nil, nil
		}
		return view.Encode(more), nil
	}
	var out map[string]any
	if err := decode(mine, &out); err != nil {
		return nil, err
	}
	return view.Encode(j.joined(out, more)), nil
}

// strip takes accounts that are ours out of what only the fallback has; false
// when nothing but those was there.
func (j Question) strip(application map[string]any, key string) bool {
	accounts, _ := application[key].(map[string]any)
	had := len(accounts)
	for name := range accounts {
		if j.IsOurs(name) {
			delete(accounts, name)
		}
	}
	return had == 0 || len(accounts) > 0
}

// joined adds what another object has. Texts stay as they are but for the list
// of an application's providers.
func (j Question) joined(out, more map[string]any) map[string]any {
	for key, theirs := range more {
		mine, both := out[key]
		switch first := mine.(type) {
		case map[string]any:
			if second, ok := theirs.(map[string]any); ok && !j.IsOurs(key) {
				out[key] = j.joined(first, second)
			}
		case string:
			if second, ok := theirs.(string); ok && key == "cloudProviders" {
				providers := append(strings.Split(first, ","), strings.Split(second, ",")...)
				slices.Sort(providers)
				out[key] = strings.Join(slices.Compact(providers), ",")
			}
		default:
			if !both && !j.IsOurs(key) {
				out[key] = theirs
			}
		}
	}
	return out
}

// mergeApplications joins the lists of applications, by name.
func mergeApplications(j Question, mine, other []byte) ([]byte, error) {
	var out, more []map[string]any
	if err := errors.Join(decode(mine, &out), decode(other, &more)); err != nil {
		return nil, err
	}
	name := func(a map[string]any) string {
		text, _ := a["name"].(string)
		return strings.ToLower(text)
	}
	known := map[string]map[string]any{}
	for _, a := range out {
		known[name(a)] = a
	}
	for _, a := range more {
		if first := known[name(a)]; first != nil {
			j.joined(first, a)
		} else if a != nil && j.strip(a, "clusterNames") {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b map[string]any) int { return cmp.Compare(name(a), name(b)) })
	return view.Encode(out), nil
}

// text is a member of an object that is a text, "" for none.
func text(object any, key string) string {
	members, _ := object.(map[string]any)
	s, _ := members[key].(string)
	return s
}

// mergeSearch joins the one result set of each: the fallback's hits come after
// all of ours, and a page has what falls on it. It is asked for all of them.
func mergeSearch(j Question, mine, other []byte) ([]byte, error) {
	var out, more []view.SearchResults
	if err := errors.Join(decode(mine, &out), decode(other, &more)); err != nil {
		return nil, err
	}
	if len(out) != 1 || len(more) == 0 {
		return nil, errShape
	}
	set, theirs := &out[0], &more[0]
	// Those of applications and projects are in both, too.
	logical := func(hit any) string {
		if text(hit, "account") != "" {
			return ""
		}
		return text(hit, "type") + " " + strings.ToLower(text(hit, "name"))
	}
	seen := map[string]bool{}
	for _, hit := range set.Results {
		seen[logical(hit)] = true
	}
	account, namespace := j.Query.Get("account"), cmp.Or(j.Query.Get("namespace"), j.Query.Get("region"))
	all := len(theirs.Results)
	kept := slices.DeleteFunc(theirs.Results, func(hit any) bool {
		if _, ok := hit.(map[string]any); !ok {
			return true // it would break its readers
		}
		key := logical(hit)
		return key == "" && j.IsOurs(text(hit, "account")) || key != "" && seen[key] ||
			account != "" && text(hit, "account") != account || namespace != "" && cmp.Or(text(hit, "namespace"), text(hit, "region")) != namespace
	})
	skip := max(0, (set.PageNumber-1)*set.PageSize-set.TotalMatches)
	room := max(0, set.PageSize-len(set.Results))
	from := min(skip, len(kept))
	set.Results = append(set.Results, kept[from:min(from+room, len(kept))]...)
	// What it has beyond the page is counted as it counts it.
	set.TotalMatches += len(kept) + max(0, theirs.TotalMatches-all)
	return view.Encode(out), nil
}

// mergeProjects takes the clusters of a project from whoever has the account.
func mergeProjects(j Question, mine, other []byte) ([]byte, error) {
	out, more, err := bothElements(mine, other)
	if err != nil {
		return nil, err
	}
	switch {
	case mine == nil:
		out = more
	case len(out) == len(more): // else the project was changed in between
		for i := range out {
			if !j.IsOurs(out[i].Account) {
				out[i] = more[i]
			}
		}
	}
	return encodeElements(out), nil
}
