package prefetch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/mod/module"
)

func TestReadProject(t *testing.T) {
	goMod := `module example.com/main

go 1.25

require (
	example.com/a v1.0.0
	example.com/local v1.0.0
	example.com/b v1.0.0 // indirect
	example.com/forked v1.0.0
)

replace example.com/local => ../local

replace example.com/forked v1.0.0 => example.com/fork v1.1.0
`
	goSum := `example.com/a v1.0.0 h1:x=
example.com/a v1.0.0/go.mod h1:x=
example.com/b v1.0.0/go.mod h1:x=
example.com/fork v1.1.0 h1:x=
example.com/fork v1.1.0/go.mod h1:x=
example.com/old v0.1.0/go.mod h1:x=
not a line
`
	v := func(path, version string) module.Version {
		return module.Version{Path: "example.com/" + path, Version: version}
	}
	sums := []Sum{
		{v("a", "v1.0.0"), "h1:x="}, {v("a", "v1.0.0/go.mod"), "h1:x="}, {v("b", "v1.0.0/go.mod"), "h1:x="},
		{v("fork", "v1.1.0"), "h1:x="}, {v("fork", "v1.1.0/go.mod"), "h1:x="}, {v("old", "v0.1.0/go.mod"), "h1:x="},
	}
	replaced := []string{"example.com/local", "example.com/forked"}
	tests := []struct {
		name  string
		files map[string]string
		want  Project
		fails bool
	}{
		{"without go.sum", map[string]string{"go.mod": goMod},
			Project{Requires: []module.Version{v("a", "v1.0.0"), v("b", "v1.0.0"), v("fork", "v1.1.0")}, Replaced: replaced}, false},
		{"with go.sum", map[string]string{"go.mod": goMod, "go.sum": goSum}, Project{
			Requires: []module.Version{v("a", "v1.0.0"), v("b", "v1.0.0"), v("fork", "v1.1.0")},
			Sums:     sums,
			Replaced: replaced,
		}, false},
		{"of before pruning", map[string]string{"go.mod": "module example.com/main\n\ngo 1.16\n\nrequire example.com/a v1.0.0\n", "go.sum": goSum + "example.com/a v0.9.0 h1:x=\nexample.com/old v0.1.0 h1:x=\n"},
			Project{
				Old: true, Requires: []module.Version{v("a", "v1.0.0")},
				Sums:   append(slices.Clip(sums), Sum{v("a", "v0.9.0"), "h1:x="}, Sum{v("old", "v0.1.0"), "h1:x="}),
				Zipped: []module.Version{v("old", "v0.1.0"), v("fork", "v1.1.0"), v("a", "v1.0.0")},
			}, false},
		{"of a later Go", map[string]string{"go.mod": "module example.com/main\n\ngo 1.99\n\nwish for speed\n\nrequire example.com/a v1.0.0\n"},
			Project{Requires: []module.Version{v("a", "v1.0.0")}}, false},
		{"with nothing in go.sum", map[string]string{"go.mod": "go 1.17\n\nrequire example.com/a v1.0.0\n", "go.sum": ""},
			Project{Requires: []module.Version{v("a", "v1.0.0")}}, false},
		{"a folder for go.sum", map[string]string{"go.mod": "go 1.17\n\nrequire example.com/a v1.0.0\n", "go.sum/x": ""},
			Project{Requires: []module.Version{v("a", "v1.0.0")}}, false},
		{"no go.mod", nil, Project{}, true},
		{"too large", map[string]string{"go.mod": strings.Repeat("/", fileLimit+1)}, Project{}, true},
		{"not a go.mod", map[string]string{"go.mod": "require (\n"}, Project{}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			root := t.TempDir()
			deep := filepath.Join(root, "cmd", "tool")
			if err := os.MkdirAll(deep, 0o700); err != nil {
				t.Fatal(err)
			}
			for name, text := range test.files {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := readProject(deep)
			if (err != nil) != test.fails {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(got, test.want, cmpopts.IgnoreFields(Project{}, "Dir")); diff != "" {
				t.Errorf("got, want: %s", diff)
			}
		})
	}
}

func TestWantsZips(t *testing.T) {
	for line, want := range map[string]bool{
		"build ./...":              true,
		"mod download":             true,
		"mod download -x":          true,
		"mod tidy":                 true,
		"test -run X ./...":        true,
		"get -u ./...":             true,
		"list ./...":               true,
		"list -deps -json ./...":   true,
		"list -m all":              false,
		"list -m -u all":           false,
		"list -u -m=true all":      false,
		"mod graph":                false,
		"mod why example.com/a":    false,
		"mod":                      false,
		"":                         false,
		"-C sub build":             true,
		"env GOPROXY":              false,
		"version -m /usr/bin/true": false,
	} {
		got, few := wantsZips(strings.Fields(line))
		if got != want || few != strings.HasPrefix(line, "get") {
			t.Errorf("go %s: %v, few of them %v; want %v", line, got, few, want)
		}
	}
}
