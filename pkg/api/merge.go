package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// merge makes one answer of ours and the fallback's. What it has of accounts
// that are ours is dropped: while an account moves, both may have it. It fails
// on an answer of another shape.
type merge func(mine, other []byte, isOurs func(account string) bool) ([]byte, error)

func decodeBoth(mine, other []byte, into, from any) error {
	if err := json.Unmarshal(mine, into); err != nil {
		return err
	}
	if err := json.Unmarshal(other, from); err != nil {
		return fmt.Errorf("read its answer: %w", err)
	}
	return nil
}

// isObject tells what lists are made of from what would break their readers.
func isObject(element json.RawMessage) bool { return len(element) > 0 && element[0] == '{' }

// mergeByAccount joins arrays of objects of accounts.
func mergeByAccount(mine, other []byte, isOurs func(string) bool) ([]byte, error) {
	var out, more []json.RawMessage
	if err := decodeBoth(mine, other, &out, &more); err != nil {
		return nil, err
	}
	for _, element := range more {
		var d struct{ Account string }
		_ = json.Unmarshal(element, &d) // what has no account is nobody's
		if isObject(element) && (d.Account == "" || !isOurs(d.Account)) {
			out = append(out, element)
		}
	}
	return view.Encode(append([]json.RawMessage{}, out...)), nil
}

// mergeByName joins arrays of objects whose names are taken once.
func mergeByName(mine, other []byte, _ func(string) bool) ([]byte, error) {
	var out, more []json.RawMessage
	if err := decodeBoth(mine, other, &out, &more); err != nil {
		return nil, err
	}
	taken := map[string]bool{}
	name := func(element json.RawMessage) string {
		var d struct{ Name string }
		_ = json.Unmarshal(element, &d) // nameless ones are all kept
		return d.Name
	}
	for _, element := range out {
		taken[name(element)] = true
	}
	for _, element := range more {
		if n := name(element); isObject(element) && (n == "" || !taken[n]) {
			out = append(out, element)
		}
	}
	return view.Encode(append([]json.RawMessage{}, out...)), nil
}

// mergeObjects joins objects: an application, and maps by account.
func mergeObjects(mine, other []byte, isOurs func(string) bool) ([]byte, error) {
	var out, more map[string]any
	if err := decodeBoth(mine, other, &out, &more); err != nil {
		return nil, err
	}
	return view.Encode(joined(out, more, isOurs)), nil
}

// joined adds what another object has. Texts stay as they are but for the list
// of an application's providers.
func joined(out, more map[string]any, isOurs func(string) bool) map[string]any {
	for key, theirs := range more {
		mine, both := out[key]
		switch first := mine.(type) {
		case map[string]any:
			if second, ok := theirs.(map[string]any); ok && !isOurs(key) {
				out[key] = joined(first, second, isOurs)
			}
		case string:
			if second, ok := theirs.(string); ok && key == "cloudProviders" {
				providers := append(strings.Split(first, ","), strings.Split(second, ",")...)
				slices.Sort(providers)
				out[key] = strings.Join(slices.Compact(providers), ",")
			}
		default:
			if !both && !isOurs(key) {
				out[key] = theirs
			}
		}
	}
	return out
}

// mergeApplications joins the lists of applications, by name.
func mergeApplications(mine, other []byte, isOurs func(string) bool) ([]byte, error) {
	var out, more []map[string]any
	if err := decodeBoth(mine, other, &out, &more); err != nil {
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
			joined(first, a, isOurs)
		} else if a != nil {
			out = append(out, a)
		}
	}
	slices.SortStableFunc(out, func(a, b map[string]any) int { return cmp.Compare(name(a), name(b)) })
	return view.Encode(append([]map[string]any{}, out...)), nil
}

// mergeSearch joins the one result set of each, ours first, within one page.
func mergeSearch(mine, other []byte, isOurs func(string) bool) ([]byte, error) {
	var out, more []view.SearchResults
	if err := decodeBoth(mine, other, &out, &more); err != nil {
		return nil, err
	}
	for _, set := range more {
		kept := slices.DeleteFunc(set.Results, func(hit map[string]any) bool {
			account, _ := hit["account"].(string)
			return hit == nil || account != "" && isOurs(account)
		})
		room := max(0, out[0].PageSize-len(out[0].Results))
		out[0].Results = append(out[0].Results, kept[:min(room, len(kept))]...)
		out[0].TotalMatches += len(kept)
	}
	return view.Encode(out), nil
}

// mergeProjects takes the clusters of a project from whoever has the account.
func mergeProjects(mine, other []byte, isOurs func(string) bool) ([]byte, error) {
	var out, more []json.RawMessage
	if err := decodeBoth(mine, other, &out, &more); err != nil {
		return nil, err
	}
	if len(out) != len(more) { // read while the project was changed
		return mine, nil
	}
	for i := range out {
		var d struct{ Account string }
		if json.Unmarshal(out[i], &d) == nil && !isOurs(d.Account) && isObject(more[i]) {
			out[i] = more[i]
		}
	}
	return view.Encode(out), nil
}
