package doctor

import "golang.org/x/sys/unix"

// spaceAt asks for the file system of dir.
func spaceAt(dir string) (Space, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return Space{}, err
	}
	block := uint64(st.Bsize)
	return Space{
		Kind: unix.ByteSliceToString(st.Fstypename[:]), Remote: st.Flags&unix.MNT_LOCAL == 0, ReadOnly: st.Flags&unix.MNT_RDONLY != 0,
		Total: st.Blocks * block, Free: st.Bavail * block, Files: st.Files, Rest: st.Ffree, Quota: NoQuota,
	}, nil
}

// openLimit knows the limit of this process alone, 0.
func openLimit(pid int) (limit uint64, known bool) {
	var r unix.Rlimit
	if pid != 0 || unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 0, false
	}
	return r.Cur, true
}
