package service

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/processors"
	"github.com/datapunchorg/go-clouddriver/pkg/snapshot"
)

// snapshots keeps what is known of the accounts from one start to the next.
type snapshots struct {
	dir      *snapshot.Dir
	every    time.Duration
	maxAge   time.Duration
	accounts func() []string
	// of encodes what is held of an account over an earlier content; nil for nothing.
	of  func(name string, oldest time.Time, over []byte) (a *account.Account, content []byte)
	log *slog.Logger
	// room is for contents: one account is saved after the other.
	room sync.Pool

	mu      sync.Mutex
	failing bool
}

// newSnapshots are those of the settings; nil for none. What cannot be written keeps no
// service from its work.
func (s *Service) newSnapshots(c config.Snapshots, version string) *snapshots {
	if c.Directory == "" {
		return nil
	}
	program, err := build(version)
	var dir *snapshot.Dir
	if err == nil {
		dir, err = snapshot.Open(c.Directory, program, c.MaxAge)
	}
	if err != nil {
		s.log.Warn("nothing is kept for the next start, which will list all accounts: snapshots.directory cannot be used", "error", err)
		return nil
	}
	return &snapshots{
		dir: dir, every: c.Every, maxAge: c.MaxAge, log: s.log,
		accounts: func() []string {
			all, _ := s.Accounts.List()
			var names []string
			for _, a := range all {
				names = append(names, a.Name)
			}
			return names
		},
		of: func(name string, oldest time.Time, over []byte) (*account.Account, []byte) {
			of, whole := s.Fleet.Identity(name)
			if !whole {
				return nil, nil
			}
			return s.Index.Snapshot(name, of, oldest, over)
		},
	}
}

// eager leaves the garbage where it is until a restart has taken in what it has kept,
// within the memory's limit: the collector would go through all of it again and again
// while it grows, and then once more just when the first callers come: they are served
// for firstCallers before. Without a limit nothing would hold it. The collector is the
// process's: of several services, the last one gives it back.
func eager(ctx context.Context, over func(context.Context) (anything bool)) {
	if debug.SetMemoryLimit(-1) == math.MaxInt64 {
		return
	}
	collector.mu.Lock()
	if collector.held++; collector.held == 1 {
		collector.usual = debug.SetGCPercent(-1)
	}
	collector.mu.Unlock()
	if over(ctx) {
		select {
		case <-time.After(firstCallers):
		case <-ctx.Done():
		}
	}
	collector.mu.Lock()
	defer collector.mu.Unlock()
	if collector.held--; collector.held == 0 {
		debug.SetGCPercent(collector.usual)
	}
}

// firstCallers is how long those who have waited for a restart are served before
// anything else is done.
const firstCallers = 3 * time.Second

var collector struct {
	mu          sync.Mutex
	held, usual int
}

// build tells this build of the program from others: what an index holds of an object
// may be another thing in each.
func build(version string) (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	file, err := os.Open(path) //nolint:gosec // this program
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	size, err := io.Copy(sum, file)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %d %08x", version, runtime.Version(), size, sum.Sum32()), nil
}

// Load implements index.Snapshots.
func (k *snapshots) Load(a *account.Account) (content []byte, oldest time.Time) {
	content, _, err := k.dir.Load(a.Name, a.WatchFingerprint())
	if err != nil && !errors.Is(err, snapshot.ErrNone) {
		k.Refuse(a, err)
	}
	return content, time.Now().Add(-k.maxAge)
}

// Refuse implements index.Snapshots.
func (k *snapshots) Refuse(a *account.Account, why error) {
	k.log.Info("what was kept of an account is not used; it is listed", "account", a.Name, "reason", why)
}

// run saves one account after the other, all within the time that is set.
func (k *snapshots) run(ctx context.Context) error {
	for {
		names := k.accounts()
		pause := time.NewTicker(k.every / time.Duration(len(names)+1))
		failed := failures{}
		for _, name := range append(names, "") {
			select {
			case <-ctx.Done():
				pause.Stop()
				return nil
			case <-pause.C:
			}
			if name != "" {
				failed.note(name, k.save(name))
			}
		}
		pause.Stop()
		if err := k.dir.Sweep(names); err != nil {
			k.log.Debug("old snapshots are left where they are", "error", err)
		}
		k.tell(&failed)
	}
}

// last saves all of them before the end, as far as there is time. A disk that hangs is
// left behind.
func (k *snapshots) last(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		var group errgroup.Group
		group.SetLimit(processors.Count)
		failed := failures{}
		for _, name := range k.accounts() {
			group.Go(func() error {
				if ctx.Err() == nil {
					failed.note(name, k.save(name))
				}
				return nil
			})
		}
		_ = group.Wait() // none fails
		k.tell(&failed)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// failures are the accounts of a round that could not be saved.
type failures struct {
	mu    sync.Mutex
	n     int
	first error
}

func (f *failures) note(account string, err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; f.n == 1 {
		f.first = fmt.Errorf("account %s: %w", account, err)
	}
}

func (k *snapshots) save(name string) error {
	now := time.Now()
	room, _ := k.room.Get().(*[]byte)
	if room == nil {
		room = new([]byte)
	}
	a, content := k.of(name, now.Add(-k.maxAge), *room)
	if content == nil {
		return nil
	}
	defer func() {
		*room = content
		k.room.Put(room)
	}()
	return k.dir.Save(name, a.WatchFingerprint(), now, content)
}

// tell has the log say once that snapshots cannot be written, and once that they can.
func (k *snapshots) tell(f *failures) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case f.n > 0 && !k.failing:
		k.log.Warn("what is known of some accounts cannot be kept for the next start, which will list them: look at snapshots.directory", "accounts", f.n, "error", f.first)
	case f.n == 0 && k.failing:
		k.log.Info("what is known of the accounts is kept for the next start again")
	}
	k.failing = f.n > 0
}
