package api

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/datapunchorg/go-clouddriver/pkg/fallback"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

const (
	searchPage = 10_000 // Java Clouddriver's default, and the most
	// searchDeepest bounds what a search has to sort.
	searchDeepest = 100_000
)

// search finds objects, applications, clusters and projects (read-rest.md 3.2).
func (s *Server) search(r *request) (reply, error) {
	query := r.URL.Query()
	types, given := list(query, "type")
	if !given {
		return reply{}, bad("Required request parameter 'type' is not present")
	}
	page, size, err := searchPaging(query)
	if err != nil {
		return reply{}, err
	}
	out := view.SearchResults{PageNumber: page, PageSize: size, Platform: "aws", Query: query.Get("q"), Results: []any{}}
	platform := query.Get("platform")
	if platform == kubernetes {
		out.Platform = kubernetes
	}
	if other := query.Get("cloudProvider"); (platform == "" || platform == kubernetes || platform == "front50") && (other == "" || other == kubernetes) {
		out.Results, out.TotalMatches = s.found(r, types, platform, out.Query, (page-1)*size, size)
	}
	return answered(newAnswer(view.Encode([]view.SearchResults{out}))), nil
}

// askForHits asks another Clouddriver for all hits that may be its own: they come
// after all of ours, wherever those end.
func askForHits(q fallback.Question, r *http.Request) *http.Request {
	if account := q.Query.Get("account"); account != "" && q.IsOurs(account) {
		return nil
	}
	if _, _, err := searchPaging(q.Query); err != nil {
		return nil // we say what is wrong
	}
	query := r.URL.Query()
	query.Set("page", "1")
	query.Set("pageSize", strconv.Itoa(searchPage))
	out := r.Clone(r.Context())
	out.URL.RawQuery = query.Encode()
	return out
}

func searchPaging(query url.Values) (page, size int, err error) {
	if size, err = positive(query, "pageSize", searchPage, searchPage); err == nil {
		page, err = positive(query, "page", 1, searchDeepest)
	}
	return page, size, err
}

func positive(q url.Values, name string, byDefault, most int) (int, error) {
	text := q.Get(name)
	if text == "" {
		return byDefault, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, bad("%s: %q is not a positive number", name, text)
	}
	return min(n, most), nil
}

