package cache

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strconv"
	"time"
)

// sameTime is how far the time of a file may be from when its answer was fetched,
// which is some seconds earlier at most.
const sameTime = time.Minute

// create makes an empty draft file.
func (d *disk) create() (f *os.File, name string, err error) {
	err = d.spare(func() error {
		f, name, err = d.tryCreate()
		return err
	})
	return f, name, err
}

func (d *disk) tryCreate() (f *os.File, name string, err error) {
	home, err := d.settle()
	if err == nil {
		err = d.ready()
	}
	if err != nil {
		return nil, "", err
	}
	name = d.next(home)
	f, err = d.openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if errors.Is(err, fs.ErrNotExist) && d.unsettle(home) {
		return d.tryCreate()
	}
	return f, name, err
}

// next returns a name that no other file of this process had.
func (d *disk) next(home string) string {
	return home + "/" + strconv.FormatUint(d.serial.Add(1), 36)
}

// unsettle gives up a folder of drafts that is gone, as after rm -rf on a cache in
// use, and reports whether it did.
func (d *disk) unsettle(home string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.home != home || d.exists(home) {
		return false
	}
	d.leave()
	return true
}

// write appends to a draft.
func (d *disk) write(f *os.File, p []byte) (n int, err error) {
	err = d.spare(func() error {
		if err := d.ready(); err != nil {
			return err
		}
		more, err := f.Write(p[n:])
		n += more
		return err
	})
	return n, err
}

// spare does something that takes space, and once more if partials had it. They are
// guesses at what is asked for next; those that are taken go when they are closed.
func (d *disk) spare(do func() error) error {
	err := do()
	if isFull(err) {
		d.shortages.Add(1)
		if d.trimPartials(0) {
			err = do()
		}
	}
	return d.full(err)
}

// put writes a whole file at once: readers see the old content or the new. It need
// not survive a loss of power: what is put so shows by itself when it is torn.
func (d *disk) put(name string, data []byte) error {
	draft, err := d.draft(data, time.Time{}, false)
	if err != nil {
		return err
	}
	if err := d.place(draft, name); err != nil {
		d.remove(draft)
		return err
	}
	return nil
}

// draft writes a whole draft file. durable says that it must survive a loss of power.
func (d *disk) draft(data []byte, at time.Time, durable bool) (name string, err error) {
	f, name, err := d.create()
	if err != nil {
		return "", err
	}
	_, err = d.write(f, data)
	if err == nil && durable {
		// Its bytes must be on the disk before its name is: a name with half a file
		// behind it would be served.
		err = d.full(f.Sync())
	}
	if err == nil {
		err = d.stamp(name, at)
	}
	// A network file system may report a full disk as late as here.
	if closing := d.full(f.Close()); err == nil {
		err = closing
	}
	if err != nil {
		d.remove(name)
	}
	return name, err
}

// stamp sets the time of a draft to when its answer was fetched.
func (d *disk) stamp(draft string, at time.Time) error {
	if at.IsZero() || time.Since(at).Abs() <= sameTime {
		return nil
	}
	return d.full(d.root().Chtimes(draft, at, at))
}

// place gives a draft its name in the cache.
func (d *disk) place(draft, name string) error {
	return d.spare(func() error {
		err := d.ready()
		if err == nil {
			err = d.rename(draft, name)
		}
		if errors.Is(err, fs.ErrNotExist) {
			if err = d.mkdir(path.Dir(name)); err == nil {
				err = d.rename(draft, name)
			}
		}
		return err
	})
}

func (d *disk) mkdir(name string) error {
	if err := d.ready(); err != nil {
		return err
	}
	return d.root().MkdirAll(name, folderMode)
}

// writeFile writes a file where it is, for what may be torn.
func (d *disk) writeFile(name string, data []byte) error {
	if err := d.ready(); err != nil {
		return err
	}
	f, err := d.openFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
