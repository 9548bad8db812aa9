package cache

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// folder is an open folder of the cache. An os.Root walks a path name by name, with an
// open and a close for each, and a commit uses some fifteen paths in three folders:
// that was 130 system calls of 150.
type folder struct {
	root *os.Root
	self *os.File // the same one: for rename and fsync, which os.Root lacks
	info fs.FileInfo
}

func (f *folder) close() {
	f.root.Close()
	f.self.Close()
}

// folders keeps the folders that were used last.
type folders struct {
	mu  *sync.Mutex
	lru *simplelru.LRU[string, *folder] // nil where open folders get in the way
}

func newFolders() folders {
	f := folders{mu: new(sync.Mutex)}
	if keptFolders > 0 {
		// The only error is a size below one. A folder in use that is closed here has
		// its user take the long way, see at.
		f.lru, _ = simplelru.NewLRU(keptFolders, func(_ string, old *folder) { old.close() })
	}
	return f
}

// drop closes them all.
func (f *folders) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lru != nil {
		f.lru.Purge()
	}
}

// folder returns an open folder, nil if none are kept. It compares with what the path
// names now: others may remove and make folders at any time. The first time it goes
// through the root, so that no link leads out; that the folder is still the same one
// is then enough.
func (d *disk) folder(dir string) (*folder, error) {
	if d.folders.lru == nil {
		return nil, nil
	}
	now, err := d.stat(dir)
	if err != nil {
		return nil, err
	}
	f, err := d.current(dir, now)
	if errors.Is(err, fs.ErrNotExist) && d.renew() == nil { // in the place of our root is another folder
		f, err = d.current(dir, now)
	}
	return f, err
}

// current returns the open folder that the path names, and opens it at first.
func (d *disk) current(dir string, now fs.FileInfo) (*folder, error) {
	d.folders.mu.Lock()
	defer d.folders.mu.Unlock()
	if f, ok := d.folders.lru.Get(dir); ok {
		if os.SameFile(f.info, now) {
			return f, nil
		}
		d.folders.lru.Remove(dir)
	}
	f, err := d.openFolder(dir)
	if err != nil {
		return nil, err
	}
	d.folders.lru.Add(dir, f)
	return f, nil
}

func (d *disk) openFolder(dir string) (*folder, error) {
	root, err := d.root().OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	info, err := self.Stat()
	if err != nil {
		root.Close()
		self.Close()
		return nil, err
	}
	return &folder{root, self, info}, nil
}

// at does something to a name, in its folder if that is open or can be.
func (d *disk) at(name string, do func(root *os.Root, name string) error) error {
	f, err := d.folder(path.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "find", Path: name, Err: cause(err)}
	}
	if err != nil || f == nil {
		return do(d.root(), name)
	}
	err = do(f.root, path.Base(name))
	if errors.Is(err, fs.ErrClosed) { // by another goroutine that needed another folder
		return do(d.root(), name)
	}
	return err
}

// open opens a file for reading.
func (d *disk) open(name string) (*os.File, error) { return d.openFile(name, os.O_RDONLY) }

func (d *disk) openFile(name string, flag int) (f *os.File, err error) {
	err = d.at(name, func(root *os.Root, name string) error {
		f, err = root.OpenFile(name, flag, fileMode)
		return err
	})
	return f, err
}

// exists reports whether name is held. A fault in looking counts as "no": the
// caller then fetches what it could have had.
func (d *disk) exists(name string) bool {
	return d.at(name, func(root *os.Root, name string) error {
		_, err := root.Stat(name)
		return err
	}) == nil
}

// remove removes what may be there.
func (d *disk) remove(names ...string) {
	for _, name := range names {
		_ = d.at(name, (*os.Root).Remove)
	}
}

// rename gives a file another name in the cache.
func (d *disk) rename(from, to string) error {
	old, err := d.folder(path.Dir(from))
	if err != nil || old == nil {
		return d.root().Rename(from, to)
	}
	place, err := d.folder(path.Dir(to))
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil {
		err = renameAt(old.self, path.Base(from), place.self, path.Base(to))
	}
	if errors.Is(err, fs.ErrClosed) || place == nil {
		return d.root().Rename(from, to)
	}
	return err
}

// syncFolder makes the names in a folder survive a loss of power.
func (d *disk) syncFolder(dir string) error {
	f, err := d.folder(dir)
	if err != nil || f == nil {
		return err
	}
	if err := syncNames(f.self); !errors.Is(err, fs.ErrClosed) {
		return err
	}
	self, err := d.root().Open(dir)
	if err != nil {
		return err
	}
	defer self.Close()
	return syncNames(self)
}

// readDir lists a folder.
func (d *disk) readDir(dir string) ([]fs.DirEntry, error) {
	f, err := d.folder(dir)
	if err == nil && f != nil {
		if files, err := fs.ReadDir(f.root.FS(), "."); !errors.Is(err, fs.ErrClosed) {
			return files, err
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return fs.ReadDir(d.root().FS(), dir)
}
