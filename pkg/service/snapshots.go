package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/datapunchorg/go-clouddriver/pkg/account"
	"github.com/datapunchorg/go-clouddriver/pkg/config"
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

func (s *Service) newSnapshots(c config.Snapshots, version string) (*snapshots, error) {
	if c.Directory == "" {
		return nil, nil
	}
	program, err := build(version)
	if err != nil {
		return nil, fmt.Errorf("snapshots: %w", err)
	}
	dir, err := snapshot.Open(c.Directory, program, c.MaxAge)
	if err != nil {
		return nil, fmt.Errorf("snapshots.directory: %w", err)
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
			return s.Index.Snapshot(name, s.Fleet.Identity(name), oldest, over)
		},
	}, nil
}

// build tells this build of the program from others: what an index holds of an object
// may be another thing in each.
func build(version string) (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", err
	}
	file, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf("%s %s %d %d", version, runtime.Version(), file.Size(), file.ModTime().UnixNano())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				text += " " + s.Value
			}
		}
	}
	return text, nil
}

// Load implements index.Snapshots.
func (k *snapshots) Load(a *account.Account) (content []byte, oldest time.Time) {
	content, _, err := k.dir.Load(a.Name, a.WatchFingerprint())
	if err != nil && !errors.Is(err, snapshot.ErrNone) {
		k.log.Info("what was kept of an account is not used; it is listed", "account", a.Name, "reason", err)
	}
	return content, time.Now().Add(-k.maxAge)
}

// run saves one account after the other, all within the time that is set.
func (k *snapshots) run(ctx context.Context) error {
	for {
		names := k.accounts()
		pause := time.NewTicker(k.every / time.Duration(len(names)+1))
		for _, name := range append(names, "") {
			select {
			case <-ctx.Done():
				pause.Stop()
				return nil
			case <-pause.C:
			}
			if name != "" {
				k.note(k.save(name))
			}
		}
		pause.Stop()
		k.note(k.dir.Sweep(names))
	}
}

// last saves all of them before the end, as far as there is time.
func (k *snapshots) last(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range slices.Clone(k.accounts()) {
		group.Go(func() error {
			if ctx.Err() == nil {
				k.note(k.save(name))
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
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

// note tells the log once that snapshots cannot be written, and once that they can.
func (k *snapshots) note(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err != nil && !k.failing:
		k.log.Warn("what is known of the accounts cannot be kept for the next start, which will list them: look at snapshots.directory", "error", err)
	case err == nil && k.failing:
		k.log.Info("what is known of the accounts is kept for the next start again")
	}
	k.failing = err != nil
}
