package doctor

import (
	"errors"
	"io/fs"
	"path/filepath"

	"golang.org/x/sys/windows"
)

// hasModes says that mode bits tell nothing here: access lists do.
const hasModes = false

func ownerOf(fs.FileInfo) (uid int, known bool) { return 0, false }

// othersWrite is no: what lies below a user's profile inherits an access list that
// names the user.
func othersWrite(fs.FileInfo) bool { return false }

func noLocks(err error) bool { return errors.Is(err, windows.ERROR_INVALID_FUNCTION) }

// spaceAt asks for the volume of dir. The quota of the user is in what it says is free.
func spaceAt(dir string) (Space, error) {
	s := Space{Quota: NoQuota}
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return s, err
	}
	if err := windows.GetDiskFreeSpaceEx(path, &s.Free, &s.Total, nil); err != nil {
		return s, err
	}
	root, err := windows.UTF16PtrFromString(filepath.VolumeName(dir) + `\`)
	if err != nil {
		return s, err
	}
	var flags uint32
	if windows.GetVolumeInformation(root, nil, 0, nil, nil, &flags, nil, 0) == nil { // else its folder says so
		s.ReadOnly = flags&windows.FILE_READ_ONLY_VOLUME != 0
	}
	if windows.GetDriveType(root) == windows.DRIVE_REMOTE {
		s.Kind, s.Remote = "a network drive", true
	}
	return s, nil
}

// openLimit is not known: handles are limited by memory.
func openLimit(int) (limit uint64, known bool) { return 0, false }
