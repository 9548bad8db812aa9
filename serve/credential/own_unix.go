//go:build unix

package credential

import (
	"fmt"
	"os"
	"syscall"
)

// openOwn opens a file that is ours alone. It follows no link, and does not wait for
// the other end of a pipe.
func openOwn(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil {
		err = checkOwn(path, info)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func checkOwn(path string, info os.FileInfo) error {
	owner := info.Sys().(*syscall.Stat_t).Uid
	switch {
	case !info.Mode().IsRegular():
		return &hinted{fmt.Errorf("read %s: not a file", path), "rm " + path}
	case int(owner) != os.Geteuid():
		return &hinted{fmt.Errorf("read %s: it belongs to uid %d, and gomirror runs as uid %d", path, owner, os.Geteuid()),
			"run gomirror as its owner, without sudo"}
	case info.Mode().Perm()&0o077 != 0:
		return &hinted{fmt.Errorf("read %s: others may read or write it (mode %04o)", path, info.Mode().Perm()), "chmod 600 " + path}
	}
	return nil
}

// closeFolder closes the state folder to others. Where they could write so far, what
// lies there may be theirs.
func closeFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("check state folder: %w", err)
	}
	switch owner := info.Sys().(*syscall.Stat_t).Uid; {
	case int(owner) != os.Geteuid():
		return &hinted{fmt.Errorf("state folder %s belongs to uid %d, and gomirror runs as uid %d", dir, owner, os.Geteuid()),
			"run gomirror as its owner, without sudo"}
	case info.Mode().Perm()&0o022 != 0:
		return &hinted{fmt.Errorf("state folder %s can be written by others (mode %04o)", dir, info.Mode().Perm()), "chmod 700 " + dir}
	case info.Mode().Perm()&0o077 == 0:
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("close state folder to others: %w", err)
	}
	return nil
}
