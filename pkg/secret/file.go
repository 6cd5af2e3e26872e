package secret

import (
	"errors"
	"fmt"
	"os"
)

// ReadFile reads a file that the settings name, which may not be larger than most
// bytes. The error names it, and quotes nothing of it.
func ReadFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the file %s cannot be read: %w", path, errors.Unwrap(err))
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Size() == 0:
		return nil, fmt.Errorf("the file %s is empty", path)
	case info.Size() > most:
		return nil, fmt.Errorf("the file %s has more than %d bytes", path, most)
	}
	return os.ReadFile(path) //nolint:gosec // the operator's own file
}
