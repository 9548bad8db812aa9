package cmd

import (
	"errors"
	"slices"
	"testing"
)

func TestCheckPattern(t *testing.T) {
	tests := []struct{ pattern, meant string }{ // "" if it is right as it is
		{"github.com/acme", ""},
		{"github.com/acme/", ""},
		{"GitHub.com/acme", ""}, // gomirror takes it
		{"*.corp.example", ""},
		{"*", ""},
		{"corp*/x", ""},
		{"github.com/[ab]*", ""},
		{"git.corp.example/team/x.git", ""}, // a path of its own elsewhere
		{"https://github.com/acme", "github.com/acme"},
		{"ssh://git@github.com/acme/x", "github.com/acme/x"},
		{"ssh://git@git.corp.example:2222/acme/x", "git.corp.example/acme/x"},
		{"git@github.com:acme/x", "github.com/acme/x"},
		{"git@github.com:acme/x.git", "github.com/acme/x"},
		{"github.com/acme/x.git", "github.com/acme/x"},
		{"GitHub.com/acme/x.git/sub", "GitHub.com/acme/x/sub"},
		{"github.com/acme/x@v1.2.3", "github.com/acme/x"},
		{"github.com/acme/...", "github.com/acme"},
		{"/github.com/acme", "github.com/acme"},
		{"acme", "github.com/acme"},
		{"acme/secret", "github.com/acme/secret"},
		{"github.com/a b.example", "github.com/a,b.example"},
		{"a b", "github.com/a,github.com/b"},
	}
	for _, tt := range tests {
		t.Run(tt.pattern, func(t *testing.T) {
			err := checkPattern(tt.pattern)
			if (err == nil) != (tt.meant == "") {
				t.Fatalf("got %v, want none: %v", err, tt.meant == "")
			}
			if got := meantList(tt.pattern); err != nil && got != tt.meant {
				t.Errorf("%v: meant is %q, want %q", err, got, tt.meant)
			}
		})
	}
	invalid := (*patternError)(nil)
	if err := checkPattern("github.com/[a"); !errors.As(err, &invalid) || invalid.meant != "" || meantList("github.com/[a,x.example") != "x.example" {
		t.Errorf("half a class: got %v, want an error without advice", err)
	}
}

func TestSpellings(t *testing.T) {
	got := spellings("github.com/Acme", "github.com/beta/two/sub", "*.corp.example/*", "github.com/acme")
	want := []string{"github.com/Acme", "github.com/beta/two/sub", "*.corp.example/*", "github.com/acme", "github.com/beta/two"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
