package doctor

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// tagged looks the version up among the refs.
func (x *explainer) tagged(repo repository, refs map[string]string) {
	host := repo.url.Hostname()
	mod, dir := x.moduleIn(repo, refs)
	where := "root module"
	if dir != "" {
		where = "module in folder " + dir
	}
	pkg := x.asPackage(mod)
	x.mod = mod
	asked := x.version
	tag := strings.TrimSuffix(asked, "+incompatible")
	if dir != "" {
		tag = dir + "/" + tag
	}
	versions := tagVersions(refs, dir, mod)
	if asked == "" {
		x.version = latestOf(versions)
		x.step("origin", OK, nil, "repo %s, %s%s, %s", repo.root, where, pkg, cmp.Or("latest tag "+x.version, "no tags yet"))
		return
	}
	commit, found := refs["refs/tags/"+tag]
	branch, isBranch := refs["refs/heads/"+asked]
	switch {
	case found && isVersion(asked) && module.CheckPathMajor(asked, pathMajor(mod)) != nil:
		x.majorSuffix(asked)
	case found:
		x.step("origin", OK, nil, "repo %s, %s%s, tag %s at commit %.12s", repo.root, where, pkg, tag, commit)
	case isBranch && strings.Contains(asked, "/"):
		x.step("origin", Fail, nil, "%s is a branch, and go asks no module proxy for one with a slash", asked)
		x.blame(BadVersion, "go get "+x.mod+"@$(gomirror resolve "+x.mod+"@"+asked+")", "go asks no module proxy for the branch %s, for its slash", asked)
	case isBranch:
		x.step("origin", OK, nil, "repo %s, %s%s, branch %s at commit %.12s", repo.root, where, pkg, asked, branch)
	case module.IsPseudoVersion(asked), commitForm.MatchString(asked):
		x.step("origin", OK, nil, "repo %s, %s%s; whether it has the commit only a fetch can tell", repo.root, where, pkg)
	default:
		x.noTag(host, repo, dir, asked, refs, versions)
	}
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{7,40}$`)

// moduleIn tells the module from the packages in it, by the tags: those of a module in
// a folder begin with the folder.
func (x *explainer) moduleIn(repo repository, refs map[string]string) (mod, dir string) {
	for _, path := range prefixes(x.mod) {
		prefix, major, _ := module.SplitPathVersion(path)
		folder := strings.Trim(strings.TrimPrefix(prefix, repo.root), "/")
		if folder == "" || !strings.HasPrefix(path, repo.root) {
			if major != "" && path != repo.root {
				return path, ""
			}
			continue
		}
		for ref := range refs {
			if v, ok := strings.CutPrefix(ref, "refs/tags/"+folder+"/"); ok && semver.IsValid(v) {
				return path, folder
			}
		}
	}
	return repo.root, ""
}

// tagVersions returns the versions of a module by the tags of its folder.
func tagVersions(refs map[string]string, dir, mod string) []string {
	prefix := "refs/tags/"
	if dir != "" {
		prefix += dir + "/"
	}
	var versions []string
	for ref := range refs {
		if v, ok := strings.CutPrefix(ref, prefix); ok && isVersion(v) && module.CheckPathMajor(v, pathMajor(mod)) == nil {
			versions = append(versions, v)
		}
	}
	semver.Sort(versions)
	return versions
}

// majorSuffix says that path and version do not go together.
func (x *explainer) majorSuffix(asked string) {
	prefix, _, _ := module.SplitPathVersion(x.mod)
	want := prefix
	if major := semver.Major(asked); major != "v0" && major != "v1" {
		want += "/" + major
	}
	x.step("origin", Fail, nil, "%s is a version of %s, not of %s", asked, want, x.mod)
	x.blame(MajorSuffix, "go get "+want+"@"+asked, "the path of %s ends with its major version: %s", asked, want)
}

// noTag says which tags there are in place of the one that is not.
func (x *explainer) noTag(host string, repo repository, dir, asked string, refs map[string]string, versions []string) {
	if _, ok := refs["refs/tags/"+asked]; ok && dir != "" {
		tag := dir + "/" + asked
		x.beyond("origin", BadVersion, nil, fmt.Sprintf("git tag %s %s && git push origin %s", tag, asked, tag),
			"the repository has the tag %s, and a module in the folder %s needs the tag %s", asked, dir, tag)
		return
	}
	near := slices.Clone(versions[max(0, len(versions)-3):])
	slices.Reverse(near)
	if len(near) == 0 {
		x.beyond("origin", BadVersion, nil, "go get "+x.mod+"@latest", "%s has no tag %s, and no other version", repo.root, asked)
		return
	}
	x.beyond("origin", BadVersion, nil, "go get "+x.mod+"@"+latestOf(versions), "%s has no tag %s at %s; the last are %s", repo.root, asked, host, strings.Join(near, ", "))
}

// parseRefs reads git's list of refs: lines with their length before them, after one
// that names the service (git-scm.com/docs/http-protocol).
func parseRefs(body []byte) (refs map[string]string, ok bool) {
	refs = make(map[string]string)
	lines := bufio.NewReader(bytes.NewReader(body))
	for {
		var head [4]byte
		if n, _ := lines.Read(head[:1]); n == 0 {
			return refs, ok
		}
		for i := 1; i < len(head); i++ {
			b, err := lines.ReadByte()
			if err != nil {
				return refs, ok
			}
			head[i] = b
		}
		size, err := strconv.ParseUint(string(head[:]), 16, 16)
		if err != nil {
			return refs, false
		}
		if size <= 4 {
			continue
		}
		line := make([]byte, size-4)
		for i := range line {
			if line[i], err = lines.ReadByte(); err != nil {
				return refs, ok
			}
		}
		text, _, _ := strings.Cut(strings.TrimRight(string(line), "\n"), "\x00")
		if strings.HasPrefix(text, "# service=git-upload-pack") {
			ok = true
			continue
		}
		if commit, ref, found := strings.Cut(text, " "); found && strings.HasPrefix(ref, "refs/") {
			refs[strings.TrimSuffix(ref, "^{}")] = commit // a peeled tag comes behind its tag
		}
	}
}
