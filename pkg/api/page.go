package api

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/page"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
	"github.com/datapunchorg/go-clouddriver/pkg/view"
)

// Journal are the tasks as they were recorded; store.Store has them.
type Journal interface {
	Task(ctx context.Context, id string) (store.Task, error)
	RunningTasks(ctx context.Context) ([]store.Task, error)
	EndedTasks(ctx context.Context, before store.Place, most int) ([]store.Task, error)
	TaskChanges(ctx context.Context, id string) ([]store.TaskChange, error)
}

// pageHeaders keep a page from asking others for anything, from being shown
// within one of theirs, and from being kept.
func pageHeaders(header http.Header) {
	header.Set("Content-Security-Policy", page.Policy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "same-origin")
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "no-store")
	}
}

// showProblem shows an error to people.
func (s *Server) showProblem(w http.ResponseWriter, p problem) {
	header := w.Header()
	pageHeaders(header)
	header.Set("Content-Type", page.ContentType)
	body, err := s.Pages.Problem(p.status, p.message)
	if err != nil {
		s.Log.Error("the page of an error cannot be rendered", "error", err)
	}
	w.WriteHeader(p.status)
	_, _ = w.Write(body) // the caller may be gone
}

// shown is a rendered page as a reply.
func shown(body []byte, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	return reply{answer: newAnswer(body), mediaType: page.ContentType}, nil
}

// pageNumber is the page of a list that is asked for; what is no number is the
// first.
func pageNumber(r *request) int {
	n, err := strconv.Atoi(r.URL.Query().Get("page"))
	if err != nil {
		return 1
	}
	return n
}

func (s *Server) pageApplications(r *request) (reply, error) {
	return shown(s.Pages.Applications(s.sees(r).Applications(), r.URL.Query().Get("q"), pageNumber(r), r.health.Stale))
}

func (s *Server) pageApplication(r *request) (reply, error) {
	name := s.spelling(r.path["application"])
	var parts []page.Part
	var stale []string
	for _, h := range s.sees(r).Holdings(name) {
		parts = append(parts, pagePart(s.sees(r).Part(name, h.Account, index.Groups|index.Balancers|index.Policies)))
		if r.health.IsStale(h.Account) {
			stale = append(stale, h.Account)
		}
	}
	return shown(s.Pages.Application(name, parts, r.URL.Query().Get("q"), pageNumber(r), stale))
}

func pagePart(p index.Part) page.Part {
	out := page.Part{Account: p.Account, Policies: p.Policies}
	for _, g := range p.Groups {
		out.Groups = append(out.Groups, view.NewServerGroup(p.Account, g))
	}
	for _, b := range p.Balancers {
		out.Balancers = append(out.Balancers, view.NewLoadBalancer(p.Account, b))
	}
	return out
}

func (s *Server) pageServerGroup(r *request) (reply, error) {
	p := r.segments("application", "account", "region", "name")
	n := normalName(p[3])
	g, ok := s.sees(r).FindGroup(p[1], p[2], n.kind, n.name)
	if !ok {
		return reply{}, problem{status: http.StatusNotFound, message: p[3] + " is not in " + p[2] + " of " + p[1] + " any more, or is not shown there."}
	}
	var stale []string
	if r.health.IsStale(p[1]) {
		stale = []string{p[1]}
	}
	rep, err := shown(s.Pages.ServerGroup(p[0], p[1], view.NewServerGroup(p[1], g), pageNumber(r), stale))
	return rep.of(g.Moniker().App), err
}

func (s *Server) pageHistory(r *request) (reply, error) {
	name := r.path["application"]
	entries, err := s.History.ApplicationHistory(r.Context(), []string{name, s.spelling(name)}, before(r), historyPage)
	if err != nil {
		return reply{}, taskProblem(err)
	}
	return shown(s.Pages.History(name, s.seenHistory(r, entries), historyPage))
}

