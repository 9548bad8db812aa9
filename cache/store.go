package cache

import (
	"fmt"
	"hash/fnv"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// The folders of a cache beside the two trees. All of them are private to the user.
const (
	recordDir     = "meta"          // meta/public and meta/private: answers that may change, see record.go
	ledgerDir     = "meta/versions" // what the three files of a version must hash to, see ledger.go
	markerDir     = "unverified"    // versions that the checksum database has yet to confirm
	movedDir      = "moved"         // private versions whose tag has moved or is gone
	draftDir      = "drafts"        // one folder a process, see disk.go
	lockDir       = "locks"         // one file a bucket of module paths
	quarantineDir = "quarantine"    // answers that contradicted what was known
)

// lockBuckets is how many commits of different modules can run at once. Each is a
// file that stays, so a lock a module would leave thousands behind. A commit that waits
// for the disk holds up others of its bucket: there are some 30 of a go mod download at
// a time.
const lockBuckets = 256

// Options are the settings of a Store.
type Options struct {
	Dir string           // required; made if missing
	Now func() time.Time // nil means time.Now
	Log *slog.Logger     // nil discards
}

// Store is a cache folder. It is safe for many goroutines and many processes: a
// reader sees a whole answer or none, and whoever writes holds the lock of the
// module path.
type Store struct {
	disk     *disk
	recent   *recent
	unpacker *unpacker
	now      func() time.Time
	log      *slog.Logger
	buckets  [lockBuckets]sync.Mutex
}

// Open opens the cache in opts.Dir and removes the drafts that dead processes left.
// A full disk does not stop it: what is held can still be read.
func Open(opts Options) (*Store, error) {
	s := &Store{recent: newRecent(), unpacker: newUnpacker(), now: opts.Now, log: opts.Log}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, &openError{opts.Dir, err}
	}
	if s.disk, err = openDisk(dir); err != nil {
		return nil, &openError{dir, err}
	}
	if _, err := s.disk.settle(); err != nil && !isFull(err) && !outOfFiles(err) {
		s.disk.close()
		return nil, &openError{dir, err}
	} else if err != nil {
		s.log.Warn("cache can't be written", "dir", dir, "err", err)
	}
	return s, nil
}

// Close removes the drafts of this Store. Entries that are open stay readable.
func (s *Store) Close() error { return s.disk.close() }

// Dir returns the absolute path of the cache folder.
func (s *Store) Dir() string { return s.disk.dir }

// lock excludes every other writer of modPath, in this process and in others. The
// kernel drops the lock of a process that dies.
func (s *Store) lock(modPath string) (unlock func(), err error) {
	h := fnv.New32a()
	h.Write([]byte(modPath))
	n := h.Sum32() % lockBuckets
	// flock blocks a thread, so only one goroutine a bucket may wait for it.
	s.buckets[n].Lock()
	l, err := s.disk.lock(fmt.Sprintf("%s/%02x", lockDir, n))
	if err != nil {
		s.buckets[n].Unlock()
		return nil, s.disk.full(fmt.Errorf("lock %s: %w", modPath, err))
	}
	return func() { unlockFile(l); s.buckets[n].Unlock() }, nil
}

// unlockFile drops a lock. Closing the file is what frees it, and there is nothing
// to be done if the kernel reports a fault with that.
func unlockFile(l *flock.Flock) { _ = l.Close() }

// openError is a cache folder that can't be used.
type openError struct {
	dir string
	err error
}

func (e *openError) Error() string { return fmt.Sprintf("open cache %s: %v", e.dir, e.err) }
func (e *openError) Unwrap() error { return e.err }

// Hint tells the one thing to do.
func (e *openError) Hint() string {
	if e.err == errOthersWrite {
		return "chmod go-w " + e.dir
	}
	return "make " + e.dir + " a folder you can write to, or move the cache: gomirror config set cache.dir DIR"
}
