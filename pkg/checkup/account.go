package checkup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
	"github.com/datapunchorg/go-clouddriver/pkg/index"
)

// Account is what a look at one account's cluster has shown.
type Account struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	// Reachable says that the API server has answered as one.
	Reachable bool   `json:"reachable"`
	Version   string `json:"version,omitempty"`
	// User is whom the server takes us for.
	User string `json:"user,omitempty"`
	// LatencyMs is the median of some small requests.
	LatencyMs float64 `json:"latencyMs,omitempty"`
	// SkewMs is how far the server's clock is ahead of ours, which it tells to
	// the second.
	SkewMs int64 `json:"skewMs,omitempty"`
	// Watched are the kinds that can be listed and watched, Denied those that
	// cannot, each with why.
	Watched []string `json:"watched"`
	Denied  []Denied `json:"denied"`
	// Problem is why nothing more is known, and Advice what to do.
	Problem string `json:"problem,omitempty"`
	Advice  string `json:"advice,omitempty"`
}

// Denied is a kind that cannot be followed.
type Denied struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Why       string `json:"why"`
}

// MostSkew is how far two clocks may differ without anybody noticing.
const MostSkew = 5 * time.Second

// OK says that there is nothing to do about the account.
func (a Account) OK() bool {
	return a.Problem == "" && len(a.Denied) == 0 && time.Duration(a.SkewMs)*time.Millisecond < MostSkew && time.Duration(-a.SkewMs)*time.Millisecond < MostSkew
}

// samples are how many small requests the latency is the median of.
const samples = 5

// questions are asked of one cluster at once.
const questions = 8

// atOnce is how many accounts are looked at side by side.
const atOnce = 16

// Accounts looks at all accounts, each within a time of its own. done is told of
// each as it is ready.
func Accounts(ctx context.Context, accounts []*account.Account, within time.Duration, done func(ready int)) []Account {
	out := make([]Account, len(accounts))
	var mu sync.Mutex
	ready := 0
	var group errgroup.Group
	group.SetLimit(atOnce)
	for i, a := range accounts {
		group.Go(func() error {
			one, cancel := context.WithTimeout(ctx, within)
			defer cancel()
			out[i] = look(one, a, within)
			mu.Lock()
			defer mu.Unlock()
			ready++
			if done != nil {
				done(ready)
			}
			return nil
		})
	}
	_ = group.Wait() // what failed is in the rows
	return out
}

func look(ctx context.Context, a *account.Account, within time.Duration) Account {
	out := Account{Name: a.Name, Watched: []string{}, Denied: []Denied{}}
	if a.REST != nil {
		out.Server = a.REST.Host
	}
	if a.Invalid != nil {
		out.fail(&cluster.Error{Reason: cluster.Invalid, Err: a.Invalid})
		return out
	}
	client, err := cluster.New(a.REST, cluster.Options{RequestTimeout: within, PingAfter: within})
	if err != nil {
		out.fail(err)
		return out
	}
	defer client.Close()
	if err := out.measure(ctx, client); err != nil {
		out.fail(err)
		return out
	}
	if out.User, err = client.WhoAmI(ctx); err != nil {
		out.fail(fmt.Errorf("ask who we are: %w", err))
		return out
	}
	if err := out.permissions(ctx, client, a); err != nil {
		out.fail(err)
	}
	return out
}

// measure asks for the version a few times.
func (a *Account) measure(ctx context.Context, client *cluster.Client) error {
	took := make([]time.Duration, 0, samples)
	for range samples {
		begin := time.Now()
		version, clock, err := client.Version(ctx)
		if err != nil {
			a.Reachable = !cluster.Is(err, cluster.Unavailable) && !cluster.Is(err, cluster.Invalid)
			return err
		}
		took = append(took, time.Since(begin))
		a.Reachable, a.Version = true, version
		if !clock.IsZero() {
			a.SkewMs = skew(clock, begin.Add(time.Since(begin)/2)).Milliseconds()
		}
	}
	slices.Sort(took)
	a.LatencyMs = float64(took[samples/2].Microseconds()) / 1000
	return nil
}

// skew is how far a clock that shows whole seconds is ahead.
func skew(clock, ours time.Time) time.Duration {
	behind := ours.Sub(clock) // it stood at the begin of its second
	switch {
	case behind < 0:
		return -behind
	case behind > time.Second:
		return time.Second - behind
	}
	return 0
}

// permissions asks for every kind that the index wants to hold.
func (a *Account) permissions(ctx context.Context, client *cluster.Client, of *account.Account) error {
	catalog, err := client.Discover(ctx)
	if err != nil {
		return fmt.Errorf("ask what it serves: %w", err)
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(questions)
	for _, r := range catalog.Watchable() {
		if !index.Wants(of, r) {
			continue
		}
		namespaces := []string{""}
		if r.Namespaced && len(of.Namespaces) > 0 {
			namespaces = of.Namespaces
		}
		a.Watched = append(a.Watched, r.KindText())
		for _, namespace := range namespaces {
			group.Go(func() error {
				why, err := denied(ctx, client, r, namespace)
				if err != nil {
					return fmt.Errorf("ask whether %s may be watched: %w", r.KindText(), err)
				}
				if why != "" {
					mu.Lock()
					defer mu.Unlock()
					a.Denied = append(a.Denied, Denied{Kind: r.KindText(), Namespace: namespace, Why: why})
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	a.Watched = slices.DeleteFunc(a.Watched, func(kind string) bool {
		return slices.ContainsFunc(a.Denied, func(d Denied) bool { return d.Kind == kind })
	})
	slices.SortFunc(a.Denied, func(x, y Denied) int {
		return cmp.Or(strings.Compare(x.Kind, y.Kind), strings.Compare(x.Namespace, y.Namespace))
	})
	slices.Sort(a.Watched)
	if len(a.Denied) > 0 {
		a.Advice = "give " + a.User + " list and watch on these kinds, or leave them out with omitKinds"
	}
	return nil
}

// denied says what is missing to follow a kind, "" for nothing.
func denied(ctx context.Context, client *cluster.Client, r cluster.Resource, namespace string) (string, error) {
	var missing []string
	for _, verb := range []string{"list", "watch"} {
		allowed, why, err := client.May(ctx, verb, r, namespace)
		if err != nil {
			return "", err
		}
		if !allowed {
			text := "may not " + verb
			if why != "" {
				text += " (" + why + ")"
			}
			missing = append(missing, text)
		}
	}
	return strings.Join(missing, ", "), nil
}

func (a *Account) fail(err error) {
	a.Problem, a.Advice = err.Error(), cluster.Advice(cluster.ReasonOf(err), err.Error())
}
