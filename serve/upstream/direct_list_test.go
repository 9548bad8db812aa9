package upstream

import (
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"
)

func TestFixedRepo(t *testing.T) {
	t.Parallel()
	tests := []struct{ path, url, dir string }{
		{"github.com/acme/x", "https://github.com/acme/x", ""},
		{"github.com/acme/x/v2", "https://github.com/acme/x", ""},
		{"github.com/acme/x/sub", "https://github.com/acme/x", "sub"},
		{"github.com/acme/x/a/b/v3", "https://github.com/acme/x", "a/b"},
		{"git.corp.example.com/team/x.git", "https://git.corp.example.com/team/x.git", ""},
		{"git.corp.example.com/team/x.git/sub/v2", "https://git.corp.example.com/team/x.git", "sub"},
		{"github.com/acme/v2", "https://github.com/acme/v2", ""},
		{"github.com/acme", "", ""},
		{"github.com/acme/x.git", "", ""}, // go refuses it
		{"go.example.org/x", "", ""},      // only its import page knows
		{"gopkg.in/yaml.v3", "", ""},
	}
	for _, tt := range tests {
		repo, ok := fixedRepo(tt.path)
		if ok != (tt.url != "") || repo.url != tt.url || repo.dir != tt.dir {
			t.Errorf("%s: got %+v, %v, want %q below %q", tt.path, repo, ok, tt.dir, tt.url)
		}
	}
}

// asked lists what git and go asked of the host, a word a request.
func asked(host *githosttest.Host) []string {
	var words []string
	for _, r := range host.Requests() {
		words = append(words, r.Header.Get("User-Agent")[:3]+" "+filepath.Base(r.Path))
	}
	return words
}

// TestDirectList counts what a list costs: one ls-remote, and a go command only where
// a go.mod decides about the list and a tag has changed.
func TestDirectList(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	mod := host.Repo(t, "github.com/acme/mod", map[string]string{"go.mod": "module github.com/acme/mod\n", "sub/go.mod": "module github.com/acme/mod/sub\n"},
		"v1.0.0", "v1.10.0", "v1.9.0", "sub/v0.1.0", "v1.0", "nightly", "v0.0.0-20240101000000-abcdefabcdef")
	mod.Git(t, "tag", "--annotate", "--message", "x", "v1.2.0-rc.1")
	host.Repo(t, "github.com/acme/old", map[string]string{"a.go": "package old\n"}, "v1.0.0", "v2.0.0")
	now := time.Now()
	var listed map[string]string
	d := newTestDirect(t, host, func(o *DirectOptions) {
		o.Now = func() time.Time { return now }
		o.Listed = func(modPath string, commits map[string]string) { listed = commits }
	})
	var b basket
	list := func(path string) string {
		t.Helper()
		listed = nil
		if err := d.Fetch(t.Context(), Request{Key: directKey(t, path+"/@v/list")}, b.sink); err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(strings.TrimSpace(b.bodies[path+"/@v/list"]), "\n", " ")
	}
	if got, want := list("github.com/acme/mod"), "v1.0.0 v1.2.0-rc.1 v1.9.0 v1.10.0"; got != want {
		t.Errorf("list is %q, want %q", got, want)
	}
	lsRemote := []string{"git refs", "git git-upload-pack"}
	if got := asked(host); !slices.Equal(got, lsRemote) {
		t.Errorf("a list asked for %v, want one ls-remote", got)
	}
	head := strings.TrimSpace(mod.Git(t, "rev-parse", "HEAD"))
	want := map[string]string{"v1.0.0": head, "v1.2.0-rc.1": head, "v1.9.0": head, "v1.10.0": head}
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("commits (-want +got):\n%s", diff)
	}

	if got := list("github.com/acme/mod/sub"); got != "v0.1.0" || len(asked(host)) != 0 {
		t.Errorf("another module of the repository within 5 s: got %q, want v0.1.0 and no request", got)
	}
	if meta := b.metas["github.com/acme/mod/sub/@v/list"]; !meta.Fetched.Equal(now) {
		t.Errorf("the list is of %v, want the time of ls-remote", meta.Fetched)
	}
	second := mod.Commit(t, map[string]string{"a.go": "package mod\n"}, "v1.11.0", "v1.0.0")
	mod.Git(t, "tag", "--delete", "v1.9.0")
	now = now.Add(headsFor)
	if got, want := list("github.com/acme/mod"), "v1.0.0 v1.2.0-rc.1 v1.10.0 v1.11.0"; got != want {
		t.Errorf("after a push the list is %q, want %q", got, want)
	}
	if _, gone := listed["v1.9.0"]; gone || listed["v1.0.0"] != second {
		t.Errorf("after a push the commits are %v, want v1.0.0 at %s and no v1.9.0", listed, second)
	}

	host.Requests()
	for range 3 {
		if got, want := list("github.com/acme/old"), "v1.0.0 v2.0.0+incompatible"; got != want {
			t.Errorf("list is %q, want %q", got, want)
		}
		now = now.Add(headsFor)
	}
	refs := slices.DeleteFunc(asked(host), func(word string) bool { return word != "git refs" })
	if len(refs) > 6 { // three of ours; go's own ls-remote, and its fetches of two tags
		t.Errorf("three lists asked for refs %d times, want one go command", len(refs))
	}
	if _, ok := listed["v2.0.0+incompatible"]; !ok {
		t.Errorf("commits are %v, want v2.0.0+incompatible among them", listed)
	}
}

