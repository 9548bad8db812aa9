package cmd

import (
	"context"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

func TestCovered(t *testing.T) {
	tests := []struct {
		pattern, by string
		want        bool
	}{
		{"github.com/acme", "github.com/acme", true},
		{"github.com/acme/x", "github.com/acme", true},
		{"github.com/acme", "github.com/acme/x", false},
		{"github.com/acmes", "github.com/acme", false},
		{"git.corp.example/team", "*.corp.example", true},
		{"*.corp.example", "*.corp.example", true},
		{"*.corp.example/x", "*.corp.example", true},
		{"*", "github.com/acme", false},
		{"github.com/acme", "*", true},
		{"*/acme", "*", true},
		{"github.com/*", "github.com/acme", false},
		{"github.com/*", "github.com/?", false}, // though ? matches the letter *
		{"github.com/[ab]", "github.com/????", false},
		{"github.com/a*", "github.com/ab*", false},
		{"github.com/acme", "", false},
	}
	for _, tt := range tests {
		if got := covered(tt.pattern, patterns(tt.by)); got != tt.want {
			t.Errorf("covered(%q, %q) = %t, want %t", tt.pattern, tt.by, got, tt.want)
		}
	}
}

// FuzzCovered looks for a module that a covered pattern matches and its cover does
// not: env would send its name to a gomirror that takes it for public.
func FuzzCovered(f *testing.F) {
	f.Add("github.com/*/x", "github.com/*", "github.com/acme/x/v2")
	f.Add("a?c/[x]", "a*/x", "abc/x")
	f.Fuzz(func(t *testing.T, pattern, by, modPath string) {
		if strings.Contains(pattern, ",") || checkPattern(pattern) != nil || pattern == "" {
			return
		}
		served := slices.DeleteFunc(patterns(by), func(p string) bool { return checkPattern(p) != nil })
		if covered(pattern, served) && module.MatchPrefixPatterns(pattern, modPath) &&
			!module.MatchPrefixPatterns(strings.Join(served, ","), modPath) {
			t.Errorf("%q is said to be covered by %q, but only the first matches %q", pattern, served, modPath)
		}
	})
}

// TestUpstreamList counts the runs of the go command: each is a good part of the time
// that a start takes.
func TestUpstreamList(t *testing.T) {
	const ours = "http://127.0.0.1:24000/t/0123456789abcdef0123456789abcdef"
	tests := []struct {
		name, setting, goproxy string
		list                   string
		builtin                bool
		runs                   int
	}{
		{"setting", "https://a.example", "https://b.example", "https://a.example", false, 0},
		{"the user's", "", ours + "|https://b.example", "https://b.example", false, 1},
		{"built in", "", "https://go.example,direct", "https://go.example,direct", true, 1},
		{"nothing but ours", "", ours, "https://go.example,direct", true, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			runs := 0
			env := &Env{Environ: func() []string { return nil }}
			env.Exec = func(context.Context, string, []string, string, ...string) ([]byte, error) {
				runs++
				return []byte(`{"GOPROXY": "https://go.example,direct"}`), nil
			}
			list, builtin, err := upstreamList(t.Context(), env, &settings{upstream: tt.setting}, &goEnv{GOPROXY: tt.goproxy})
			if err != nil || list != tt.list || builtin != tt.builtin || runs != tt.runs {
				t.Errorf("got %q, %t, %v after %d runs, want %q, %t after %d", list, builtin, err, runs, tt.list, tt.builtin, tt.runs)
			}
		})
	}
}
