package prefetch

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// Project is what the go.mod and go.sum of a main module say that go will ask for. They
// may name what nobody but its origin may hear of, whatever patterns we know, so a
// Project says which version of a module is next and never which module: see
// [plan.publish].
type Project struct {
	Dir      string           // of its go.mod
	Requires []module.Version // as they are after replacements, in go's order
	Old      bool             // of before Go 1.17: its go.mod does not require what those require
	Sums     []Sum            // of its go.sum; nil without one
	Zipped   []module.Version // of an Old one: whose zips go.sum has, the highest version of each path
	Zips     bool             // the go command that runs there wants zips
	Few      bool             // of them those that are imported, though it reads the whole graph: go get
	Private  []string         // patterns: GOPRIVATE, GONOPROXY and GONOSUMDB of that command
	Replaced []string         // module paths that have something else in their place
}

// Sum is a line of a go.sum. The version of a .mod ends in "/go.mod".
type Sum struct {
	module.Version
	H1 string
}

// fileLimit is the size up to which a go.mod or go.sum is read. Kubernetes' have 15 and
// 60 KiB.
const fileLimit = 4 << 20

// readProject reads the main module that dir is in. It is an error if there is none.
func readProject(dir string) (Project, error) {
	root, err := findModule(dir)
	if err != nil {
		return Project{}, err
	}
	text, err := readFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return Project{}, err
	}
	// ParseLax passes over replacements, which count in a main module. It is for a go.mod
	// of a later Go.
	file, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		file, err = modfile.ParseLax("go.mod", text, nil)
	}
	if err != nil {
		return Project{}, err
	}
	project := Project{Dir: root, Requires: required(file), Old: !prunes(file)}
	for _, r := range file.Replace {
		if r.New.Path != r.Old.Path {
			project.Replaced = append(project.Replaced, r.Old.Path)
		}
	}
	if text, err := readFile(filepath.Join(root, "go.sum")); err == nil {
		project.Sums = readSums(text)
		if project.Old {
			project.Zipped = zipped(project.Sums)
		}
	}
	return project, nil
}

// findModule returns the nearest folder above dir that has a go.mod.
func findModule(dir string) (string, error) {
	for {
		if info, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && info.Mode().IsRegular() {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above it")
		}
		dir = parent
	}
}

func readFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|nonblock, 0) // not to wait for who writes a FIFO
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("no regular file"), err)
	}
	text, err := io.ReadAll(io.LimitReader(f, fileLimit+1))
	if err == nil && len(text) > fileLimit {
		err = errors.New("larger than any that go wrote")
	}
	return text, err
}

// required returns the requirements of a go.mod, without those that are replaced by a
// folder.
func required(file *modfile.File) []module.Version {
	replaced := make(map[module.Version]module.Version)
	for _, r := range file.Replace {
		replaced[r.Old] = r.New
	}
	var mods []module.Version
	for _, r := range file.Require {
		mod := r.Mod
		for _, old := range []module.Version{mod, {Path: mod.Path}} {
			if with, ok := replaced[old]; ok {
				mod = with
				break
			}
		}
		if mod.Version != "" {
			mods = append(mods, mod)
		}
	}
	module.Sort(mods)
	return mods
}

// readSums returns the lines of a go.sum. Those that go would not understand are passed
// over.
func readSums(text []byte) []Sum {
	var sums []Sum
	for line := range bytes.Lines(text) {
		if f := strings.Fields(string(line)); len(f) == 3 && strings.HasPrefix(f[2], "h1:") {
			sums = append(sums, Sum{module.Version{Path: f[0], Version: f[1]}, f[2]})
		}
	}
	return sums
}

// ofMod reports whether the line is about a .mod, and of what version.
func (s Sum) ofMod() (mod module.Version, ok bool) {
	version, ok := strings.CutSuffix(s.Version.Version, "/go.mod")
	return module.Version{Path: s.Path, Version: version}, ok
}

// zipped returns the versions whose zips go.sum has, the highest of each path: it keeps
// old ones until go mod tidy.
func zipped(sums []Sum) []module.Version {
	var zips []module.Version
	for _, s := range sums {
		if mod, ok := s.ofMod(); !ok {
			zips = append(zips, mod)
		}
	}
	module.Sort(zips) // by path, then version
	slices.Reverse(zips)
	return slices.CompactFunc(zips, func(a, b module.Version) bool { return a.Path == b.Path })
}

// wantsZips reports whether a go command with these arguments downloads zips, and
// whether they are few for what it reads of the graph. Those that only read that must
// not cost their user a hundred megabytes.
func wantsZips(args []string) (zips, few bool) {
	for i, arg := range args {
		switch arg {
		case "list":
			return !hasFlag(args[i:], "m"), false
		case "mod":
			return i+1 < len(args) && (args[i+1] == "download" || args[i+1] == "tidy" || args[i+1] == "vendor"), false
		case "get":
			return true, true
		case "build", "install", "run", "test", "vet", "generate", "fix", "doc":
			return true, false
		}
	}
	return false, false
}

func hasFlag(args []string, name string) bool {
	for _, arg := range args {
		if arg = strings.TrimLeft(arg, "-"); arg == name || arg == name+"=true" {
			return true
		}
	}
	return false
}
