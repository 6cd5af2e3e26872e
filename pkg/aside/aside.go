// Package aside writes files whose readers never see half of one.
package aside

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// prefix is that of the names of files that are being written.
const prefix = "new-"

// Write replaces a file as a whole, for this user only: it is written beside its
// place and renamed. Its folder is made where it is missing. The file may be gone or
// empty after the machine has failed, which is not waited for.
func Write(path string, parts ...[]byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, prefix+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err == nil {
			_, err = f.Write(part)
		}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // it is of no use
	}
	return err
}

// Unfinished says whether a name is that of a file that is being written, or whose
// writer has ended before it was, to become one with a suffix.
func Unfinished(name, suffix string) bool {
	return strings.HasPrefix(name, prefix) && strings.Contains(name, suffix+".")
}
