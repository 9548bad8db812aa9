package doctor

import (
	"errors"
	"slices"
	"testing"
)

func TestLint(t *testing.T) {
	seen := []string{"github.com/acme", "github.com/BurntSushi"}
	tests := []struct{ pattern, want string }{
		// right as they are
		{"github.com/acme", "github.com/acme"},
		{"github.com/acme/x", "github.com/acme/x"},
		{"github.com/BurntSushi/*", "github.com/BurntSushi/*"},
		{"github.com/Unseen", "github.com/Unseen"},
		{"github.com/acme-*", "github.com/acme-*"},
		{"github.com/*/internal", "github.com/*/internal"},
		{"github.com/acme/svc*", "github.com/acme/svc*"},
		{"*.corp.example", "*.corp.example"},
		{"*", "*"},
		{"*/acme", "*/acme"},
		{"git.corp.example:8443/x", "git.corp.example:8443/x"},
		{"[a-c].example/x", "[a-c].example/x"},
		// as they were meant
		{" github.com/acme ", "github.com/acme"},
		{"github.com/acme;github.com/b", "github.com/acme,github.com/b"},
		{"ssh://git@github.com/acme", "github.com/acme"},
		{"git@github.com:acme/x.git", "github.com/acme/x"},
		{"https://github.com/acme/...", "github.com/acme"},
		{"GITHUB.com/ACME", "github.com/acme"},
		{"github.com/burntsushi/toml", "github.com/BurntSushi/toml"},
		{"acme/x", "github.com/acme/x"},
		{"acme*", "github.com/acme"},
		{"github.com/acme*", "github.com/acme"},
		{"github.com/[acme", "github.com/acme"},
		{"github.com", "github.com"},
	}
	for i, test := range tests {
		t.Run(test.pattern, func(t *testing.T) {
			got, fault := lint(test.pattern, seen)
			if got != test.want || (fault == "") != (i < 12 || test.pattern == test.want) {
				t.Errorf("meant %q, fault %q; want %q", got, fault, test.want)
			}
			if again, fault := lintList(got, seen); again != got || fault != nil {
				t.Errorf("what was meant is %q %q in its turn", again, fault)
			}
		})
	}
}

func TestUncovered(t *testing.T) {
	tests := []struct{ patterns, by, want []string }{
		{[]string{"github.com/acme/x"}, []string{"github.com/acme"}, nil},
		{[]string{"github.com/acme"}, []string{"github.com/acme/x"}, []string{"github.com/acme"}},
		{[]string{"*.corp.example"}, []string{"*.corp.example"}, nil},
		{[]string{"*.corp.example"}, []string{"a.corp.example"}, []string{"*.corp.example"}},
		{[]string{"github.com/acme"}, []string{"*"}, nil},
		{[]string{"github.com/Acme"}, []string{"github.com/acme"}, []string{"github.com/Acme"}},
		{nil, []string{"a.example"}, nil},
	}
	for _, test := range tests {
		if got := uncovered(test.patterns, test.by); !slices.Equal(got, test.want) {
			t.Errorf("of %q by %q: %q, want %q", test.patterns, test.by, got, test.want)
		}
	}
}

func TestEntries(t *testing.T) {
	for list, want := range map[string][]string{
		"https://a.example|https://b.example,direct": {"https://a.example", "https://b.example", "direct"},
		" , direct,https://late.example":             {"direct"},
		"off":                                        {"off"},
		"":                                           nil,
	} {
		if got := entries(list); !slices.Equal(got, want) {
			t.Errorf("of %q: %q, want %q", list, got, want)
		}
	}
	if got := shownList("https://u:p@a.example|u:p@b.example,direct"); got != "https://a.example|b.example,direct" && got != "https://a.example|https://b.example,direct" {
		t.Errorf("shown as %q", got)
	}
}

// TestFixes quotes for shells as they are.
func TestFixes(t *testing.T) {
	vars := map[string]string{}
	o := &Options{Getenv: func(name string) string { return vars[name] }, Go: func() Go { return Go{File: map[string]string{"GOFLAGS": "x", "BOTH": "x"}} }}
	check := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	check(o.unset("GOFLAGS"), "go env -u GOFLAGS")
	check(o.assign("GOFLAGS", "-a -b"), "go env -w GOFLAGS='-a -b'")
	vars["BOTH"], vars["GOPRIVATE"] = "x", "x"
	check(o.unset("BOTH"), "unset BOTH; go env -u BOTH")
	check(o.assign("GOPRIVATE", "*.a.example"), "export GOPRIVATE='*.a.example'")
	check(o.assign("GOPRIVATE", "it's"), `export GOPRIVATE='it'\''s'`)
	check(o.assign("GOPRIVATE", ""), "unset GOPRIVATE")
	vars["SHELL"] = "/usr/bin/fish"
	check(o.unset("GOPRIVATE"), "set -e GOPRIVATE")
	o.GOOS = "windows"
	check(o.unset("GOPRIVATE"), "Remove-Item Env:GOPRIVATE")
	check(o.assign("GOPRIVATE", "a"), "$env:GOPRIVATE = 'a'")
}

// TestGoEnvFix mends what go env complains about, not what it names by the way.
func TestGoEnvFix(t *testing.T) {
	const home = "export HOME=/path/to/your/home"
	for _, test := range []struct{ name, text, want string }{
		{"no home", "build cache is required, but could not be located: GOCACHE is not defined and neither $XDG_CACHE_HOME nor $HOME are defined", home},
		{"no home, as of old", "GOENV: neither $XDG_CONFIG_HOME nor the home folder are defined", home},
		{"a variable", `go: invalid GOFLAGS "x"`, "go env -u GOFLAGS"},
		{"nothing", "exit status 2", "go env"},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := &Options{Getenv: func(string) string { return "" }, Go: func() Go { return Go{Path: "/go", Err: errors.New(test.text)} }}
			if got := o.checkGoEnv(); len(got) != 1 || got[0].Status != Fail || got[0].Fix != test.want {
				t.Errorf("got %+v, want the fix %s", got, test.want)
			}
		})
	}
}

// TestSettingsFix shows the fix of an error as it is.
func TestSettingsFix(t *testing.T) {
	o := &Options{SettingsErr: hintedError("mv c.toml c.toml.old")}
	if got := o.checkSettings(); len(got) != 1 || got[0].Fix != "mv c.toml c.toml.old" {
		t.Errorf("got %+v", got)
	}
}

type hintedError string

func (hintedError) Error() string  { return "c.toml is no regular file" }
func (e hintedError) Hint() string { return string(e) }
