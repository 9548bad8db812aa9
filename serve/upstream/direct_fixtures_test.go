package upstream

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// fixture is a repository that the go command and a careless proxy make different
// zips of. The module is github.com/acme/NAME unless mod says more.
type fixture struct {
	name  string
	files map[string]string // without a go.mod: a legacy module, see noMod
	tags  []string          // nil means v1.0.0

	mod     string // behind github.com/acme/NAME, "/sub"
	version string // "" means the first tag without its folder; "HEAD" the last commit
	noMod   bool   // files is all there is: no go.mod is added
	twist   func(t *testing.T, host *githosttest.Host, r *githosttest.Repo)
	bad     bool // plain go refuses it, and so must we
}

// blob adds an entry that no work tree of a test can have.
func blob(t *testing.T, r *githosttest.Repo, mode, name, content string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	hash := strings.TrimSpace(r.Git(t, "hash-object", "-w", "--no-filters", file))
	r.Git(t, "update-index", "--add", "--cacheinfo", mode+","+hash+","+name)
}

// retag commits the index and puts the tag there.
func retag(t *testing.T, r *githosttest.Repo, tag string) {
	t.Helper()
	r.Git(t, "commit", "--quiet", "--message", "twist")
	r.Git(t, "tag", "--force", tag)
}

// entry is a twist that adds an entry to v1.0.0.
func entry(mode, name, content string) func(*testing.T, *githosttest.Host, *githosttest.Repo) {
	return func(t *testing.T, _ *githosttest.Host, r *githosttest.Repo) {
		blob(t, r, mode, name, content)
		retag(t, r, "v1.0.0")
	}
}

// later is a twist that commits once more, without a tag.
func later(t *testing.T, _ *githosttest.Host, r *githosttest.Repo) {
	r.Commit(t, map[string]string{"later.go": "package later\n"})
}

const lfsPointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

