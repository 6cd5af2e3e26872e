package fallback

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// filtered says whether there is anything that the caller may not see.
func (q Question) filtered() bool { return q.SeesAccount != nil }

// visible is the other's part of a list without what the caller may not see. A
// list without a filter is for everybody.
func (q Question) visible(j *Join, other []byte) ([]byte, error) {
	if !q.filtered() || j.Filter == nil {
		return other, nil
	}
	return j.Filter(q, other)
}

// sees says whether the caller may see something of an account and of an
// application; what has none of either is shown, as Java shows it (accounts.md
// 8.4).
func (q Question) sees(account, application string) bool {
	return (account == "" || q.SeesAccount(account)) && (application == "" || q.SeesApplication(application))
}

// owned is what tells whose an object is, in the spellings of the lists.
type owned struct {
	Account     string
	AccountName string
	App         string
	Application string
	Moniker     struct{ App string }
}

func (q Question) seesObject(raw json.RawMessage) bool {
	var o owned
	if json.Unmarshal(raw, &o) != nil {
		return false // nobody can tell whose it is
	}
	return q.sees(cmp.Or(o.Account, o.AccountName), cmp.Or(o.Moniker.App, o.App, o.Application))
}

func filterElements(q Question, other []byte) ([]byte, error) {
	var list []json.RawMessage
	if err := decode(other, &list); err != nil {
		return nil, err
	}
	return view.Encode(slices.DeleteFunc(list, func(raw json.RawMessage) bool { return !q.seesObject(raw) })), nil
}

// withoutHidden takes the accounts that are hidden out of a map by account.
func (q Question) withoutHidden(byAccount map[string]any) {
	for name := range byAccount {
		if !q.SeesAccount(name) {
			delete(byAccount, name)
		}
	}
}

func filterByAccount(q Question, other []byte) ([]byte, error) {
	var accounts map[string]any
	if err := decode(other, &accounts); err != nil {
		return nil, err
	}
	q.withoutHidden(accounts)
	return view.Encode(accounts), nil
}

func filterApplication(q Question, other []byte) ([]byte, error) {
	var application map[string]any
	if err := decode(other, &application); err != nil {
		return nil, err
	}
	q.withoutHiddenClusters(application)
	return view.Encode(application), nil
}

func (q Question) withoutHiddenClusters(application map[string]any) {
	for _, key := range []string{"clusters", "clusterNames"} {
		if accounts, ok := application[key].(map[string]any); ok {
			q.withoutHidden(accounts)
		}
	}
}

func filterApplications(q Question, other []byte) ([]byte, error) {
	var list []map[string]any
	if err := decode(other, &list); err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(application map[string]any) bool {
		name, _ := application["name"].(string)
		return name == "" || !q.SeesApplication(name)
	})
	for _, application := range list {
		q.withoutHiddenClusters(application)
	}
	return view.Encode(list), nil
}

// filterProjects empties the clusters that are hidden: they stay where they are,
// since both parts have as many.
func filterProjects(q Question, other []byte) ([]byte, error) {
	var list []map[string]any
	if err := decode(other, &list); err != nil {
		return nil, err
	}
	for _, cluster := range list {
		applications, _ := cluster["applications"].([]any)
		account, _ := cluster["account"].(string)
		kept := slices.DeleteFunc(applications, func(one any) bool {
			application, _ := one.(map[string]any)
			name, _ := application["application"].(string)
			return !q.sees(account, name)
		})
		if len(kept) < len(applications) {
			cluster["applications"] = kept
			delete(cluster, "instanceCounts") // of all of them together
		}
	}
	return view.Encode(list), nil
}

func filterSearch(q Question, other []byte) ([]byte, error) {
	var sets []view.SearchResults
	if err := decode(other, &sets); err != nil {
		return nil, err
	}
	for i := range sets {
		sets[i].Results = slices.DeleteFunc(sets[i].Results, func(hit any) bool {
			object, _ := hit.(map[string]any)
			text := func(key string) string {
				s, _ := object[key].(string)
				return s
			}
			application := text("application")
			if text("type") == "applications" {
				application = cmp.Or(application, text("name"))
			}
			return object == nil || !q.sees(text("account"), application)
		})
		sets[i].TotalMatches = len(sets[i].Results) // how many more are hidden is not told
	}
	return view.Encode(sets), nil
}
