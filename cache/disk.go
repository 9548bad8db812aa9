package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// Every file and folder is the user's alone, whatever the umask: private modules
// pass through all of them, and drafts too.
const (
	fileMode   fs.FileMode = 0o600
	folderMode fs.FileMode = 0o700
)

// errOthersWrite is a cache in which another user could swap a folder of ours.
var errOthersWrite = errors.New("other users can write to it")

// disk is the cache folder. Every open goes through an os.Root, see folder, so that no name,
// however it came about, leads out of it. Locks are the exception: their names are
// constants.
type disk struct {
	dir       string
	base      atomic.Pointer[os.Root]
	folders   folders
	serial    atomic.Uint64
	shortages atomic.Int64 // how often the disk was full
	fault     func() error // set by tests: a write fails as it does on a full disk

	opening sync.Mutex // held where base changes

	mu   sync.Mutex
	home string       // our folder of drafts; "" until it could be made
	in   *os.Root     // the root that home is in
	live *flock.Flock // held for as long as home is in use
}

func openDisk(dir string) (*disk, error) {
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	return newDisk(dir, root), nil
}

func newDisk(dir string, root *os.Root) *disk {
	d := &disk{dir: dir, folders: newFolders()}
	d.base.Store(root)
	return d
}

func openRoot(dir string) (*os.Root, error) {
	if err := os.MkdirAll(dir, folderMode); err != nil {
		return nil, err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if openToOthers(info) {
		return nil, errOthersWrite
	}
	return os.OpenRoot(dir)
}

func (d *disk) root() *os.Root { return d.base.Load() }

// renew opens the cache folder again if its path names another one by now, or none, as
// after rm -rf on a cache in use: in a folder that was deleted nothing can be made. The
// root before it is not closed, for others may be at it; the garbage collector does that.
func (d *disk) renew() error {
	d.opening.Lock()
	defer d.opening.Unlock()
	ours, err := d.root().Stat(".")
	if errors.Is(err, fs.ErrClosed) {
		return err
	}
	now, gone := os.Stat(d.dir)
	if err == nil && gone == nil && os.SameFile(ours, now) || gone != nil && !errors.Is(gone, fs.ErrNotExist) {
		return nil // what can't be looked at may still be open
	}
	root, err := openRoot(d.dir)
	if err != nil {
		return &FullError{d.dir, &openError{d.dir, cause(err)}} // what is in hand can be served all the same
	}
	d.base.Store(root)
	d.folders.drop()
	return nil
}

// settle returns the folder for the drafts of this process and makes it at first.
// The flock in it tells others that it is in use, so folders without one are what
// dead processes left.
func (d *disk) settle() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.renew(); err != nil {
		return "", err
	}
	if d.home != "" && d.in == d.root() {
		return d.home, nil
	}
	d.leave()
	// Between mkdir and flock a new folder looks dead, so settling takes turns.
	turn, err := d.lock(lockDir + "/drafts")
	if err != nil {
		return "", err
	}
	defer unlockFile(turn)
	d.sweep()

	home := fmt.Sprintf("%s/%d-%d", draftDir, os.Getpid(), time.Now().UnixNano())
	if err := d.mkdir(home); err != nil {
		return "", err
	}
	live, err := d.lock(home + "/lock")
	if err != nil {
		return "", err
	}
	d.home, d.live, d.in = home, live, d.root()
	return home, nil
}

// leave gives up our folder of drafts. The caller holds mu.
func (d *disk) leave() {
	if d.home != "" {
		unlockFile(d.live)
		d.home, d.in = "", nil
	}
}

// sweep removes the drafts of processes that are gone, but for what can be resumed.
// One that can't be removed is left to the next start.
func (d *disk) sweep() {
	folders, err := fs.ReadDir(d.root().FS(), draftDir)
	if err != nil {
		return
	}
	for _, folder := range folders {
		name := draftDir + "/" + folder.Name()
		l := d.flock(name + "/lock")
		dead, err := l.TryLock()
		if !dead && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			continue // a lock that can't be tried, for want of descriptors say, may be held
		}
		unlockFile(l) // before the removal: Windows keeps open files
		d.rescue(name)
		_ = d.root().RemoveAll(name)
	}
	d.trimPartials(partialBytes)
}

func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if home := d.home; home != "" {
		d.rescue(home)
		d.leave()
		_ = d.root().RemoveAll(home) // else the next start does it
	}
	d.opening.Lock() // so that no root is opened from here on
	defer d.opening.Unlock()
	defer d.folders.drop()
	return d.root().Close()
}

// lock waits for the lock of the given name.
func (d *disk) lock(name string) (*flock.Flock, error) {
	if err := d.renew(); err != nil {
		return nil, err
	}
	l := d.flock(name)
	err := l.Lock()
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.mkdir(path.Dir(name)); err != nil {
			return nil, err
		}
		err = l.Lock()
	}
	return l, err
}

func (d *disk) flock(name string) *flock.Flock {
	return flock.New(filepath.Join(d.dir, filepath.FromSlash(name)), flock.SetPermissions(fileMode))
}

func (d *disk) ready() error {
	if d.fault != nil {
		return d.fault()
	}
	return nil
}

// full makes a *FullError of an error that says so.
func (d *disk) full(err error) error {
	if already := (*FullError)(nil); err == nil || errors.As(err, &already) || !isFull(err) && !outOfFiles(err) {
		return err
	}
	return &FullError{d.dir, cause(err)}
}

// cause is what may be said of a fault: without the file name, which may be that
// of a private module.
func cause(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	if at, ok := errors.AsType[*os.LinkError](err); ok {
		return at.Err
	}
	return err
}
