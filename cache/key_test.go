package cache

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"
)

func TestParseKey(t *testing.T) {
	long := strings.Repeat("a", 300)
	tests := []struct {
		name string
		in   string
		kind Kind // 0: refused
		path string
		ver  string
	}{
		{"list", "rsc.io/quote/@v/list", List, "rsc.io/quote", ""},
		{"latest", "rsc.io/quote/@latest", Latest, "rsc.io/quote", ""},
		{"info", "rsc.io/quote/@v/v1.5.2.info", Info, "rsc.io/quote", "v1.5.2"},
		{"mod", "rsc.io/quote/@v/v1.5.2.mod", Mod, "rsc.io/quote", "v1.5.2"},
		{"zip", "rsc.io/quote/@v/v1.5.2.zip", Zip, "rsc.io/quote", "v1.5.2"},
		{"prerelease", "rsc.io/quote/@v/v1.5.2-rc.1.zip", Zip, "rsc.io/quote", "v1.5.2-rc.1"},
		{"pseudo-version", "rsc.io/quote/@v/v0.0.0-20180709153244-fd906ed3b100.mod", Mod, "rsc.io/quote", "v0.0.0-20180709153244-fd906ed3b100"},
		{"case escapes", "github.com/!burnt!sushi/toml/@v/v1.5.0.zip", Zip, "github.com/BurntSushi/toml", "v1.5.0"},
		{"case escape in a version", "rsc.io/quote/@v/v1.0.0-!r!c1.info", Info, "rsc.io/quote", "v1.0.0-RC1"},
		{"major version suffix", "rsc.io/quote/v3/@v/v3.1.0.zip", Zip, "rsc.io/quote/v3", "v3.1.0"},
		{"incompatible", "github.com/docker/docker/@v/v28.0.0+incompatible.zip", Zip, "github.com/docker/docker", "v28.0.0+incompatible"},
		{"gopkg.in", "gopkg.in/yaml.v3/@v/v3.0.1.zip", Zip, "gopkg.in/yaml.v3", "v3.0.1"},
		{"gopkg.in list", "gopkg.in/yaml.v3/@v/list", List, "gopkg.in/yaml.v3", ""},
		{"toolchain", "golang.org/toolchain/@v/v0.0.1-go1.26.8.linux-amd64.zip", Zip, "golang.org/toolchain", "v0.0.1-go1.26.8.linux-amd64"},
		{"tilde", "git.sr.ht/~user/mod/@v/v1.0.0.info", Info, "git.sr.ht/~user/mod", "v1.0.0"},
		{"dots in the last element", "example.com/a.b.c/@v/v1.0.0.info", Info, "example.com/a.b.c", "v1.0.0"},

		{"short version", "rsc.io/quote/@v/v1.2.info", Query, "rsc.io/quote", "v1.2"},
		{"shortest version", "rsc.io/quote/@v/v1.info", Query, "rsc.io/quote", "v1"},
		{"branch", "rsc.io/quote/@v/master.info", Query, "rsc.io/quote", "master"},
		{"branch with capitals", "rsc.io/quote/@v/!main.info", Query, "rsc.io/quote", "Main"},
		{"branch with dots", "rsc.io/quote/@v/release-1.2.info", Query, "rsc.io/quote", "release-1.2"},
		{"branch that ends like a file", "rsc.io/quote/@v/list.info", Query, "rsc.io/quote", "list"},
		{"commit", "rsc.io/quote/@v/fd906ed3b100.info", Query, "rsc.io/quote", "fd906ed3b100"},
		{"version of another major", "rsc.io/quote/@v/v2.0.0.info", Query, "rsc.io/quote", "v2.0.0"},
		{"build metadata", "rsc.io/quote/@v/v1.0.0+build.info", Query, "rsc.io/quote", "v1.0.0+build"},
		{"info of info", "rsc.io/quote/@v/v1.0.0.info.info", Query, "rsc.io/quote", "v1.0.0.info"},

		{"mod of a short version", "rsc.io/quote/@v/v1.2.mod", 0, "", ""},
		{"zip of a branch", "rsc.io/quote/@v/master.zip", 0, "", ""},
		{"zip of another major", "rsc.io/quote/@v/v2.0.0.zip", 0, "", ""},
		{"zip with build metadata", "rsc.io/quote/@v/v1.0.0+build.zip", 0, "", ""},
		{"major suffix with wrong version", "rsc.io/quote/v3/@v/v1.0.0.mod", 0, "", ""},
		{"upper case path", "github.com/BurntSushi/toml/@v/v1.5.0.zip", 0, "", ""},
		{"upper case version", "rsc.io/quote/@v/v1.0.0-RC1.info", 0, "", ""},
		{"bang at the end", "rsc.io/quote!/@v/v1.0.0.info", 0, "", ""},
		{"double bang", "rsc.io/!!quote/@v/v1.0.0.info", 0, "", ""},
		{"ziphash", "rsc.io/quote/@v/v1.0.0.ziphash", 0, "", ""},
		{"lock", "rsc.io/quote/@v/v1.0.0.lock", 0, "", ""},
		{"no suffix", "rsc.io/quote/@v/v1", 0, "", ""},
		{"no version", "rsc.io/quote/@v/.info", 0, "", ""},
		{"no file", "rsc.io/quote/@v/", 0, "", ""},
		{"no @v", "rsc.io/quote", 0, "", ""},
		{"other @", "rsc.io/quote/@x/list", 0, "", ""},
		{"no module", "/@v/list", 0, "", ""},
		{"only @v", "@v/list", 0, "", ""},
		{"no dot in the host", "quote/@v/list", 0, "", ""},
		{"empty", "", 0, "", ""},
		{"leading slash", "/rsc.io/quote/@v/list", 0, "", ""},
		{"two leading slashes", "//rsc.io/quote/@v/list", 0, "", ""},
		{"double slash", "rsc.io//quote/@v/list", 0, "", ""},
		{"double slash before @", "rsc.io/quote//@v/list", 0, "", ""},
		{"slash in the version", "rsc.io/quote/@v/feature/x.info", 0, "", ""},
		{"dot dot", "rsc.io/../quote/@v/list", 0, "", ""},
		{"dot dot first", "../rsc.io/quote/@v/list", 0, "", ""},
		{"dot dot version", "rsc.io/quote/@v/...info", 0, "", ""},
		{"dot dot file", "rsc.io/quote/@v/../../x.info", 0, "", ""},
		{"dot", "rsc.io/./quote/@v/list", 0, "", ""},
		{"escaped dots", "rsc.io/%2e%2e/quote/@v/list", 0, "", ""},
		{"escaped slash", "rsc.io%2fquote/@v/list", 0, "", ""},
		{"escaped NUL", "rsc.io/quote%00/@v/list", 0, "", ""},
		{"NUL", "rsc.io/quote\x00/@v/list", 0, "", ""},
		{"NUL in the version", "rsc.io/quote/@v/v1.0.0\x00.info", 0, "", ""},
		{"backslash", `rsc.io\quote/@v/list`, 0, "", ""},
		{"backslash in the version", `rsc.io/quote/@v/..\..\x.info`, 0, "", ""},
		{"drive letter", "c:/windows/@v/list", 0, "", ""},
		{"newline", "rsc.io/quote\n/@v/list", 0, "", ""},
		{"space", "rsc.io/quo te/@v/list", 0, "", ""},
		{"not UTF-8", "rsc.io/quote\xff/@v/list", 0, "", ""},
		{"letters beyond ASCII", "rsc.io/qüote/@v/list", 0, "", ""},
		{"Windows device in the path", "rsc.io/con/@v/list", 0, "", ""},
		{"Windows device as a branch", "rsc.io/quote/@v/nul.info", 0, "", ""},
		{"option as a branch", "rsc.io/quote/@v/-upload-pack.info", 0, "", ""},
		{"second @", "rsc.io/quote/@v/x/@latest", 0, "", ""},
		{"hidden element", "rsc.io/.git/@v/list", 0, "", ""},
		{"long element", "rsc.io/" + long + "/@v/list", 0, "", ""},
		{"long element in escapes", "rsc.io/" + strings.Repeat("!a", 130) + "/@v/list", 0, "", ""},
		{"long branch", "rsc.io/quote/@v/" + long + ".info", 0, "", ""},
		{"long version", "rsc.io/quote/@v/v1.0.0-" + long + ".zip", 0, "", ""},
		{"long path", "rsc.io" + strings.Repeat("/abcdefgh", 200) + "/@v/list", 0, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k, err := ParseKey(tt.in)
			if tt.kind == 0 {
				if err == nil || !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("ParseKey(%q) = %v, %v; want an error that Is fs.ErrNotExist", tt.in, k, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if v := k.Module(); k.Kind() != tt.kind || v.Path != tt.path || v.Version != tt.ver {
				t.Errorf("got kind %d of %q@%q, want %d of %q@%q", k.Kind(), v.Path, v.Version, tt.kind, tt.path, tt.ver)
			}
			if got := k.String(); got != tt.in {
				t.Errorf("String() = %q, want %q", got, tt.in)
			}
			if got, want := k.Immutable(), tt.kind == Info || tt.kind == Mod || tt.kind == Zip; got != want {
				t.Errorf("Immutable() = %v, want %v", got, want)
			}
		})
	}
}

func TestNewKeyRefusesUnnameable(t *testing.T) {
	for _, ref := range []string{"", "con", "a/b", "..", "-x", "a b", "x!y", "v1.0.0/"} {
		if k, err := NewKey("rsc.io/quote", ref, Query); err == nil {
			t.Errorf("NewKey(%q) = %v, want an error", ref, k)
		}
	}
	if k, err := NewKey("rsc.io/quote", "ignored/..", List); err != nil || k.String() != "rsc.io/quote/@v/list" {
		t.Errorf("NewKey of a list = %v, %v; want its version ignored", k, err)
	}
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{
		"github.com/!burnt!sushi/toml/@v/v1.5.0.zip", "gopkg.in/yaml.v3/@v/list", "rsc.io/quote/@latest",
		"rsc.io/quote/@v/v1.2.info", "rsc.io/../quote/@v/list", "rsc.io/quote/@v/..\\x.info", "rsc.io//@v/%2e.mod",
		"golang.org/toolchain/@v/v0.0.1-go1.26.8.linux-amd64.zip", "a.b/c/@v/v2.0.0+incompatible.mod", "a.b/@v/con.info",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		k, err := ParseKey(name)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("error %v is not fs.ErrNotExist", err)
			}
			return
		}
		if got := k.String(); got != name {
			t.Fatalf("String() = %q, want %q", got, name)
		}
		again, err := ParseKey(k.String())
		if err != nil || again != k {
			t.Fatalf("parsed again: %v, %v; want %v", again, err, k)
		}
		if made, err := NewKey(k.Module().Path, k.Module().Version, k.Kind()); err != nil || made != k {
			t.Fatalf("NewKey = %v, %v; want %v", made, err, k)
		}
		for _, file := range []string{fileName(Public, k), recordName(Private, k)} {
			if !fs.ValidPath(file) || path.Clean(file) != file || strings.Contains(file, "..") && strings.Contains(file, "/../") {
				t.Fatalf("file name %q may leave its folder", file)
			}
			if strings.ContainsAny(file, "\\\x00:") || file != strings.ToLower(file) {
				t.Fatalf("file name %q has a bad byte", file)
			}
			for elem := range strings.SplitSeq(file, "/") {
				if len(elem) > 255 || elem == ".." {
					t.Fatalf("file name %q has a bad element", file)
				}
			}
		}
	})
}
