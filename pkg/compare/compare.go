package compare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options are what to compare. The zero value of what has a default is that.
type Options struct {
	// Here and There are the addresses of the two.
	Here, There string
	// User is whom to ask as, where Fiat is on.
	User string
	// Accounts and Applications limit what is compared; all that both have when
	// empty.
	Accounts, Applications []string
	// Timeout is the deadline of one answer, 30 s by default.
	Timeout time.Duration
	// Settle is how long to wait before what differs is asked for again; what
	// differs in both looks only is told, since clusters change meanwhile. 2 s by
	// default; 30 s suit a Clouddriver that polls.
	Settle time.Duration
	// Concurrency is how many routes are asked for at once, 8 by default.
	Concurrency int
	// Details is how many routes below an application's lists are asked for at
	// most; 0 for all.
	Details int
	// Progress is told how many of the routes that are known so far are done.
	Progress func(done, known int)
}

// Failure is a route that could not be compared.
type Failure struct {
	Route   string `json:"route"`
	Side    string `json:"side"` // here or there
	Problem string `json:"problem"`
}

// Report is what a comparison has found.
type Report struct {
	Here  string    `json:"here"`
	There string    `json:"there"`
	At    time.Time `json:"at"`
	// Took is in seconds.
	Took         float64      `json:"took"`
	Accounts     []string     `json:"accounts"`
	Applications []string     `json:"applications"`
	Routes       int          `json:"routes"`
	Differences  []Difference `json:"differences"`
	// More is how many differences beyond those were found.
	More     int       `json:"more,omitempty"`
	Failures []Failure `json:"failures"`
	// Accounts and applications that one of the two has alone. They are told and
	// not counted as differences: a team moves account by account.
	AccountsOnlyHere      []string `json:"accountsOnlyHere,omitempty"`
	AccountsOnlyThere     []string `json:"accountsOnlyThere,omitempty"`
	ApplicationsOnlyHere  []string `json:"applicationsOnlyHere,omitempty"`
	ApplicationsOnlyThere []string `json:"applicationsOnlyThere,omitempty"`
}

// mostDifferences are kept.
const mostDifferences = 10_000

const (
	defaultTimeout     = 30 * time.Second
	defaultSettle      = 2 * time.Second
	defaultConcurrency = 8
)

// walk is a comparison under way.
type walk struct {
	Options
	here, there *side
	// shared accounts and compared applications, in lower case. alone says that
	// there are accounts which are left out.
	shared, applications map[string]bool
	alone                bool
	places               chan struct{}

	mu          sync.Mutex
	report      *Report
	done, known int
}

// Run compares. Its error says that one of the two is no Clouddriver or cannot
// be asked at all; what is wrong with single routes is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Concurrency < 0 || o.Timeout < 0 || o.Settle < 0 || o.Details < 0 {
		return nil, errors.New("concurrency, timeout, settle and details must not be negative")
	}
	o.Timeout = orDefault(o.Timeout, defaultTimeout)
	o.Settle = orDefault(o.Settle, defaultSettle)
	o.Concurrency = orDefault(o.Concurrency, defaultConcurrency)
	here, err := newSide("here", o.Here, o)
	if err != nil {
		return nil, err
	}
	there, err := newSide("there", o.There, o)
	if err != nil {
		return nil, err
	}
	w := &walk{Options: o, here: here, there: there, places: make(chan struct{}, o.Concurrency)}
	w.report = &Report{Here: o.Here, There: o.There, At: time.Now().UTC(), Accounts: []string{}, Applications: []string{}, Differences: []Difference{}, Failures: []Failure{}}
	if err := w.meet(ctx); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := w.all(ctx); err != nil {
		return nil, err
	}
	w.report.Took = time.Since(begin).Seconds()
	w.sort()
	return w.report, nil
}

func orDefault[T ~int | ~int64](value, otherwise T) T {
	if value == 0 {
		return otherwise
	}
	return value
}

// meet finds what both have.
func (w *walk) meet(ctx context.Context) error {
	accounts, err := w.namesOf(ctx, "/credentials")
	if err != nil {
		return err
	}
	applications, err := w.namesOf(ctx, "/applications?restricted=false")
	if err != nil {
		return err
	}
	r := w.report
	r.Accounts, r.AccountsOnlyHere, r.AccountsOnlyThere = split(accounts[0], accounts[1], w.Accounts)
	r.Applications, r.ApplicationsOnlyHere, r.ApplicationsOnlyThere = split(applications[0], applications[1], w.Applications)
	w.shared, w.applications = folded(r.Accounts), folded(r.Applications)
	w.alone = len(r.AccountsOnlyHere)+len(r.AccountsOnlyThere) > 0 || len(w.Accounts) > 0
	for what, names := range map[string][2][]string{"account": {w.Accounts, r.Accounts}, "application": {w.Applications, r.Applications}} {
		for _, name := range names[0] {
			if !folded(names[1])[strings.ToLower(name)] {
				return fmt.Errorf("the two do not both have the %s %q", what, name)
			}
		}
	}
	return nil
}