// found is a page of the results, and how many there are: first what is
// logical, then objects, the best first of each. The platforms are this service
// and Front50; "" is both.
func (s *Server) found(r *request, types []string, platform, text string, skip, most int) ([]any, int) {
	q := index.Search{Text: text, Account: r.URL.Query().Get("account"), Namespace: cmp.Or(r.URL.Query().Get("namespace"), r.URL.Query().Get("region"))}
	var logical []map[string]any
	slices.SortStableFunc(types, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	for _, t := range slices.CompactFunc(types, strings.EqualFold) {
		class := spinnaker.Class(t)
		for _, known := range []spinnaker.Class{spinnaker.ServerGroups, spinnaker.ServerGroupManagers, spinnaker.LoadBalancers, spinnaker.SecurityGroups, spinnaker.Instances, spinnaker.Configs} {
			if strings.EqualFold(t, string(known)) {
				class = known
			}
		}
		switch {
		case class.Valid() && class != spinnaker.Unclassified:
			q.Classes = append(q.Classes, class)
		case strings.EqualFold(t, "applications"):
			logical = append(logical, ranked(s.foundApplications(r, platform, text, q.Account), text)...)
		case strings.EqualFold(t, "clusters"):
			if platform != "front50" {
				logical = append(logical, ranked(s.foundClusters(r, text, q.Account), text)...)
			}
		case strings.EqualFold(t, "projects"):
			if platform != kubernetes && q.Account == "" {
				logical = append(logical, ranked(s.foundProjects(r, text), text)...)
			}
		default:
			q.Kinds = append(q.Kinds, t)
		}
	}
	out := []any{}
	for _, hit := range logical[min(skip, len(logical)):min(skip+most, len(logical))] {
		out = append(out, hit)
	}
	q.Skip = max(0, skip-len(logical))
	q.Most = most - len(out)
	if q.Skip+q.Most > searchDeepest {
		q.Skip, q.Most = 0, 0 // nobody leafs that far
	}
	if platform == "front50" {
		return out, len(logical)
	}
	hits, total := s.sees(r).Search(q)
	out = slices.Grow(out, len(hits))
	for _, h := range hits {
		out = append(out, view.SearchHit(h))
	}
	return out, len(logical) + total
}

// ranked puts hits in the order of objects that are found.
func ranked(hits []map[string]any, text string) []map[string]any {
	text = strings.ToLower(text)
	rank := func(hit map[string]any) int {
		name, _ := hit["name"].(string)
		name = strings.ToLower(name)
		return index.Rank(strings.Index(name, text), len(text), len(name))
	}
	slices.SortStableFunc(hits, func(a, b map[string]any) int { return cmp.Compare(rank(a), rank(b)) })
	return hits
}

// foundApplications are those that are deployed, in one account when it is
// given, and those that Front50 knows. Without Front50 there are only the former.
func (s *Server) foundApplications(r *request, platform, text, accountName string) []map[string]any {
	text = strings.ToLower(text)
	known := map[string]map[string]any{}
	if s.Front50 != nil && platform != kubernetes {
		ctx, cancel := context.WithTimeout(r.Context(), front50Wait)
		defer cancel()
		all, err := s.Front50.Applications(ctx)
		if err != nil {
			s.Log.Warn("a search goes without Front50's applications", "error", err)
		}
		for _, a := range all {
			if name, _ := a["name"].(string); name != "" && s.sees(r).application(name) {
				known[strings.ToLower(name)] = a
			}
		}
	}
	names := map[string]string{}
	for key, a := range known {
		if accountName == "" {
			names[key], _ = a["name"].(string)
		}
	}
	for _, a := range s.sees(r).Applications() {
		if _, there := a.Clusters[accountName]; platform != "front50" && (accountName == "" || there) {
			names[strings.ToLower(a.Name)] = a.Name
		}
	}
	var out []map[string]any
	for _, key := range slices.Sorted(maps.Keys(names)) {
		if index.Contains(key, text) {
			out = append(out, view.ApplicationHit(names[key], known[key]))
		}
	}
	return out
}

// front50Wait is how long a search waits for Front50 before it goes without.
const front50Wait = 2 * time.Second

func (s *Server) foundClusters(r *request, text, accountName string) []map[string]any {
	var out []map[string]any
	text = strings.ToLower(text)
	accounts := map[string]bool{} // that have the text in their names
	for _, a := range s.sees(r).Applications() {
		all := index.Contains(a.Name, text)
		// Most accounts have the same clusters, and most applications none that is meant.
		some := all || !r.caller.SeesEverything() || slices.ContainsFunc(listedOf(a).clusters(), func(cluster string) bool { return index.Contains(cluster, text) })
		found := map[string][]string{}
		for account, clusters := range a.Clusters {
			if accountName != "" && account != accountName {
				continue
			}
			named, known := accounts[account]
			if !known {
				named = index.Contains(account, text)
				accounts[account] = named
			}
			if all || named {
				found[account] = clusters
				continue
			}
			if !some {
				continue
			}
			for _, cluster := range clusters {
				if index.Contains(cluster, text) {
					found[account] = append(found[account], cluster)
				}
			}
		}
		for _, account := range slices.Sorted(maps.Keys(found)) {
			for _, cluster := range found[account] {
				out = append(out, view.ClusterHit(account, a.Name, cluster))
			}
		}
	}
	return out
}

func (s *Server) foundProjects(r *request, text string) []map[string]any {
	text = strings.ToLower(text)
	if s.Front50 == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), front50Wait)
	defer cancel()
	all, err := s.Front50.Projects(ctx)
	if err != nil {
		s.Log.Warn("a search goes without Front50's projects", "error", err)
		return nil
	}
	var out []map[string]any
	for _, p := range all {
		name, _ := p["name"].(string)
		config, _ := p["config"].(map[string]any)
		applications, _ := config["applications"].([]any)
		if index.Contains(name, text) || slices.ContainsFunc(applications, func(a any) bool {
			application, _ := a.(string)
			return index.Contains(application, text)
		}) {
			out = append(out, view.ProjectHit(p))
		}
	}
	return out
}
