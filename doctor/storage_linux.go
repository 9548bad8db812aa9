package doctor

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spaceAt asks for the file system of dir.
func spaceAt(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, err
	}
	block := uint64(st.Frsize)
	if block == 0 {
		block = uint64(st.Bsize)
	}
	s := Space{Total: st.Blocks * block, Free: st.Bavail * block, Files: st.Files, Rest: st.Ffree, Quota: quotaAt(dir), ReadOnly: st.Flags&unix.ST_RDONLY != 0}
	s.Kind, s.Remote = kindOf(uint64(st.Type) & 0xffffffff)
	return s, nil
}

// kindOf names the file systems of other machines, statfs(2). Others are told apart by
// their number only.
func kindOf(magic uint64) (kind string, remote bool) {
	switch magic {
	case unix.NFS_SUPER_MAGIC:
		return "nfs", true
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "smb", true
	case unix.V9FS_MAGIC:
		return "9p", true // of a virtual machine, or of Windows under WSL
	case unix.AFS_SUPER_MAGIC, unix.AFS_FS_MAGIC:
		return "afs", true
	case unix.CEPH_SUPER_MAGIC:
		return "ceph", true
	}
	return fmt.Sprintf("type %#x", magic), false
}

// The call quotactl_fd(2) of Linux 5.14 and what it fills in, linux/quota.h.
const (
	getQuota   = 0x800007 << 8 // Q_GETQUOTA of a user, whose type is 0
	blockLimit = 1             // QIF_BLIMITS in valid
	spaceValid = 2             // QIF_SPACE
	quotaBlock = 1024
)

type diskQuota struct {
	blockHard, blockSoft, used uint64 // limits in blocks, used in bytes
	fileHard, fileSoft, files  uint64
	blockTime, fileTime        uint64
	valid                      uint32
	_                          uint32
}

// quotaAt returns what the user may still take of the file system of dir. One that has
// no quotas, or a kernel that can't be asked, is as good as none.
func quotaAt(dir string) uint64 {
	folder, err := os.Open(dir)
	if err != nil {
		return NoQuota
	}
	defer folder.Close()
	var q diskQuota
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, folder.Fd(), getQuota, uintptr(os.Geteuid()), uintptr(unsafe.Pointer(&q)), 0, 0)
	if errno != 0 || q.valid&(blockLimit|spaceValid) != blockLimit|spaceValid {
		return NoQuota
	}
	return q.left()
}

// left is up to the hard limit: the soft one gives some days.
func (q *diskQuota) left() uint64 {
	limit := q.blockHard * quotaBlock
	switch {
	case limit == 0:
		return NoQuota
	case q.used >= limit:
		return 0
	}
	return limit - q.used
}

// openLimit returns how many files a process may have open; 0 is this one.
func openLimit(pid int) (limit uint64, known bool) {
	if pid == 0 {
		var r unix.Rlimit
		if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
			return 0, false
		}
		return r.Cur, true
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok && len(strings.Fields(rest)) > 0 {
			soft := strings.Fields(rest)[0]
			limit, err := strconv.ParseUint(soft, 10, 64)
			return limit, err == nil // "unlimited" is no number, and no fault
		}
	}
	return 0, false
}