// fixtures are those whose form is in their files and tags.
var fixtures = []fixture{
	{name: "plain", files: map[string]string{"a.go": "package a\n", "b/b.go": "package b\n"}},
	{name: "modonly", files: map[string]string{}},
	{name: "legacy", noMod: true, files: map[string]string{"a.go": "package a\n"}},
	{name: "legacyfolder", noMod: true, files: map[string]string{"sub/a.go": "package a\n"}, mod: "/sub", tags: []string{"sub/v1.0.0"}, bad: true},
	{name: "sub", files: map[string]string{"sub/go.mod": "module github.com/acme/sub/sub\n", "sub/s.go": "package s\n"}, mod: "/sub", tags: []string{"sub/v0.3.0"}},
	{name: "deep", files: map[string]string{"a/b/c/go.mod": "module github.com/acme/deep/a/b/c\n", "a/b/c/s.go": "package s\n"}, mod: "/a/b/c", tags: []string{"a/b/c/v0.3.0"}},
	{name: "major", noMod: true, files: map[string]string{"go.mod": "module github.com/acme/major/v2\n", "a.go": "package a\n"}, mod: "/v2", tags: []string{"v2.1.0"}},
	{name: "majorfolder", files: map[string]string{"v2/go.mod": "module github.com/acme/majorfolder/v2\n", "v2/a.go": "package a\n"}, mod: "/v2", tags: []string{"v2.0.0"}},
	{name: "submajor", files: map[string]string{"sub/go.mod": "module github.com/acme/submajor/sub/v3\n", "sub/a.go": "package a\n"}, mod: "/sub/v3", tags: []string{"sub/v3.0.0"}},
	{name: "submajorfolder", files: map[string]string{"sub/v3/go.mod": "module github.com/acme/submajorfolder/sub/v3\n", "sub/v3/a.go": "package a\n"}, mod: "/sub/v3", tags: []string{"sub/v3.0.0"}},
	{name: "majorwithoutmod", noMod: true, files: map[string]string{"a.go": "package a\n"}, mod: "/v2", tags: []string{"v2.0.0"}, bad: true},
	{name: "incompatible", noMod: true, files: map[string]string{"a.go": "package a\n"}, tags: []string{"v3.0.0"}, version: "v3.0.0+incompatible"},
	{name: "incompatiblewithmod", files: map[string]string{"a.go": "package a\n"}, tags: []string{"v3.0.0"}, version: "v3.0.0+incompatible", bad: true},
	{name: "wrongpath", noMod: true, files: map[string]string{"go.mod": "module github.com/else/where\n"}},
	{name: "prerelease", files: map[string]string{"a.go": "package a\n"}, tags: []string{"v1.0.0-rc.1"}},
	{name: "untagged", files: map[string]string{"a.go": "package a\n"}, tags: []string{}, version: "HEAD"},
	{name: "aftertag", files: map[string]string{"a.go": "package a\n"}, version: "HEAD", twist: later},
	{name: "afterprerelease", files: map[string]string{"a.go": "package a\n"}, tags: []string{"v1.0.0-beta"}, version: "HEAD", twist: later},
	{name: "aftersubtag", files: map[string]string{"sub/go.mod": "module github.com/acme/aftersubtag/sub\n"}, mod: "/sub", tags: []string{"sub/v1.2.3"}, version: "HEAD", twist: later},
	{name: "aftermajor", noMod: true, files: map[string]string{"go.mod": "module github.com/acme/aftermajor/v2\n"}, mod: "/v2", tags: []string{"v2.0.0"}, version: "HEAD", twist: later},
	{name: "branch", files: map[string]string{"a.go": "package a\n"}, version: "side", twist: func(t *testing.T, h *githosttest.Host, r *githosttest.Repo) {
		r.Git(t, "checkout", "--quiet", "-b", "side")
		later(t, h, r)
	}},
	{name: "slashbranch", files: map[string]string{"a.go": "package a\n"}, version: "feature/foo", twist: func(t *testing.T, h *githosttest.Host, r *githosttest.Repo) {
		r.Git(t, "checkout", "--quiet", "-b", "feature/foo")
		later(t, h, r)
	}},
	{name: "oddtag", files: map[string]string{"a.go": "package a\n"}, tags: []string{"release-1"}, version: "release-1"},
	{name: "shorttag", files: map[string]string{"a.go": "package a\n"}, tags: []string{"v1.2"}, version: "HEAD"},
	{name: "branchliketag", files: map[string]string{"a.go": "package a\n"}, twist: func(t *testing.T, h *githosttest.Host, r *githosttest.Repo) {
		r.Git(t, "checkout", "--quiet", "-b", "v1.0.0")
		later(t, h, r)
	}},
	{name: "annotated", files: map[string]string{"a.go": "package a\n"}, tags: []string{}, version: "v1.0.0", twist: func(t *testing.T, _ *githosttest.Host, r *githosttest.Repo) {
		r.Git(t, "tag", "--annotate", "--message", "first", "v1.0.0")
	}},
	{name: "tagonbranch", files: map[string]string{"a.go": "package a\n"}, tags: []string{}, version: "v1.0.0", twist: func(t *testing.T, h *githosttest.Host, r *githosttest.Repo) {
		r.Git(t, "checkout", "--quiet", "-b", "side")
		later(t, h, r)
		r.Git(t, "tag", "v1.0.0")
		r.Git(t, "checkout", "--quiet", "main")
	}},
	{name: "merge", files: map[string]string{"a.go": "package a\n"}, version: "HEAD", twist: func(t *testing.T, h *githosttest.Host, r *githosttest.Repo) {
		r.Git(t, "checkout", "--quiet", "-b", "side")
		later(t, h, r)
		r.Git(t, "checkout", "--quiet", "main")
		r.Git(t, "merge", "--quiet", "--no-ff", "--message", "merge", "side")
	}},
	{name: "renamed", files: map[string]string{"go.mod": "module github.com/acme/formerly\n", "a.go": "package a\n"}, noMod: true, mod: "!formerly", twist: func(_ *testing.T, h *githosttest.Host, _ *githosttest.Repo) {
		h.Rename("github.com/acme/formerly", "github.com/acme/renamed")
	}},
	{name: "dots.and-dashes_1", files: map[string]string{"a.go": "package a\n"}},
	{name: "UpperCase", files: map[string]string{"a.go": "package a\n"}},

	{name: "exportsubst", files: map[string]string{".gitattributes": "*.go export-subst\n", "a.go": "package a // $Format:%H$ $Format:%ad$\n"}},
	{name: "exportsubstlater", files: map[string]string{".gitattributes": "*.go export-subst\n", "a.go": "package a // $Format:%H$\n"}, version: "HEAD", twist: later},
	{name: "exportignore", files: map[string]string{".gitattributes": "hidden export-ignore\nb.go export-ignore\n", "hidden/a.go": "package hidden\n", "b.go": "package b\n"}},
	{name: "exportignoremod", files: map[string]string{".gitattributes": "go.mod export-ignore\n", "a.go": "package a\n"}},
	{name: "attributesbelow", files: map[string]string{"sub/.gitattributes": "* export-ignore\n", "sub/a.go": "package sub\n"}},
	{name: "attributesinsub", files: map[string]string{"sub/go.mod": "module github.com/acme/attributesinsub/sub\n", "sub/.gitattributes": "* export-subst text eol=crlf\n", "sub/a.go": "package sub // $Format:%h$\n"}, mod: "/sub", tags: []string{"sub/v1.0.0"}},
	{name: "crlf", files: map[string]string{".gitattributes": "*.txt text eol=crlf\n", "note.txt": "a\nb\n"}},
	{name: "crlfall", files: map[string]string{".gitattributes": "* text eol=crlf\n", "note.txt": "a\nb\n", "a.go": "package a\n"}},
	{name: "crlfinside", files: map[string]string{"note.txt": "a\r\nb\r\n", "a.go": "package a\r\n"}},
	{name: "textauto", files: map[string]string{".gitattributes": "* text=auto\n", "note.txt": "a\r\nb\n", "bin": "\x00\r\n\x01"}},
	{name: "binary", files: map[string]string{".gitattributes": "*.bin -text\n", "a.bin": "\r\n\x00\xff\n"}},
	{name: "ident", files: map[string]string{".gitattributes": "*.go ident\n", "a.go": "package a // $Id$\n"}},
	{name: "encoding", files: map[string]string{".gitattributes": "*.txt working-tree-encoding=UTF-16LE\n", "a.go": "package a\n"}, twist: entry("100644", "note.txt", "grüße\n")},
	{name: "lfs", files: map[string]string{".gitattributes": "*.png filter=lfs diff=lfs merge=lfs -text\n", "a.png": lfsPointer}},
	{name: "filter", files: map[string]string{".gitattributes": "* filter=shout\n", "a.go": "package a\n"}},
	{name: "modcrlf", noMod: true, files: map[string]string{"go.mod": "module github.com/acme/modcrlf\r\n\r\ngo 1.20\r\n"}},

	{name: "symlink", files: map[string]string{"a.go": "package a\n"}, twist: entry("120000", "b.go", "a.go")},
	{name: "symlinkfolder", files: map[string]string{"a/a.go": "package a\n"}, twist: entry("120000", "b", "a")},
	{name: "symlinkout", files: map[string]string{"a.go": "package a\n"}, twist: entry("120000", "passwd", "/etc/passwd")},
	{name: "symlinkmod", noMod: true, files: map[string]string{"real.mod": "module github.com/acme/symlinkmod\n"}, twist: entry("120000", "go.mod", "real.mod"), bad: true},
	{name: "symlinklicense", files: map[string]string{"TERMS": "as you like\n"}, twist: entry("120000", "LICENSE", "TERMS")},
	{name: "submodule", files: map[string]string{".gitmodules": "[submodule \"a\"]\n\tpath = a\n\turl = https://github.com/acme/plain\n"}, twist: func(t *testing.T, _ *githosttest.Host, r *githosttest.Repo) {
		r.Git(t, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",a")
		retag(t, r, "v1.0.0")
	}},
	{name: "caseclash", files: map[string]string{"a.go": "package a\n"}, twist: entry("100644", "A.go", "package a\n"), bad: true},
	{name: "caseclashfolder", files: map[string]string{"a/a.go": "package a\n"}, twist: entry("100644", "A/b.go", "package a\n"), bad: true},
	{name: "caseclashmod", files: map[string]string{"a.go": "package a\n"}, twist: entry("100644", "GO.MOD", "module x\n"), bad: true},
	{name: "executable", files: map[string]string{"a.go": "package a\n"}, twist: entry("100755", "run.sh", "#!/bin/sh\n")},
	{name: "badname", files: map[string]string{"a.go": "package a\n"}, twist: entry("100644", "con.go", "package a\n"), bad: true},
	{name: "colon", files: map[string]string{"a.go": "package a\n"}, twist: entry("100644", "a:b.go", "package a\n"), bad: true},
	{name: "trailingdot", files: map[string]string{"a.go": "package a\n"}, twist: entry("100644", "dir./a.go", "package a\n"), bad: true},
	{name: "spaces", files: map[string]string{"a b/c d.txt": "x\n"}},
	{name: "letters", files: map[string]string{"größe/日本.txt": "x\n"}},

	{name: "nested", files: map[string]string{"a.go": "package a\n", "in/go.mod": "module github.com/acme/nested/in\n", "in/i.go": "package in\n", "in/deeper/d.go": "package d\n"}},
	{name: "nestedtestdata", files: map[string]string{"testdata/x/go.mod": "module x\n", "testdata/x/x.go": "package x\n", "testdata/y.txt": "y\n"}},
	{name: "nestedcase", files: map[string]string{"in/GO.mod": "module x\n", "in/i.go": "package in\n"}},
	{name: "vendored", files: map[string]string{"vendor/modules.txt": "# x\n", "vendor/example.com/x/x.go": "package x\n", "pkg/vendor/vendor.go": "package v\n", "pkg/vendor/x/x.go": "package x\n"}},
	{name: "license", files: map[string]string{"LICENSE": "root's\n", "sub/go.mod": "module github.com/acme/license/sub\n", "sub/s.go": "package s\n"}, mod: "/sub", tags: []string{"sub/v1.0.0"}},
	{name: "ownlicense", files: map[string]string{"LICENSE": "root's\n", "sub/LICENSE": "sub's\n", "sub/go.mod": "module github.com/acme/ownlicense/sub\n"}, mod: "/sub", tags: []string{"sub/v1.0.0"}},
	{name: "licensesubst", files: map[string]string{"LICENSE": "$Format:%H$\n", ".gitattributes": "LICENSE export-subst export-ignore eol=crlf\n", "sub/go.mod": "module github.com/acme/licensesubst/sub\n"}, mod: "/sub", tags: []string{"sub/v1.0.0"}},
	{name: "hidden", files: map[string]string{".github/a.yml": "x\n", ".gitignore": "*.go\n", "_x/x.go": "package x\n", ".hidden": "x\n", "a.go": "package a\n"}},
	{name: "workspace", files: map[string]string{"go.work": "go 1.20\n\nuse .\n", "go.sum": "x y z\n", "a.go": "package a\n"}},
	{name: "directives", noMod: true, files: map[string]string{"go.mod": "module github.com/acme/directives // a comment\n\ngo 1.21\n\nreplace example.com/x => ../x\n\nretract v0.9.0\n", "a.go": "package a\n"}},
	{name: "archival", files: map[string]string{".hg_archival.txt": "repo: x\n", "a.go": "package a\n"}},
	{name: "large", files: map[string]string{"large.bin": strings.Repeat("0123456789abcdef", 1<<17)}},
	{name: "many", files: many(400)},
}

func many(n int) map[string]string {
	files := make(map[string]string, n)
	for i := range n {
		files[fmt.Sprintf("d%d/f%d.go", i%20, i)] = fmt.Sprintf("package d // %d\n", i)
	}
	return files
}

// make makes the repository, and returns the module and the version to ask for.
func (f fixture) make(t *testing.T, host *githosttest.Host) (modPath, version string) {
	t.Helper()
	path := "github.com/acme/" + f.name
	files := map[string]string{}
	if !f.noMod {
		files["go.mod"] = "module " + path + "\n"
	}
	for name, content := range f.files {
		files[name] = content
	}
	tags := f.tags
	if tags == nil {
		tags = []string{"v1.0.0"}
	}
	r := host.Repo(t, path, files, tags...)
	if f.twist != nil {
		f.twist(t, host, r)
	}
	if version = f.version; version == "" {
		version = tags[0][strings.LastIndexByte(tags[0], '/')+1:]
	}
	if version == "HEAD" {
		version = strings.TrimSpace(r.Git(t, "rev-parse", "HEAD"))
	}
	modPath = path + f.mod
	if other, ok := strings.CutPrefix(f.mod, "!"); ok {
		modPath = "github.com/acme/" + other
	}
	return modPath, version
}
