package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
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

// disk is the cache folder. Every open goes through an os.Root, so that no name,
// however it came about, leads out of it. Locks are the exception: their names are
// constants.
type disk struct {
	dir    string
	root   *os.Root
	serial atomic.Uint64
	fault  func() error // set by tests: a write fails as it does on a full disk

	mu   sync.Mutex
	home string       // our folder of drafts; "" until it could be made
	live *flock.Flock // held for as long as home is in use
}

func openDisk(dir string) (*disk, error) {
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
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &disk{dir: dir, root: root}, nil
}

// settle returns the folder for the drafts of this process and makes it at first.
// The flock in it tells others that it is in use, so folders without one are what
// dead processes left.
func (d *disk) settle() (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.home != "" {
		return d.home, nil
	}
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
	d.home, d.live = home, live
	return home, nil
}

// sweep removes the drafts of processes that are gone. One that can't be removed
// is left to the next start.
func (d *disk) sweep() {
	folders, err := fs.ReadDir(d.root.FS(), draftDir)
	if err != nil {
		return
	}
	for _, folder := range folders {
		name := draftDir + "/" + folder.Name()
		l := d.flock(name + "/lock")
		if dead, err := l.TryLock(); err == nil && !dead {
			continue
		}
		unlockFile(l) // before the removal: Windows keeps open files
		_ = d.root.RemoveAll(name)
	}
}

func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.home != "" {
		unlockFile(d.live)
		_ = d.root.RemoveAll(d.home) // else the next start does it
		d.home = ""
	}
	return d.root.Close()
}

// lock waits for the lock of the given name.
func (d *disk) lock(name string) (*flock.Flock, error) {
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

// create makes an empty draft file.
func (d *disk) create() (f *os.File, name string, err error) {
	home, err := d.settle()
	if err == nil {
		err = d.ready()
	}
	if err != nil {
		return nil, "", d.full(err)
	}
	name = home + "/" + strconv.FormatUint(d.serial.Add(1), 36)
	f, err = d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrNotExist) && d.unsettle(home) {
		return d.create()
	}
	return f, name, d.full(err)
}

// unsettle gives up a folder of drafts that is gone, as after rm -rf on a cache in
// use, and reports whether it did.
func (d *disk) unsettle(home string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.home != home || d.exists(home) {
		return false
	}
	unlockFile(d.live)
	d.home = ""
	return true
}

// write appends to a draft.
func (d *disk) write(f *os.File, p []byte) (int, error) {
	if err := d.ready(); err != nil {
		return 0, d.full(err)
	}
	n, err := f.Write(p)
	return n, d.full(err)
}

// put writes a whole file at once: readers see the old content or the new.
// durable says that it must also survive a loss of power.
func (d *disk) put(name string, data []byte, at time.Time, durable bool) error {
	f, draft, err := d.create()
	if err != nil {
		return err
	}
	_, err = d.write(f, data)
	if err == nil {
		err = d.seal(f, draft, at, durable)
	} else {
		f.Close()
	}
	if err == nil {
		err = d.place(draft, name)
	}
	if err != nil {
		d.remove(draft)
	}
	return err
}

// seal ends the writing of a draft. Its bytes must be on the disk before its name
// is: a name with half a file behind it would be served.
func (d *disk) seal(f *os.File, draft string, at time.Time, durable bool) error {
	if !at.IsZero() {
		if err := d.root.Chtimes(draft, at, at); err != nil {
			f.Close()
			return d.full(err)
		}
	}
	if durable {
		if err := f.Sync(); err != nil {
			f.Close()
			return d.full(err)
		}
	}
	// A network file system may report a full disk as late as here.
	return d.full(f.Close())
}

// place gives a draft its name in the cache.
func (d *disk) place(draft, name string) error {
	if err := d.ready(); err != nil {
		return d.full(err)
	}
	err := d.root.Rename(draft, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := d.mkdir(path.Dir(name)); err != nil {
			return d.full(err)
		}
		err = d.root.Rename(draft, name)
	}
	return d.full(err)
}

// exists reports whether name is held. A fault in looking counts as "no": the
// caller then fetches what it could have had.
func (d *disk) exists(name string) bool {
	_, err := d.root.Stat(name)
	return err == nil
}

// remove removes what may be there.
func (d *disk) remove(names ...string) {
	for _, name := range names {
		_ = d.root.Remove(name)
	}
}

func (d *disk) mkdir(name string) error {
	if err := d.ready(); err != nil {
		return err
	}
	return d.root.MkdirAll(name, folderMode)
}

func (d *disk) ready() error {
	if d.fault != nil {
		return d.fault()
	}
	return nil
}

// full makes a *FullError of an error that says so.
func (d *disk) full(err error) error {
	if already := (*FullError)(nil); err == nil || errors.As(err, &already) || !isFull(err) {
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
