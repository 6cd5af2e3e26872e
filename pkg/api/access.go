package api

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/datapunchorg/go-clouddriver/pkg/auth"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
	"github.com/datapunchorg/go-clouddriver/pkg/task"
)

// access is who may ask (accounts.md 8.4). What a list tells is filtered besides,
// by the sight that its handler has.
type access struct {
	// everyone may ask: nothing is told of anybody's, or Fiat and Gate ask
	// without a user. unless may let everyone in for one request.
	everyone bool
	unless   func(*http.Request) bool
	// application and account are what the caller must be allowed with those that
	// the path names.
	application, account auth.Authorization
	// queried is what the caller must be allowed with the account that the query
	// names, if it names one.
	queried auth.Authorization
	// writes says that the account is written to, so that it matters without
	// Fiat, too.
	writes bool
	// result says that the answer is of one application, which the handler names:
	// the caller must be allowed to read that, and is refused where there is none.
	result bool
	// tasks says that the task in the path goes by the accounts that it acts on.
	tasks bool
	// operations are decided one by one, with their validation.
	operations bool
	// manages says that definitions of accounts are managed: an account manager
	// may, and without Fiat whoever may administer.
	manages bool
	// administers says that clusters and credentials are changed: those who may
	// are not Fiat's to say.
	administers bool
}

// Who may ask.
var (
	anyone = &access{everyone: true}
	// filtered is for those of whom it is known what they may.
	filtered = &access{}
	// unlessUnrestricted is the list that Fiat itself reads.
	unlessUnrestricted = &access{unless: func(r *http.Request) bool { return !boolean(r.URL.Query(), "restricted", true) }}
	applicationReaders = &access{application: auth.Read}
	accountReaders     = &access{account: auth.Read}
	accountWriters     = &access{account: auth.Write}
	readersOfBoth      = &access{application: auth.Read, account: auth.Read}
	// readersOfAccountAndResult are those of an account, and of the application
	// of what is found there.
	readersOfAccountAndResult = &access{account: auth.Read, result: true}
	jobEnders                 = &access{application: auth.Execute, account: auth.Write, writes: true}
	operators                 = &access{operations: true}
	taskReaders               = &access{tasks: true}
	taskWriters               = &access{tasks: true, writes: true}
	managers                  = &access{manages: true}
	administrators            = &access{everyone: true, administers: true}
	// registryFinders are all who have no name, as Igor has none, and whoever may
	// read the account (docker-registry.md 7); registryReaders have to be named.
	registryFinders = &access{queried: auth.Read, unless: func(r *http.Request) bool { return r.Header.Get("X-Spinnaker-User") == "" }}
	registryReaders = &access{queried: auth.Read}
)

// permit lets a request in, or says why not. It leaves the caller, and what they
// may see, with the request.
func (s *Server) permit(r *request) error {
	may := r.route.may
	if may.administers || may.manages && !s.Auth.On() && !s.OpenDefinitions {
		if err := s.Admin.Admit(r.Request); err != nil {
			return problem{status: http.StatusForbidden, message: err.Error()}
		}
	}
	if may.everyone || may.unless != nil && may.unless(r.Request) {
		r.caller = auth.Everybody(r.Header)
		return nil
	}
	r.caller = s.Auth.Caller(r.Context(), r.Header)
	if err := may.allowed(r.caller, r.path); err != nil {
		return refusal(err)
	}
	if may.queried != "" {
		if name := queriedAccount(r); name != "" {
			if err := r.caller.Account(name, may.queried); err != nil {
				return refusal(err)
			}
		}
	}
	if may.writes && may.account != "" {
		if finding, ok := s.mayOperate(r, r.path["account"], "cancelJob"); !ok {
			return refused([]string{finding})
		}
	}
	if may.tasks {
		return s.permitTask(r)
	}
	return nil
}

// queriedAccount is the account that a query names, "" for all of them.
func queriedAccount(r *request) string {
	name := r.URL.Query().Get("account")
	if name == "*" {
		return ""
	}
	return name
}

// allowed looks at what the path names.
func (may *access) allowed(caller *auth.Caller, path map[string]string) error {
	if may.operations {
		return nil // an operation is refused by the validation, even where nothing is known of the caller
	}
	if err := caller.Known(); err != nil {
		return err
	}
	if may.manages && !caller.Manages() {
		return auth.NotManager
	}
	if may.account != "" {
		if err := caller.Account(path["account"], may.account); err != nil {
			return err
		}
	}
	if may.application != "" {
		return caller.Application(path["application"], may.application)
	}
	return nil
}

// permitResult looks at what the answer is of.
func (r *request) permitResult(rep reply) error {
	if !r.route.may.result {
		return nil
	}
	if err := r.caller.Application(rep.application, auth.Read); err != nil {
		return refusal(err)
	}
	return nil
}

// audit records who has changed accounts, from where, and what came of it. The
// handler says what it was about.
func (s *Server) audit(r *request, err error) {
	if !r.route.may.administers && !r.route.may.manages || r.Method == http.MethodGet {
		return
	}
	outcome, by := "done", s.admittedBy(r)
	if err != nil {
		outcome = "refused: " + problemOf(err).message
		if problemOf(err).status == http.StatusForbidden {
			by = "nobody"
		}
	}
	s.Log.Info("audit", "method", r.Method, "path", r.URL.Path, "account", r.about, "by", by, "user", auth.Everybody(r.Header).User, "from", r.RemoteAddr, "outcome", outcome)
}

// admittedBy says what has let a change in.
func (s *Server) admittedBy(r *request) string {
	if r.route.may.manages && s.Auth.On() {
		return "Fiat"
	}
	return s.Admin.Who(r.Request)
}

