//go:build unix

package cache

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// keptFolders is how many folders stay open, at two descriptors each. A commit needs
// three at a time.
const keptFolders = 24

// isFull reports whether err says that the disk takes no more.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || readOnly(err)
}

// readOnly reports whether err says that a file system takes nothing at all.
func readOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

// outOfFiles reports whether err says that no more files can be open.
func outOfFiles(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// openToOthers reports whether another user may add, remove or rename in a folder.
func openToOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

// syncNames makes the names in a folder survive a loss of power.
func syncNames(folder *os.File) error {
	// Some file systems can't sync a folder. They say EINVAL and lose nothing else.
	if err := folder.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// renameAt renames from one open folder to another. Control keeps both open meanwhile.
func renameAt(old *os.File, from string, place *os.File, to string) error {
	a, err := old.SyscallConn()
	if err != nil {
		return err
	}
	b, err := place.SyscallConn()
	if err != nil {
		return err
	}
	outer := a.Control(func(oldFD uintptr) {
		inner := b.Control(func(newFD uintptr) {
			for err = unix.EINTR; err == unix.EINTR; {
				err = unix.Renameat(int(oldFD), from, int(newFD), to)
			}
		})
		if inner != nil {
			err = fs.ErrClosed
		}
	})
	if outer != nil {
		return fs.ErrClosed // RawConn has a private error for it
	}
	if err != nil && err != fs.ErrClosed {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return err
}