// TestDirectListOfAnImportPage lists a module whose path does not name its repository.
func TestDirectListOfAnImportPage(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	listed := make(map[string]map[string]string)
	d := newTestDirect(t, host, func(o *DirectOptions) {
		o.Listed = func(modPath string, commits map[string]string) { listed[modPath] = commits }
	})
	for _, end := range []string{"/@v/v0.1.0.info", "/@v/list"} {
		if err := d.Fetch(t.Context(), Request{Key: directKey(t, "go.example.org/mod"+end)}, new(basket).sink); err != nil {
			t.Fatal(err)
		}
	}
	if got := slices.Collect(maps.Keys(listed["go.example.org/mod"])); !slices.Equal(got, []string{"v0.1.0"}) {
		t.Errorf("commits of %v, want of v0.1.0", got)
	}
}

// TestDirectForget moves a tag: the old bytes stay until the version is forgotten.
func TestDirectForget(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	repo := host.Repo(t, "github.com/acme/mod", map[string]string{
		"go.mod": "module github.com/acme/mod\n", "sub/go.mod": "module github.com/acme/mod/sub\n", "sub/a.go": "package sub // first\n",
	}, "sub/v1.0.0")
	d := newTestDirect(t, host, nil)
	mod := module.Version{Path: "github.com/acme/mod/sub", Version: "v1.0.0"}
	commit := func() string {
		t.Helper()
		var b basket
		if err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/mod/sub/@v/v1.0.0.zip")}, b.sink); err != nil {
			t.Fatal(err)
		}
		return b.metas["github.com/acme/mod/sub/@v/v1.0.0.zip"].OriginHash
	}
	first := commit()
	moved := repo.Commit(t, map[string]string{"sub/a.go": "package sub // second\n"}, "sub/v1.0.0")
	if got := commit(); got != first {
		t.Errorf("after the tag moved: made from %s, want %s", got, first)
	}
	if err := d.Forget(t.Context(), mod); err != nil {
		t.Fatal(err)
	}
	if got := commit(); got != moved {
		t.Errorf("forgotten: made from %s, want %s", got, moved)
	}
	for _, unknown := range []module.Version{{Path: mod.Path}, {Path: mod.Path, Version: "v1.7.0"}, {Path: "github.com/acme/never", Version: "v1.0.0"}} {
		if err := d.Forget(t.Context(), unknown); err != nil {
			t.Errorf("forget %s: %v", unknown, err)
		}
	}
	if err := d.Forget(t.Context(), module.Version{Path: mod.Path, Version: "main"}); err == nil {
		t.Error("a branch was forgotten, want an error")
	}
}

func TestDirectResolve(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	repo := host.Repo(t, "github.com/acme/mod", map[string]string{"go.mod": "module github.com/acme/mod\n"}, "v1.0.0")
	repo.Git(t, "checkout", "--quiet", "-b", "feature/some.thing+1")
	hash := repo.Commit(t, map[string]string{"a.go": "package mod\n"})
	d := newTestDirect(t, host, nil)
	pseudo := "v1.0.1-0.20240203040200-" + hash[:12]
	for ref, want := range map[string]string{
		"feature/some.thing+1": pseudo, hash: pseudo, "main": "v1.0.0", "v1.0.0": "v1.0.0", "v1": "v1.0.0",
		"feature": "", "nope/nope": "", "": "", "-x": "", "--upload-pack=touch": "", "/x": "", "a..b": "", "HEAD@{1}": "", "a b": "",
		"a\nb": "", "refs//x": "", "x:y": "", "^main": "", "$(id)": "", "latest;id": "",
	} {
		got, err := d.Resolve(t.Context(), "github.com/acme/mod", ref)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: got %q, %v, want %q", ref, got, err, want)
		}
	}
	if _, err := d.Resolve(t.Context(), "-x", "main"); err == nil {
		t.Error("a module path like an option is taken, want an error")
	}
}

// TestDirectPrivateEnviron compares the environment of a child that may ask with that
// of one that may not, which goldenEnviron has.
func TestDirectPrivateEnviron(t *testing.T) {
	d := newFake(t, withToken(plainToken))
	environ := func(origin bool) []string {
		out, err := d.run(t.Context(), child{tool: d.opts.Go, args: []string{"environ", "x"}, origin: origin})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for line := range strings.Lines(string(out)) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
				if strings.Contains(name, "ASKPASS") {
					name += "=" + value
				}
				names = append(names, name)
			}
		}
		return names
	}
	want := append(environ(false), "GIT_ASKPASS="+d.opts.Self, "GOMIRROR_ASKPASS=3")
	if diff := cmp.Diff(want, environ(true)); diff != "" {
		t.Errorf("environment of a child that may ask (-want +got):\n%s", diff)
	}
	if self, err := os.Executable(); err != nil || d.opts.Self != self {
		t.Errorf("git would ask %q, want this program, %q (%v)", d.opts.Self, self, err)
	}
}

// TestDirectListFaults has a host that breaks: a list is then no empty list.
func TestDirectListFaults(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		http.Error(w, "oops", http.StatusInternalServerError)
		return true
	})
	d := newTestDirect(t, host, nil)
	err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/mod/@v/list")}, func(key cache.Key, _ cache.Meta, _ io.Reader) error {
		t.Errorf("%s was delivered", key)
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("got %v, want the host's 500", err)
	}
}
