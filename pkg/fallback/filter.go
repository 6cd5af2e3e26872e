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

// edited decodes a part, changes it, and encodes it again.
func edited[T any](other []byte, change func(*T)) ([]byte, error) {
	var part T
	if err := decode(other, &part); err != nil {
		return nil, err
	}
	change(&part)
	return view.Encode(part), nil
}

func filterElements(q Question, other []byte) ([]byte, error) {
	return edited(other, func(list *[]json.RawMessage) {
		*list = slices.DeleteFunc(*list, func(raw json.RawMessage) bool { return !q.seesObject(raw) })
	})
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
	return edited(other, func(accounts *map[string]any) { q.withoutHidden(*accounts) })
}

func filterApplication(q Question, other []byte) ([]byte, error) {
	return edited(other, func(application *map[string]any) { q.withoutHiddenClusters(*application) })
}

func (q Question) withoutHiddenClusters(application map[string]any) {
	for _, key := range []string{"clusters", "clusterNames"} {
		if accounts, ok := application[key].(map[string]any); ok {
			q.withoutHidden(accounts)
		}
	}
}

func filterApplications(q Question, other []byte) ([]byte, error) {
	return edited(other, func(list *[]map[string]any) {
		*list = slices.DeleteFunc(*list, func(application map[string]any) bool {
			name := text(application, "name")
			return name == "" || !q.SeesApplication(name)
		})
		for _, application := range *list {
			q.withoutHiddenClusters(application)
		}
	})
}

// filterProjects empties the clusters that are hidden: they stay where they are,
// since both parts have as many.
func filterProjects(q Question, other []byte) ([]byte, error) {
	return edited(other, func(list *[]map[string]any) {
		for _, cluster := range *list {
			applications, _ := cluster["applications"].([]any)
			kept := slices.DeleteFunc(applications, func(one any) bool {
				return !q.sees(text(cluster, "account"), text(one, "application"))
			})
			if len(kept) < len(applications) {
				cluster["applications"] = kept
				delete(cluster, "instanceCounts") // of all of them together
			}
		}
	})
}

func filterSearch(q Question, other []byte) ([]byte, error) {
	return edited(other, func(sets *[]view.SearchResults) {
		for i := range *sets {
			set := &(*sets)[i]
			set.Results = slices.DeleteFunc(set.Results, func(hit any) bool {
				application := text(hit, "application")
				if text(hit, "type") == "applications" {
					application = cmp.Or(application, text(hit, "name"))
				}
				_, object := hit.(map[string]any)
				return !object || !q.sees(text(hit, "account"), application)
			})
			set.TotalMatches = len(set.Results) // how many more are hidden is not told
		}
	})
}