// before is the place in a list from which older ones are asked for, 0 for the
// begin.
func before(r *request) int64 {
	n, err := strconv.ParseInt(r.URL.Query().Get("before"), 10, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

func (s *Server) pageAccounts(r *request) (reply, error) {
	var all []page.Account
	for _, status := range s.Fleet.Status() {
		if !s.sees(r).account(status.Account) {
			continue
		}
		all = append(all, page.Account{Status: status, Objects: s.Index.Size(status.Account)})
	}
	q := r.URL.Query()
	return shown(s.Pages.Accounts(all, page.AccountsQuery{Text: q.Get("q"), State: q.Get("state"), Sort: q.Get("sort"), Page: pageNumber(r)}))
}

func (s *Server) pageAccount(r *request) (reply, error) {
	name := r.path["account"]
	for _, status := range s.Fleet.Status() {
		if status.Account == name {
			return shown(s.Pages.Account(page.Account{Status: status, Objects: s.Index.Size(name)}, pageNumber(r)))
		}
	}
	return reply{}, problem{status: http.StatusNotFound, message: "There is no account " + name + "."}
}

// placeOf reads where a list of tasks goes on; what cannot be read is the begin.
func placeOf(text string) store.Place {
	ended, id, _ := strings.Cut(text, "-")
	n, err := strconv.ParseInt(ended, 10, 64)
	if err != nil || n < 1 {
		return store.Place{}
	}
	return store.Place{Ended: n, ID: id}
}

func (s *Server) pageTasks(r *request) (reply, error) {
	var running []store.Task
	at := placeOf(r.URL.Query().Get("before"))
	if at == (store.Place{}) {
		var err error
		if running, err = s.Journal.RunningTasks(r.Context()); err != nil {
			return reply{}, taskProblem(err)
		}
		slices.Reverse(running)
		running = seenTasks(r, running)
	}
	ended, err := s.Journal.EndedTasks(r.Context(), at, page.TasksPerPage)
	if err != nil {
		return reply{}, taskProblem(err)
	}
	return shown(s.Pages.Tasks(running, seenTasks(r, ended)))
}

// seenTasks are those that the caller may look at.
func seenTasks(r *request, all []store.Task) []store.Task {
	return slices.DeleteFunc(all, func(t store.Task) bool {
		user, accounts := task.Asked(t)
		return !seesTask(r.caller, user, accounts)
	})
}

func (s *Server) pageTask(r *request) (reply, error) {
	id := r.path["id"]
	t, err := s.Journal.Task(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return reply{}, problem{status: http.StatusNotFound, message: "There is no task " + id + ", or it ended longer ago than tasks.keepFor."}
	}
	if err != nil {
		return reply{}, taskProblem(err)
	}
	changes, err := s.Journal.TaskChanges(r.Context(), id)
	if err != nil {
		return reply{}, taskProblem(err)
	}
	return shown(s.Pages.Task(t, changes, pageNumber(r)))
}

// mostNamed applications, and as many accounts, are shown among the hits of a
// search.
const mostNamed = 10

// taskID is what the id of a task looks like: a ULID, or a UUID of the older
// rewrite.
var taskID = regexp.MustCompile(`^([0-9A-Z]{26}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

func (s *Server) pageSearch(r *request) (reply, error) {
	text := strings.TrimSpace(r.URL.Query().Get("q"))
	lower := strings.ToLower(text)
	if text == "" {
		return shown(s.Pages.Search("", page.Found{}, r.health.Stale))
	}
	found := page.Found{Group: func(account, namespace, fullName string) bool {
		n := normalName(fullName)
		_, ok := s.sees(r).FindGroup(account, namespace, n.kind, n.name)
		return ok
	}}
	if taskID.MatchString(text) {
		if t, err := s.Journal.Task(r.Context(), text); err == nil && len(seenTasks(r, []store.Task{t})) > 0 {
			found.Task = text
		}
	}
	found.Hits, found.Total = s.sees(r).Search(index.Search{
		Text: text, Most: page.MostHits,
		Classes: []spinnaker.Class{spinnaker.ServerGroups, spinnaker.ServerGroupManagers, spinnaker.LoadBalancers, spinnaker.SecurityGroups, spinnaker.Instances},
	})
	for _, a := range s.sees(r).Applications() {
		if index.Contains(a.Name, lower) {
			found.Total++
			if len(found.Applications) < mostNamed {
				found.Applications = append(found.Applications, a)
			}
		}
	}
	if found.Task != "" {
		found.Total++
	}
	accounts, _ := s.Accounts.List()
	for _, a := range accounts {
		if s.sees(r).account(a.Name) && index.Contains(a.Name, lower) {
			found.Total++
			if len(found.Accounts) < mostNamed {
				found.Accounts = append(found.Accounts, a.Name)
			}
		}
	}
	return shown(s.Pages.Search(text, found, r.health.Stale))
}

func (s *Server) pageFigures(*request) (reply, error) { return shown(s.Pages.Figures(s.Figures())) }

func (s *Server) pageAsset(r *request) (reply, error) {
	body, mediaType, ok := page.Asset(r.path["name"])
	if !ok {
		return reply{}, problem{status: http.StatusNotFound, message: "There is no such file."}
	}
	return reply{answer: newAnswer(body), mediaType: mediaType}, nil
}
