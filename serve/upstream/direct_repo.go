package upstream

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// repository is where a module's code is.
type repository struct {
	root string // import path of its root, "github.com/acme/mod"
	url  string
	dir  string // of the module, below the root; "" is the root
}

// The forms of import paths that name their repository, as in cmd/go's vcs.go. Others
// have an import page, which only the go command reads.
var (
	githubPath = regexp.MustCompile(`^(github\.com/[\w.-]+/[\w.-]+)(/[\w.-]+)*$`)
	gitPath    = regexp.MustCompile(`^(([a-z0-9.-]+\.)+[a-z0-9.-]+(/~?[\w.-]+)+?\.git)(/~?[\w.-]+)*$`)
)

// fixedRepo returns the repository of a module whose path names it.
func fixedRepo(modPath string) (repository, bool) {
	form := githubPath
	if !strings.HasPrefix(modPath, "github.com/") {
		form = gitPath
	}
	m := form.FindStringSubmatch(modPath)
	if m == nil || form == githubPath && strings.HasSuffix(m[1], ".git") {
		return repository{}, false
	}
	r := repository{root: m[1], url: "https://" + m[1]}
	if modPath == r.root {
		return r, true
	}
	prefix, _, ok := module.SplitPathVersion(modPath)
	if !ok || len(prefix) < len(r.root) {
		return repository{}, false
	}
	r.dir = strings.Trim(prefix[len(r.root):], "/")
	return r, true
}

// fixedURL is the URL of a module's repository if its path names it, else "".
func fixedURL(modPath string) string {
	repo, _ := fixedRepo(modPath)
	return repo.url
}

// madeFrom returns the repository that an earlier version of a module was made from.
func (d *Direct) madeFrom(modPath string) (repository, bool) {
	escaped, err := module.EscapePath(modPath)
	if err != nil {
		return repository{}, false
	}
	names, _ := filepath.Glob(filepath.Join(d.opts.VCSDir, "cache", "download", filepath.FromSlash(escaped), "@v", "*.info"))
	for _, name := range slices.Backward(names) {
		var info struct {
			Origin struct{ VCS, URL, Subdir string }
		}
		text, err := os.ReadFile(name)
		if err != nil || json.Unmarshal(text, &info) != nil {
			continue
		}
		if o := info.Origin; o.VCS == "git" && strings.HasPrefix(o.URL, "https://") {
			return repository{url: o.URL, dir: o.Subdir}, true
		}
	}
	return repository{}, false
}

// tags returns the tags in the module's folder, without its name: tag to commit.
func (r repository) tags(all map[string]string) map[string]string {
	prefix := ""
	if r.dir != "" {
		prefix = r.dir + "/"
	}
	tags := make(map[string]string)
	for tag, commit := range all {
		// As cmd/go's codeRepo.Versions: others are no versions.
		if v, ok := strings.CutPrefix(tag, prefix); ok && v != "" && v == semver.Canonical(v) && !module.IsPseudoVersion(v) {
			tags[v] = commit
		}
	}
	return tags
}

// versions makes the version list of a module as cmd/go's codeRepo.Versions does.
// It is not sure where tags may be "+incompatible" versions, which the go.mod files of
// other versions decide.
func (r repository) versions(tags map[string]string, modPath string) (list []string, sure bool) {
	_, major, _ := module.SplitPathVersion(modPath)
	sure = true
	for v := range tags {
		switch {
		case module.CheckPathMajor(v, major) == nil:
			list = append(list, v)
		case r.dir == "" && major == "" && semver.Major(v) > "v1": // compared as cmd/go compares it
			sure = false
		}
	}
	semver.Sort(list)
	return list, sure
}

// commits returns the commits of all versions that tags may stand for, also of those
// that a list leaves out: somebody may hold them.
func (r repository) commits(tags map[string]string, modPath string) map[string]string {
	_, major, _ := module.SplitPathVersion(modPath)
	all := make(map[string]string, len(tags))
	for v, commit := range tags {
		switch {
		case module.CheckPathMajor(v, major) == nil:
			all[v] = commit
		case r.dir == "" && major == "":
			all[v+"+incompatible"] = commit
		}
	}
	return all
}
