package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/secret"
	"github.com/datapunchorg/go-clouddriver/pkg/store"
)

const (
	// stateEvery is how often it is told that all is well.
	stateEvery = time.Minute
	// mostBackOff bounds the pauses after failures.
	mostBackOff = 10 * time.Minute
	// mostFile bounds a catalog in a file.
	mostFile = 64 << 20
	// mostName bounds the name of a repository, as its column does.
	mostName = 255
	// mostHeld bounds the tags of an account.
	mostHeld = 5_000_000
	// missing is how often a repository has to be missed before it is gone.
	missing = 2
	// mostSilent is how many requests may go without an answer in one cycle.
	mostSilent = 3
)

// poller reads one registry again and again, while it holds the lease.
type poller struct {
	r      *Registries
	a      *Account
	lease  *store.Lease
	missed map[store.RegistryKey]int
	failed int // cycles in a row
	told   string
	// resume is where the last cycle was broken off, so that no repository is always
	// behind the one that a limit is met at.
	resume store.RegistryKey

	mu       sync.Mutex
	problems []error
	pinged   bool
	silent   int // requests in a row without any answer
}

// leaseName fits into its column, whatever the account is called.
func leaseName(account string) string {
	sum := sha256.Sum256([]byte(account))
	return "registry:" + hex.EncodeToString(sum[:16])
}

func jittered(d time.Duration) time.Duration {
	const parts = 10
	return d + rand.N(d/parts+1)
}

// pause waits; false when the context is over.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (p *poller) run(ctx context.Context) {
	for {
		lease, err := p.r.db.Acquire(ctx, leaseName(p.a.Name), p.r.owner, p.r.timing.lease)
		if err == nil {
			p.lease = lease
			p.hold(ctx)
			_ = lease.Release(context.WithoutCancel(ctx)) // it expires otherwise
		}
		if !pause(ctx, jittered(p.r.timing.look)) {
			return
		}
	}
}

// hold polls until the lease is lost.
func (p *poller) hold(ctx context.Context) {
	ctx, lost := context.WithCancel(ctx)
	defer lost()
	clear(p.missed) // another may have polled meanwhile
	go func() {
		defer lost()
		held := time.Now()
		for pause(ctx, p.r.timing.lease/4) {
			err := p.lease.Renew(ctx)
			switch {
			case err == nil:
				held = time.Now()
			case errors.Is(err, store.ErrLeaseLost), time.Since(held) > p.r.timing.lease:
				return
			}
		}
	}()
	for {
		p.cycle(ctx)
		if !pause(ctx, p.next()) {
			return
		}
	}
}

// next is how long to wait for the next cycle: longer after failures, and as long as
// the registry wants it.
func (p *poller) next() time.Duration {
	d := p.a.interval()
	for range min(p.failed-1, 10) {
		d = min(2*d, max(mostBackOff, p.a.interval()))
	}
	d = jittered(d)
	var resting *errResting
	if errors.As(p.a.client.wire.rest.err(), &resting) {
		d = max(d, time.Until(resting.until))
	}
	return d
}

