package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// storageChecks look at the folders.
func storageChecks(o Options) []Check {
	return []Check{
		{"S01", "storage", func(context.Context) []Finding { return o.checkModes() }},
		{"S02", "storage", func(context.Context) []Finding { return o.checkSpace() }},
		{"S03", "storage", func(context.Context) []Finding { return o.checkFileSystem() }},
		clockCheck(o),
	}
}

// closedPlaces are what nobody else may read: private modules pass through the cache,
// and who has the capability, or can ask the socket, is us.
func (o *Options) closedPlaces() (dirs, files []string) {
	dirs = []string{o.StateDir, filepath.Join(o.StateDir, "run"), o.cacheDir()}
	for _, name := range []string{"run/control.sock", "capability", "hello.key", "credentials.json", "tokens.json", "started.json", "gomirror.log"} {
		files = append(files, filepath.Join(o.StateDir, filepath.FromSlash(name)))
	}
	return dirs, append(files, o.ConfigFile)
}

// cacheDir is the folder of the sidecar that runs, else of the next one.
func (o *Options) cacheDir() string {
	if dir := o.Daemon().Status.Cache.Dir; dir != "" {
		return dir
	}
	return o.CacheDir
}

// checkModes tells apart what others may read, which is to be closed, and what they may
// write or even own, for that may be theirs already.
func (o *Options) checkModes() []Finding {
	if !hasModes {
		return say(Skipped, "", "access lists of %s close a user's folders to others", o.GOOS)
	}
	dirs, files := o.closedPlaces()
	var findings []Finding
	seen := 0
	look := func(path, mode string) {
		info, err := os.Stat(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return
		case err != nil:
			findings = append(findings, say(Fail, o.owning(filepath.Dir(path)), "%s can't be looked at: %v", path, cause(err))...)
			return
		}
		seen++
		findings = append(findings, o.judgeMode(path, mode, info)...)
	}
	for _, dir := range dirs {
		look(dir, "700")
	}
	for _, file := range files {
		look(file, "600")
	}
	if above := writableAbove(o.StateDir); above != "" {
		findings = append(findings, say(Fail, "chmod go-w "+quoted(above),
			"others may write to %s, and so put another folder in the place of %s", above, o.StateDir)...)
	}
	switch {
	case len(findings) > 0:
		return findings
	case seen == 0:
		return say(Skipped, "", "there are no folders of gomirror yet")
	}
	return say(OK, "", "folders, files and socket of gomirror are closed to others")
}

// judgeMode returns what is wrong with who may do what to path; nothing, if all is well.
func (o *Options) judgeMode(path, mode string, info fs.FileInfo) []Finding {
	uid, known := ownerOf(info)
	perm := info.Mode().Perm()
	switch {
	case known && uid != os.Geteuid() && os.Geteuid() == 0:
		return say(Fail, "gomirror doctor, as that user and without sudo", "%s belongs to user %d, and this is root", path, uid)
	case known && uid != os.Geteuid():
		return say(Fail, o.owning(path), "%s belongs to user %d, and gomirror runs as user %d", path, uid, os.Geteuid())
	case perm&0o022 != 0:
		return say(Fail, "chmod "+mode+" "+quoted(path), "others may write to %s (mode %04o)", path, perm)
	case perm&0o077 != 0:
		return say(Warn, "chmod "+mode+" "+quoted(path), "others may read %s (mode %04o)", path, perm)
	}
	return nil
}

// owning gives the user what an earlier sudo has left to root.
func (o *Options) owning(path string) string {
	return `sudo chown -R "$(id -u):$(id -g)" ` + quoted(path)
}

// cause is an error of the file system without the path, which the text has.
func cause(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return at.Err
	}
	return err
}

// writableAbove returns the folder above dir in which others could exchange what leads
// to it, "" if there is none. It is the rule by which the sidecar refuses to start: a
// sticky folder does not allow it, and the user's own group is the user.
func writableAbove(dir string) string {
	real, err := filepath.EvalSymlinks(existing(dir))
	if err != nil {
		return ""
	}
	if real == dir {
		real = filepath.Dir(real)
	}
	for {
		info, err := os.Stat(real)
		if err == nil && othersWrite(info) {
			return real
		}
		up := filepath.Dir(real)
		if up == real {
			return ""
		}
		real = up
	}
}

// existing returns dir, or the nearest folder above it that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
		dir = filepath.Dir(dir)
	}
}

// gigabytes is a size as people compare it with that of a disk.
func gigabytes(n uint64) string {
	if n < 1<<30 {
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
}
