//go:build unix

package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// guardDir checks who can write to dir and to the folders above it. A dir of ours
// that others may read is closed; one that others may write is an error, for what
// lies in it may be theirs.
func guardDir(dir string) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fmt.Errorf("check state folder: %w", err)
	}
	info, err := os.Stat(real)
	if err != nil {
		return fmt.Errorf("check state folder: %w", err)
	}
	owner := info.Sys().(*syscall.Stat_t).Uid
	mode := info.Mode().Perm()
	switch {
	case int(owner) != os.Geteuid():
		return &hinted{fmt.Errorf("state folder %s belongs to uid %d, and gomirror runs as uid %d", dir, owner, os.Geteuid()),
			"run gomirror as its owner, without sudo"}
	case mode&0o022 != 0:
		return &hinted{fmt.Errorf("state folder %s can be written by others (mode %04o)", dir, mode), "chmod 700 " + dir}
	case mode&0o077 != 0:
		if err := os.Chmod(real, 0o700); err != nil {
			return fmt.Errorf("close state folder to others: %w", err)
		}
	}
	for up := filepath.Dir(real); ; up = filepath.Dir(up) {
		if err := guardAbove(up); err != nil {
			return err
		}
		if up == filepath.Dir(up) {
			return nil
		}
	}
}

// guardAbove checks a folder above the state folder: who may write there could put
// another in its place. Sticky folders don't allow that. The user's own group may
// write, as many systems set it up.
func guardAbove(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("check state folder: %w", err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	mode := info.Mode()
	if mode&os.ModeSticky != 0 {
		return nil
	}
	if mode&0o002 != 0 || mode&0o020 != 0 && int(stat.Gid) != os.Getegid() && stat.Gid != 0 {
		return &hinted{fmt.Errorf("folder %s above the state folder can be written by others (mode %04o)", dir, mode.Perm()),
			"chmod go-w " + dir}
	}
	return nil
}
