package cache

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// keptFolders is none: Windows does not remove what is open.
const keptFolders = 0

// isFull reports whether err says that the disk takes no more.
func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) || readOnly(err)
}

// readOnly reports whether err says that a file system takes nothing at all.
func readOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

// outOfFiles reports whether err says that no more files can be open.
func outOfFiles(err error) bool { return errors.Is(err, windows.ERROR_TOO_MANY_OPEN_FILES) }

// openToOthers is for systems with mode bits. A folder in the user's profile
// inherits an access list that names the user.
func openToOthers(fs.FileInfo) bool { return false }

// syncNames has nothing to do: NTFS journals names.
func syncNames(*os.File) error { return nil }

// renameAt is not called where no folders are kept.
func renameAt(*os.File, string, *os.File, string) error { return errors.ErrUnsupported }