// cycle reads everything once. What cannot be read stays as it was.
func (p *poller) cycle(ctx context.Context) {
	p.problems, p.pinged, p.silent = nil, false, 0
	err := p.all(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil && !errors.Is(err, errOver) {
		p.note(err)
	}
	// What fails for one repository only is no reason to leave the others alone.
	if err != nil {
		p.failed++
	} else {
		p.failed = 0
	}
	p.tell(ctx)
}

// note keeps a problem for the state of the account.
func (p *poller) note(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.problems = append(p.problems, err)
}

// untimed is what is wrong without what is another at each cycle.
func untimed(problems []error) string {
	if len(problems) == 0 {
		return ""
	}
	var resting *errResting
	if errors.As(problems[0], &resting) {
		return "resting"
	}
	return problems[0].Error()
}

// tell shows how the account does, once for each change.
func (p *poller) tell(ctx context.Context) {
	problem := ""
	if n := len(p.problems); n > 0 {
		problem = p.problems[0].Error()
		if n > 1 {
			problem += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	if plain := untimed(p.problems); plain != p.told {
		if problem != "" {
			p.r.log.Warn("a registry cannot be read; what is known of it stays", "account", p.a.Name, "error", problem)
		} else {
			p.r.log.Info("a registry can be read again", "account", p.a.Name)
		}
		p.told = plain
	}
	state := State{Polled: time.Now().UTC().Truncate(time.Second), Problem: problem}
	before := p.r.State(p.a.Name)
	if before.Problem == problem && state.Polled.Sub(before.Polled) < stateEvery {
		return
	}
	body, err := packed(state)
	if err != nil {
		return
	}
	version, err := p.r.db.SaveRegistry(ctx, p.lease, store.RegistryKey{Account: p.a.Name}, [][]byte{body})
	if err == nil {
		p.r.putState(p.a.Name, version, state)
	}
}

// wanted are the repositories to read, with those to drop in whole true only where
// it is known that no others are there.
func (p *poller) wanted(ctx context.Context) (names map[Family][]string, whole bool) {
	names, whole = map[Family][]string{Charts: p.a.HelmOciRepositories, Images: p.a.Repositories}, true
	if len(p.a.Repositories) == 0 {
		found, err := p.catalog(ctx)
		if err != nil {
			p.note(fmt.Errorf("the catalog: %w", err))
			whole = false
			for _, repository := range p.r.Repositories(p.a.Name, Images) {
				found = append(found, repository.Name)
			}
		}
		names[Images] = found
	}
	for family, all := range names {
		kept, left := []string{}, map[string]bool{"": true}
		for _, name := range p.a.Skip {
			left[name] = true
		}
		for _, name := range all {
			switch {
			case left[name]:
				continue
			case len(name) > mostName:
				p.note(fmt.Errorf("a repository is called %.50s…, with more than %d characters", name, mostName))
			default:
				kept = append(kept, name)
			}
			left[name] = true
		}
		names[family] = kept
	}
	return names, whole
}

// catalog is the registry's, or that of a file.
func (p *poller) catalog(ctx context.Context) ([]string, error) {
	if p.a.CatalogFile == "" {
		all, err := p.a.client.catalog(ctx)
		if err != nil || p.a.regex == nil {
			return all, err
		}
		return slices.DeleteFunc(all, func(name string) bool { return !p.a.regex.MatchString(name) }), nil
	}
	content, err := secret.ReadFile(p.a.CatalogFile, mostFile)
	if err != nil {
		return nil, fmt.Errorf("catalogFile: %w", err)
	}
	var of struct{ Repositories []string }
	if err := json.Unmarshal(content, &of); err != nil {
		return nil, errors.New(`catalogFile: it is no JSON like {"repositories":["a/b"]}`)
	}
	return of.Repositories, nil
}

// all reads the repositories, so many at once as the account allows.
func (p *poller) all(ctx context.Context) error {
	names, whole := p.wanted(ctx)
	if err := p.each(ctx, p.inTurn(names)); err != nil {
		return err
	}
	for family, kept := range names {
		if family == Images && !whole {
			continue
		}
		wanted := make(map[string]bool, len(kept))
		for _, name := range kept {
			wanted[name] = true
		}
		for _, repository := range p.r.Repositories(p.a.Name, family) {
			if !wanted[repository.Name] {
				if err := p.drop(ctx, store.RegistryKey{Account: p.a.Name, Family: string(family), Repository: repository.Name}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// inTurn are the repositories in the order that they are read in: from where the
// last cycle was broken off.
func (p *poller) inTurn(names map[Family][]string) []store.RegistryKey {
	var out []store.RegistryKey
	for _, family := range []Family{Images, Charts} {
		for _, name := range names[family] {
			out = append(out, store.RegistryKey{Account: p.a.Name, Family: string(family), Repository: name})
		}
	}
	at := max(slices.Index(out, p.resume), 0)
	return slices.Concat(out[at:], out[:at])
}

// each reads repositories, and remembers the first one whose turn has not come.
func (p *poller) each(ctx context.Context, keys []store.RegistryKey) error {
	group, reading := errgroup.WithContext(ctx)
	group.SetLimit(p.a.CacheThreads)
	tried := make([]bool, len(keys))
	for i, key := range keys {
		group.Go(func() error {
			if reading.Err() != nil {
				return errOver
			}
			tried[i] = true
			return p.one(reading, key)
		})
	}
	err := group.Wait()
	p.resume = store.RegistryKey{}
	if left := slices.Index(tried, false); err != nil && left >= 0 {
		p.resume = keys[left]
	}
	return err
}

// one reads a repository. It fails only when the others are not to be read, either.
func (p *poller) one(ctx context.Context, key store.RegistryKey) error {
	before := p.r.Repository(key.Account, Family(key.Family), key.Repository)
	tags, later, err := p.tags(ctx, key.Repository, before)
	if err != nil {
		return p.failedOn(ctx, key, err)
	}
	if err := p.took(ctx, key, before, tags); err != nil || later == nil {
		return err
	}
	return p.failedOn(ctx, key, later)
}

// took keeps what was read of a repository.
func (p *poller) took(ctx context.Context, key store.RegistryKey, before *Repository, tags []Tag) error {
	p.mu.Lock()
	delete(p.missed, key)
	p.silent = 0
	p.mu.Unlock()
	now := newRepository(key.Repository, tags)
	if before.same(now) {
		return nil
	}
	if p.r.tags(p.a.Name)-tagsOf(before)+len(now.Tags) > mostHeld {
		p.note(fmt.Errorf("%s: the account would have more than %d tags: name the repositories that are wanted in repositories", key.Repository, mostHeld))
		return nil
	}
	err := p.save(ctx, key, now)
	if err == nil || ctx.Err() != nil || errors.Is(err, store.ErrLeaseLost) || errors.Is(err, store.ErrUnavailable) {
		return err
	}
	p.note(fmt.Errorf("%s: %w", key.Repository, err)) // the others may be kept
	return nil
}

func tagsOf(r *Repository) int {
	if r == nil {
		return 0
	}
	return len(r.Tags)
}

func (p *poller) save(ctx context.Context, key store.RegistryKey, repository *Repository) error {
	parts, err := encode(repository)
	if err != nil {
		return err
	}
	version, err := p.r.db.SaveRegistry(ctx, p.lease, key, parts)
	if err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	repository.version = version
	p.r.put(key, version, repository)
	return nil
}

func (p *poller) drop(ctx context.Context, key store.RegistryKey) error {
	version, err := p.r.db.SaveRegistry(ctx, p.lease, key, nil)
	if err != nil {
		return fmt.Errorf("the database: %w", err)
	}
	p.r.put(key, version, nil)
	return nil
}

// failedOn keeps what is known of a repository, unless the registry says twice that
// it has it no more.
func (p *poller) failedOn(ctx context.Context, key store.RegistryKey, err error) error {
	if ctx.Err() != nil {
		return errOver
	}
	if errors.Is(err, ErrMissing) {
		p.mu.Lock()
		p.missed[key]++
		gone := p.missed[key] >= missing
		p.mu.Unlock()
		if p.r.Repository(key.Account, Family(key.Family), key.Repository) == nil {
			return nil // as often in a catalog: all of its tags are deleted
		}
		if gone {
			return p.drop(ctx, key)
		}
	}
	if over := p.hopeless(ctx, err); over != nil {
		return over
	}
	p.note(fmt.Errorf("%s: %w", key.Repository, err))
	return nil
}

// hopeless ends the cycle where no other request would do better: a registry that
// wants to be left alone, or does not answer, and credentials that it does not take
// at all. Asking on would lock the account out.
func (p *poller) hopeless(ctx context.Context, err error) error {
	var resting *errResting
	if errors.As(err, &resting) {
		p.note(err)
		return errOver
	}
	var denied *denial
	var silent *silence
	switch {
	case errors.As(err, &denied):
		return p.locked(ctx)
	case !errors.As(err, &silent):
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent++
	if p.silent < mostSilent {
		return nil
	}
	p.problems = append(p.problems, err)
	return errOver
}

// locked asks whether the registry takes the credentials for anything.
func (p *poller) locked(ctx context.Context) error {
	p.mu.Lock()
	first := !p.pinged
	p.pinged = true
	p.mu.Unlock()
	if !first {
		return nil // the registry takes the credentials, but not for this repository
	}
	var denied *denial
	if pinged := p.a.client.ping(ctx); errors.As(pinged, &denied) {
		p.note(pinged)
		return errOver
	}
	return nil
}

// tags reads those of a repository, with what the account wants to know of each.
// What cannot be had of a tag is as it was known. later is why nothing more was asked
// about tags, nil where all were.
func (p *poller) tags(ctx context.Context, repository string, before *Repository) (tags []Tag, later, err error) {
	names, err := p.a.client.tags(ctx, repository)
	if err != nil {
		return nil, nil, err
	}
	images := before.images()
	out := make([]Tag, 0, len(names))
	for _, name := range names {
		tag := Tag{Name: name}
		if p.a.TrackDigests || p.a.dated() {
			known, _ := before.tag(name)
			known.Name = name
			if tag = known; later == nil {
				tag, later = p.looked(ctx, repository, known, images)
			}
		}
		out = append(out, tag)
	}
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	return out, later, nil
}

// looked is a tag with its digest, and what it stands for. What fails for this tag is
// noted; the error is one that the next ones would fail with, too.
func (p *poller) looked(ctx context.Context, repository string, known Tag, images map[string]*Image) (Tag, error) {
	digest, err := p.a.client.digest(ctx, repository, known.Name)
	if err != nil {
		if over := p.over(ctx, err); over != nil {
			return known, over
		}
		p.note(fmt.Errorf("the digest of %s:%s: %w", repository, known.Name, err))
		return known, nil
	}
	tag := Tag{Name: known.Name, Digest: digest}
	if !p.a.dated() {
		return tag, nil
	}
	if tag.Image = images[digest]; tag.Image != nil {
		return tag, nil
	}
	tag.Image, err = p.a.client.image(ctx, repository, digest)
	if tag.Image != nil { // there may be a problem with it, which is told once
		images[digest] = tag.Image
	}
	if err == nil {
		return tag, nil
	}
	if over := p.over(ctx, err); over != nil {
		return tag, over
	}
	p.note(fmt.Errorf("the labels and date of %s:%s: %w", repository, tag.Name, err))
	return tag, nil
}

// over is an error that the next tags would fail with, too.
func (p *poller) over(ctx context.Context, err error) error {
	var resting *errResting
	var silent *silence
	if ctx.Err() != nil || errors.As(err, &resting) || errors.As(err, &silent) {
		return err
	}
	return nil
}
