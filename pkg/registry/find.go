package registry

import (
	"iter"
	"slices"
	"strings"
)

// Query says which tags are looked for. Empty texts look for all.
type Query struct {
	// Text is in the reference, in any case.
	Text string
	// Repository and Tag are exact.
	Repository, Tag string
	// Most is how many are found at most; 0 for all.
	Most int
}

// Hit is a tag that was found.
type Hit struct {
	Account    *Account
	Repository string
	Tag        Tag
}

// Reference is the name by which an image is pulled.
func (h Hit) Reference() string {
	return h.Account.Registry + "/" + h.Repository + ":" + h.Tag.Name
}

// Find goes through the tags of accounts, by repository and tag.
func (r *Registries) Find(accounts []*Account, family Family, q Query) iter.Seq[Hit] {
	text := strings.ToLower(q.Text)
	return func(yield func(Hit) bool) {
		found := 0
		for _, a := range accounts {
			for _, repository := range r.Repositories(a.Name, family) {
				if q.Repository != "" && repository.Name != q.Repository {
					continue
				}
				for _, tag := range repository.Tags {
					hit := Hit{a, repository.Name, tag}
					if q.Tag != "" && tag.Name != q.Tag || text != "" && !strings.Contains(strings.ToLower(hit.Reference()), text) {
						continue
					}
					if !yield(hit) {
						return
					}
					if found++; found == q.Most {
						return
					}
				}
			}
		}
	}
}

// TagNames are the tags of a repository as forms show them: by name, or the newest
// first where the account wants that, and those of an unknown age last.
func (r *Registries) TagNames(a *Account, family Family, name string) []string {
	out := []string{}
	repository := r.Repository(a.Name, family, name)
	if repository == nil {
		return out
	}
	tags := slices.Clone(repository.Tags)
	if a.SortTagsByDate {
		slices.SortStableFunc(tags, func(a, b Tag) int { return b.created().Compare(a.created()) })
	}
	for _, tag := range tags {
		out = append(out, tag.Name)
	}
	return out
}