// namesOf are the names of the rows of a list that each Clouddriver has.
func (w *walk) namesOf(ctx context.Context, path string) (out [2][]string, _ error) {
	for i, s := range []*side{w.here, w.there} {
		answer, err := s.ask(ctx, path)
		if err != nil {
			return out, fmt.Errorf("%s%s: %w", s.base, path, err)
		}
		rows, ok := answer.body.([]any)
		if answer.status != http.StatusOK || !ok {
			return out, fmt.Errorf("%s%s answers %d and no list: this is no Clouddriver, or one that refuses whoever asks (--user)", s.base, path, answer.status)
		}
		for _, row := range rows {
			object, _ := row.(map[string]any)
			name := text(object["name"])
			if name == "" {
				return out, fmt.Errorf("%s%s has a row without a name: this is no Clouddriver", s.base, path)
			}
			out[i] = append(out[i], name)
		}
	}
	return out, nil
}

// split sorts names into those of both, limited to the ones that are wanted, and
// those of one. Case makes no difference: Java's and ours may spell an
// application as different objects do.
func split(here, there, wanted []string) (both, onlyHere, onlyThere []string) {
	hereSet, thereSet, wantedSet := folded(here), folded(there), folded(wanted)
	both = []string{}
	for _, name := range here {
		switch {
		case !thereSet[strings.ToLower(name)]:
			onlyHere = append(onlyHere, name)
		case len(wanted) == 0 || wantedSet[strings.ToLower(name)]:
			both = append(both, name)
		}
	}
	for _, name := range there {
		if !hereSet[strings.ToLower(name)] {
			onlyThere = append(onlyThere, name)
		}
	}
	slices.Sort(both)
	slices.Sort(onlyHere)
	slices.Sort(onlyThere)
	return both, onlyHere, onlyThere
}

func folded(names []string) map[string]bool {
	out := make(map[string]bool, len(names))
	for _, name := range names {
		out[strings.ToLower(name)] = true
	}
	return out
}

func (w *walk) all(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(waiting * w.Concurrency)
	routes := forAll()
	for _, account := range w.report.Accounts {
		routes = append(routes, forAccount(account)...)
	}
	w.expect(len(routes))
	for _, r := range routes {
		group.Go(func() error { _, err := w.compare(ctx, r); return err })
	}
	for _, application := range w.report.Applications {
		w.expect(len(forApplication(application)))
		group.Go(func() error { return w.application(ctx, application) })
	}
	return group.Wait()
}

// application compares the lists of one and then what they name.
func (w *walk) application(ctx context.Context, name string) error {
	answers := map[string]any{}
	for _, r := range forApplication(name) {
		answer, err := w.compare(ctx, r)
		if err != nil {
			return err
		}
		answers[r.pattern] = answer
	}
	details := detailsOf(name, w.isShared, answers)
	if w.Details > 0 && len(details) > w.Details {
		details = details[:w.Details]
	}
	w.expect(len(details))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(waiting * w.Concurrency)
	for _, r := range details {
		group.Go(func() error { _, err := w.compare(ctx, r); return err })
	}
	return group.Wait()
}

// waiting is how many routes are under way for each that is asked for: the
// others wait to settle.
const waiting = 4

func (w *walk) expect(routes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known += routes
}