// refusal is the answer to somebody who may not ask.
func refusal(err error) error {
	return problem{status: http.StatusForbidden, message: err.Error()}
}

// mayOperate says whether the caller may run an operation on an account.
func (s *Server) mayOperate(r *request, account, operation string) (finding string, ok bool) {
	a, known := s.Accounts.Get(account)
	return r.caller.Operate(account, known && a.Guarded(), operation)
}

// permitTask decides by the accounts that a task acts on. Whoever may not read
// them may not look at it, but for the one who has asked for it; whoever may not
// write to them may not go on with it. Orca asks again after 503: a Fiat that
// fails must not end its stage.
func (s *Server) permitTask(r *request) error {
	may := r.route.may
	var failed *auth.Unreachable
	if err := r.caller.Known(); errors.As(err, &failed) {
		return problem{status: http.StatusServiceUnavailable, message: err.Error()}
	}
	if r.caller.SeesEverything() && !may.writes {
		return nil
	}
	id, _, _ := strings.Cut(r.path["id"], ":")
	t, err := s.Tasks.Get(r.Context(), id)
	switch {
	case errors.Is(err, task.ErrNotFound):
		return nil // the handler says so, or another Clouddriver has it
	case err != nil:
		return taskProblem(err)
	}
	if may.writes {
		return s.permitTaskWrite(r, t)
	}
	if !seesTask(r.caller, t.User, t.Accounts) {
		return refusal(&taskDenied{id})
	}
	return nil
}

type taskDenied struct{ id string }

func (d *taskDenied) Error() string { return "Access denied to task " + d.id }

func (s *Server) permitTaskWrite(r *request, t task.Task) error {
	var findings []string
	for _, name := range t.Accounts {
		if finding, ok := s.mayOperate(r, name, "task"); !ok {
			findings = append(findings, finding)
		}
	}
	// Whose a task is that does not say so, nobody knows.
	if len(t.Accounts) == 0 && !r.caller.Admin() {
		findings = append(findings, (&taskDenied{t.ID}).Error())
	}
	if len(findings) > 0 {
		return refused(findings)
	}
	return nil
}

// seesTask says whether a caller may look at a task.
func seesTask(c *auth.Caller, user string, accounts []string) bool {
	if c.SeesEverything() || user != "" && strings.EqualFold(user, c.User) {
		return true
	}
	for _, name := range accounts {
		if c.Account(name, auth.Read) != nil && c.Account(name, auth.Write) != nil {
			return false
		}
	}
	return len(accounts) > 0
}

// sight is the index as a caller may see it: handlers of lists read this, never
// the index itself, so that none can forget to filter.
type sight struct {
	index  *index.Index
	caller *auth.Caller
}

func (s *Server) sees(r *request) sight { return sight{s.Index, r.caller} }

// mark is part of the key of whatever is kept of an answer: callers who may not
// see the same share nothing.
func (v sight) mark() string { return v.caller.Mark() }

func (v sight) account(name string) bool { return v.caller.SeesAccount(name) }

func (v sight) application(name string) bool { return v.caller.SeesApplication(name) }

// visible takes the accounts that are hidden out of an application. One that is
// seen stays, even where none of its accounts is.
func (v sight) visible(a index.Application) index.Application {
	clusters := make(map[string][]string, len(a.Clusters))
	for name, in := range a.Clusters {
		if v.account(name) {
			clusters[name] = in
		}
	}
	return a.In(clusters)
}

// Applications are those that the caller may read.
func (v sight) Applications() []index.Application {
	all := v.index.Applications()
	if v.caller.SeesEverything() {
		return all
	}
	out := make([]index.Application, 0, len(all))
	for _, a := range all {
		if v.application(a.Name) {
			out = append(out, v.visible(a))
		}
	}
	return out
}

// Application is one of them.
func (v sight) Application(name string) (index.Application, bool) {
	a, ok := v.index.Application(name)
	if !ok || v.caller.SeesEverything() {
		return a, ok
	}
	if !v.application(a.Name) {
		return index.Application{}, false
	}
	return v.visible(a), true
}

// Holdings are the accounts that hold something of an application.
func (v sight) Holdings(application string) []index.Holding {
	all := v.index.Holdings(application)
	if v.caller.SeesEverything() {
		return all
	}
	out := make([]index.Holding, 0, len(all))
	if !v.application(application) {
		return out
	}
	for _, h := range all {
		if v.account(h.Account) {
			out = append(out, h)
		}
	}
	return out
}

// Part is what an application has in an account.
func (v sight) Part(application, account string, what index.What) index.Part {
	if !v.account(account) || !v.application(application) {
		return index.Part{Account: account}
	}
	return v.index.Part(application, account, what)
}

// FindGroup is one server group.
func (v sight) FindGroup(account, namespace, kind, name string) (index.Group, bool) {
	if !v.account(account) {
		return index.Group{}, false
	}
	g, ok := v.index.FindGroup(account, namespace, kind, name)
	if !ok || !v.object(g.Object) {
		return index.Group{}, false
	}
	return g, true
}

// object says whether the application of an object may be seen; what has none
// goes by its account alone.
func (v sight) object(o *index.Object) bool {
	app := o.Moniker().App
	return app == "" || v.application(app)
}

// Search finds what the caller may see.
func (v sight) Search(q index.Search) ([]index.Hit, int) {
	if !v.caller.SeesEverything() {
		q.SeesAccount, q.SeesApplication = v.account, v.application
	}
	return v.index.Search(q)
}

// callerAgain is what the caller may by now, for answers that go on.
func (s *Server) callerAgain(ctx context.Context, r *request) (*auth.Caller, error) {
	caller := s.Auth.Caller(ctx, r.Header)
	return caller, r.route.may.allowed(caller, r.path)
}
