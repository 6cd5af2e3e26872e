package store

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// sqliteFile watches over the file itself: SQLite goes on with the one that it
// has open, wherever that is by then, and would make an empty one in its place.
type sqliteFile struct {
	path string

	mu   sync.Mutex
	info os.FileInfo
}

// openSQLiteFile makes the file if there is none: connections never do.
func openSQLiteFile(path string) (*sqliteFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // the operator's own setting
	if err != nil {
		return nil, fmt.Errorf("database.path: %w", err)
	}
	defer func() { _ = f.Close() }()
	// One that was made by others, like the older rewrite, may be readable by
	// everybody; what SQLite puts beside it has the file's own mode.
	if err := f.Chmod(0o600); err != nil && !errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("database.path: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("database.path: %w", err)
	}
	return &sqliteFile{path: path, info: info}, nil
}

// inPlace says whether the file is where it was. One that was replaced by
// another has its connections opened anew.
func (f *sqliteFile) inPlace(reopen func() error) error {
	now, err := os.Stat(f.path)
	if err != nil {
		return fmt.Errorf("%w: the file is not where it was: %w", ErrUnavailable, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if os.SameFile(f.info, now) {
		return nil
	}
	if err := reopen(); err != nil {
		return err
	}
	f.info = now
	return nil
}
