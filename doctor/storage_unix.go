//go:build unix

package doctor

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// hasModes says that mode bits tell who may do what.
const hasModes = true

// ownerOf returns the user whose file it is.
func ownerOf(info fs.FileInfo) (uid int, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(stat.Uid), true
}

// othersWrite reports whether another user may exchange what lies in a folder.
func othersWrite(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	mode := info.Mode()
	if !ok || mode&os.ModeSticky != 0 {
		return false
	}
	return mode&0o002 != 0 || mode&0o020 != 0 && int(stat.Gid) != os.Getegid() && stat.Gid != 0
}

// noLocks reports whether err says that a file system has no locks.
func noLocks(err error) bool {
	return errors.Is(err, syscall.ENOLCK) || errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.EINVAL)
}