// compare asks both for a route, and again where they differ. It returns our
// answer; its error ends the comparison.
func (w *walk) compare(ctx context.Context, r route) (any, error) {
	answer, differences, failures := w.look(ctx, r)
	if len(differences) > 0 {
		select {
		case <-time.After(w.Settle):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		var again []Difference
		answer, again, failures = w.look(ctx, r)
		differences = lasting(differences, again)
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done++
	w.report.Routes++
	if w.Progress != nil {
		w.Progress(w.done, w.known)
	}
	w.report.Failures = append(w.report.Failures, failures...)
	for _, d := range differences {
		d.Route, d.Pattern = r.path, r.pattern
		if len(w.report.Differences) >= mostDifferences {
			w.report.More++
			continue
		}
		w.report.Differences = append(w.report.Differences, d)
	}
	return answer, nil
}

// look asks both at once.
func (w *walk) look(ctx context.Context, r route) (here any, _ []Difference, failures []Failure) {
	select {
	case w.places <- struct{}{}:
		defer func() { <-w.places }()
	case <-ctx.Done():
		return nil, nil, nil
	}
	var answers [2]said
	var errs [2]error
	var both sync.WaitGroup
	sides := []*side{w.here, w.there}
	for i, s := range sides {
		both.Go(func() { answers[i], errs[i] = s.ask(ctx, r.path) })
	}
	both.Wait()
	for i, s := range sides {
		if errs[i] != nil {
			failures = append(failures, Failure{Route: r.path, Side: s.name, Problem: errs[i].Error()})
		}
	}
	switch {
	case failures != nil:
		return answers[0].body, nil, failures
	case answers[0].status != answers[1].status:
		return answers[0].body, []Difference{{Kind: Status, Here: answers[0].status, There: answers[1].status}}, nil
	}
	return answers[0].body, Diff(w.ofBoth(r, answers[0].body), w.ofBoth(r, answers[1].body)), nil
}

// ofBoth leaves out what belongs to an account or an application that only one
// of the two has.
func (w *walk) ofBoth(r route, body any) any {
	rows, ok := body.([]any)
	if !ok {
		byAccount := strings.HasSuffix(r.pattern, "/clusters") || r.pattern == "/securityGroups"
		return w.prune(body, byAccount)
	}
	switch {
	case strings.HasPrefix(r.pattern, "/credentials"):
		rows = namedOnly(rows, w.isShared)
	case strings.HasPrefix(r.pattern, "/applications?"):
		rows = foldedNames(namedOnly(rows, w.isCompared))
	}
	return w.prune(rows, false)
}

// namedOnly are the rows whose name is one of those that count.
func namedOnly(rows []any, counts func(name string) bool) []any {
	return slices.DeleteFunc(slices.Clone(rows), func(row any) bool {
		object, ok := row.(map[string]any)
		return ok && !counts(text(object["name"]))
	})
}

// foldedNames spells names of applications in one way.
func foldedNames(rows []any) []any {
	out := make([]any, 0, len(rows))
	for _, row := range rows {
		object, ok := row.(map[string]any)
		if !ok {
			out = append(out, row)
			continue
		}
		object = maps.Clone(object)
		object["name"] = strings.ToLower(text(object["name"]))
		out = append(out, object)
	}
	return out
}

// prune leaves out rows and keys of accounts that only one has, wherever they
// stand, and counts of those rows.
func (w *walk) prune(v any, byAccount bool) any {
	switch v := v.(type) {
	case []any:
		out := make([]any, 0, len(v))
		for _, row := range v {
			if object, ok := row.(map[string]any); ok {
				if account, ok := object["account"].(string); ok && !w.isShared(account) {
					continue
				}
			}
			out = append(out, w.prune(row, false))
		}
		return out
	case map[string]any:
		out := map[string]any{}
		for key, inner := range v {
			if byAccount && !w.isShared(key) || key == "totalMatches" && w.alone {
				continue
			}
			out[key] = w.prune(inner, key == "clusterNames" || key == "clusters")
		}
		return out
	}
	return v
}

func (w *walk) isShared(account string) bool { return w.shared[strings.ToLower(account)] }

func (w *walk) isCompared(application string) bool {
	return w.applications[strings.ToLower(application)]
}

// lasting are the differences of the second look that stood in the first.
func lasting(first, second []Difference) []Difference {
	seen := map[string]bool{}
	for _, d := range first {
		seen[d.Where+"\x00"+string(d.Kind)] = true
	}
	return slices.DeleteFunc(second, func(d Difference) bool { return !seen[d.Where+"\x00"+string(d.Kind)] })
}

func (w *walk) sort() {
	slices.SortFunc(w.report.Differences, func(a, b Difference) int {
		return strings.Compare(a.Route+"\x00"+a.Where, b.Route+"\x00"+b.Where)
	})
	slices.SortFunc(w.report.Failures, func(a, b Failure) int {
		return strings.Compare(a.Route+a.Side, b.Route+b.Side)
	})
}

// Changes are what has come and what has gone from one report to the next.
func Changes(before, now []Difference) (come, gone []Difference) {
	key := func(d Difference) string { return d.Route + "\x00" + d.Where + "\x00" + string(d.Kind) }
	less := func(from, without []Difference) (out []Difference) {
		known := map[string]bool{}
		for _, d := range without {
			known[key(d)] = true
		}
		for _, d := range from {
			if !known[key(d)] {
				out = append(out, d)
			}
		}
		return out
	}
	return less(now, before), less(before, now)
}

// Standing are the differences that are known after a report: its own, and those
// from before on routes that it could not compare.
func (r *Report) Standing(before []Difference) []Difference {
	failed := map[string]bool{}
	for _, f := range r.Failures {
		failed[f.Route] = true
	}
	out := slices.Clone(r.Differences)
	for _, d := range before {
		if failed[d.Route] {
			out = append(out, d)
		}
	}
	return out
}

// Equal says that nothing differs among what could be compared.
func (r *Report) Equal() bool { return len(r.Differences) == 0 && r.More == 0 }

// Complete says that everything could be compared.
func (r *Report) Complete() bool { return len(r.Failures) == 0 }
