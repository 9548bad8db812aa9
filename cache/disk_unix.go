//go:build unix

package cache

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// isFull reports whether err says that the disk takes no more.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// openToOthers reports whether another user may add, remove or rename in a folder.
func openToOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

// syncFolder makes the names in a folder survive a loss of power.
func syncFolder(root *os.Root, name string) error {
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	// Some file systems can't sync a folder. They say EINVAL and lose nothing else.
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}
