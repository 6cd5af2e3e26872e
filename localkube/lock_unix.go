//go:build unix

package localkube

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"
)

// lock takes an exclusive lock on a file. The kernel drops it with the
// process, so a killed build leaves nothing behind.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644) //nolint:gosec // a lock file of the cache
	if err != nil {
		return nil, fmt.Errorf("open the build lock: %w", err)
	}
	for {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err == nil {
			return func() { _ = f.Close() }, nil
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another build in %s: %w", path, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
