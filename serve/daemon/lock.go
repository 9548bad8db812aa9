package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gofrs/flock"
)

// ErrRunning says that another process holds the lock of the state folder.
var ErrRunning = errors.New("gomirror is already running")

// ErrNotRunning says that there is no sidecar to ask.
var ErrNotRunning = errors.New("gomirror is not running")

// Lock is held for as long as the sidecar runs. The system lets go of it when the
// process ends, however it ends.
type Lock struct{ file *flock.Flock }

// lockPatience is how long Acquire goes on trying: [Held] takes the lock for an
// instant to find out whether it is free.
const lockPatience = 200 * time.Millisecond

// Acquire makes the state folder if need be and takes its lock, or returns
// ErrRunning.
func Acquire(stateDir string) (*Lock, error) {
	if err := prepare(stateDir); err != nil {
		return nil, err
	}
	file := flock.New(filepath.Join(stateDir, lockFile), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	switch ok, err := file.TryLockContext(ctx, 10*time.Millisecond); {
	case ok:
		if err := save(stateDir, pidFile, strconv.Itoa(os.Getpid())); err != nil {
			return nil, errors.Join(err, file.Close())
		}
		return &Lock{file}, nil
	case err == nil, errors.Is(err, context.DeadlineExceeded):
		return nil, &hinted{ErrRunning, "gomirror status"}
	default:
		return nil, fmt.Errorf("lock %s: %w", file.Path(), err)
	}
}

// Release lets go of the lock.
func (l *Lock) Release() error { return l.file.Close() }

// Held reports whether a sidecar holds the lock of the state folder. It writes
// nothing.
func Held(stateDir string) bool {
	path := filepath.Join(stateDir, lockFile)
	if _, err := os.Stat(path); err != nil {
		return false
	}
	file := flock.New(path, flock.SetFlag(os.O_RDONLY))
	defer file.Close()
	ok, err := file.TryRLock()
	return err == nil && !ok
}
