package cache

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// isFull reports whether err says that the disk takes no more.
func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) || errors.Is(err, windows.ERROR_WRITE_PROTECT)
}

// openToOthers is for systems with mode bits. A folder in the user's profile
// inherits an access list that names the user.
func openToOthers(fs.FileInfo) bool { return false }

// syncFolder has nothing to do: NTFS journals names.
func syncFolder(*os.Root, string) error { return nil }
