package doctor

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// Space is what a file system has left, and what it is.
type Space struct {
	Kind        string // such as "nfs"; "" if not known
	Remote      bool   // on another machine
	ReadOnly    bool   // mounted so
	Total, Free uint64 // bytes; Free is what this user may take
	Files, Rest uint64 // how many files there may be, and may still come; 0 and 0 where that is not limited

	// Quota is how many bytes the user may still take, NoQuota if there is no such limit.
	Quota uint64
}

// NoQuota is the [Space.Quota] of who has none.
const NoQuota = ^uint64(0)

// What is enough. A cold pull of a large project brings some hundreds of MB in some
// thousands of files.
const (
	fullBytes  = 200 << 20
	tightBytes = 1 << 30
	tightShare = 20       // one part in 20, 5 %
	tightMost  = 10 << 30 // of a large disk 5 % is more than any pull takes
	fullFiles  = 1_000
	tightFiles = 10_000
	openFiles  = 1_024 // each client, each download and each file in use is one
)

// checkSpace looks at the disks of both folders, once where they are the same.
func (o *Options) checkSpace() []Finding {
	var findings []Finding
	var seen []Space
	for _, dir := range []string{o.cacheDir(), o.StateDir} {
		s, err := o.space(existing(dir))
		if err != nil {
			return say(Skipped, "", "the disk of %s can't be asked: %v", dir, cause(err))
		}
		if len(seen) > 0 && seen[0].Total == s.Total && seen[0].Kind == s.Kind {
			continue
		}
		seen = append(seen, s)
		findings = append(findings, o.judgeSpace(dir, s)...)
	}
	findings = append(findings, o.judgeLimit()...)
	if len(findings) > 0 {
		return findings
	}
	return say(OK, "", "%s free of %s", gigabytes(min(seen[0].Free, seen[0].Quota)), gigabytes(seen[0].Total))
}

func (o *Options) space(dir string) (Space, error) {
	if o.Space != nil {
		return o.Space(dir)
	}
	return spaceAt(dir)
}

// judgeSpace returns what is wrong with the space for dir.
func (o *Options) judgeSpace(dir string, s Space) []Finding {
	fix := "gomirror config set cache.dir DIR; " + o.restart("cache.dir")
	if dir == o.StateDir {
		fix = "go clean -cache" // most often the largest thing there that can be made again
	}
	tight := min(max(tightBytes, s.Total/tightShare), tightMost)
	switch {
	case s.Free < fullBytes:
		return say(Fail, fix, "the disk of %s is full: %s free of %s", dir, gigabytes(s.Free), gigabytes(s.Total))
	case s.Quota < fullBytes:
		return say(Fail, fix, "your quota on the disk of %s is used up: %s left", dir, gigabytes(s.Quota))
	case s.Files > 0 && s.Rest < fullFiles:
		return say(Fail, fix, "the disk of %s takes no more than %d further files, however small (inodes)", dir, s.Rest)
	case s.Free < tight:
		return say(Warn, fix, "the disk of %s is nearly full: %s free of %s", dir, gigabytes(s.Free), gigabytes(s.Total))
	case s.Quota < tightBytes:
		return say(Warn, fix, "your quota on the disk of %s is nearly used up: %s left", dir, gigabytes(s.Quota))
	case s.Files > 0 && s.Rest < tightFiles:
		return say(Warn, fix, "the disk of %s takes no more than %d further files (inodes)", dir, s.Rest)
	}
	return nil
}

// judgeLimit looks at how many files the sidecar may have open, or the next one could:
// a program of Go takes as many as it is allowed at most.
func (o *Options) judgeLimit() []Finding {
	own, known := openLimit(0)
	if !known {
		return nil
	}
	limit := own
	if pid := o.Daemon().Status.PID; pid > 0 {
		if its, ok := openLimit(pid); ok {
			limit = its
		}
	}
	switch {
	case limit >= openFiles:
		return nil
	case own >= openFiles:
		return say(Warn, o.restart(), "gomirror may have no more than %d files open; the shell that started it had a lower limit than this one", limit)
	case o.GOOS == "linux":
		return say(Warn, `sudo prlimit --pid "$$" --nofile=4096:4096; `+o.restart(), "gomirror may have no more than %d files open", limit)
	}
	return say(Warn, "ulimit -Hn 4096; ulimit -n 4096; "+o.restart(), "gomirror may have no more than %d files open", limit)
}

// checkFileSystem looks for what the cache relies on: that it can be written to, locks
// between processes, and that nobody else can exchange its folder.
func (o *Options) checkFileSystem() []Finding {
	dir := o.cacheDir()
	move := "gomirror config set cache.dir DIR; " + o.restart("cache.dir")
	if above := writableAbove(dir); above != "" {
		if info, err := os.Stat(above); err == nil {
			if uid, known := ownerOf(info); known && uid == os.Geteuid() {
				return say(Fail, "chmod go-w "+quoted(above), "others may write to %s, and so put another cache in the place of %s", above, dir)
			}
		}
		return say(Fail, move, "others may write to %s, and so put another cache in the place of %s", above, dir)
	}
	s, err := o.space(existing(dir))
	if err != nil {
		return say(Skipped, "", "the file system of %s can't be asked: %v", dir, cause(err))
	}
	switch tried, err := tryLock(dir); {
	case s.ReadOnly:
		return say(Fail, move, "%s is on a file system that is mounted read-only", dir)
	case err != nil:
		return say(Fail, move, "%s is on a file system without locks (%s): %v", dir, s.Kind, cause(err))
	case s.Remote && !tried:
		return say(Warn, move, "%s is on another machine (%s), where locks may not hold", dir, s.Kind)
	case s.Remote:
		return say(OK, "", "%s is on another machine (%s), and locks work there", dir, s.Kind)
	}
	return say(OK, "", "the cache is on this machine's own disk")
}

// tryLock takes, for an instant and without writing anything, a lock that others may
// take as well. It reports whether there was anything to lock.
func tryLock(dir string) (tried bool, err error) {
	for _, name := range []string{"locks/drafts", "locks/*"} {
		files, _ := filepath.Glob(filepath.Join(dir, filepath.FromSlash(name)))
		for _, file := range files {
			l := flock.New(file, flock.SetFlag(os.O_RDONLY))
			_, err := l.TryRLock()
			err = errors.Join(err, l.Close())
			if noLocks(err) {
				return true, err
			}
			return err == nil, nil
		}
	}
	return false, nil
}
