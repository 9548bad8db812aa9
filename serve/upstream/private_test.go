package upstream

import "testing"

func TestMatchPrivate(t *testing.T) {
	tests := []struct {
		name     string
		patterns []string
		modPath  string
		want     bool
	}{
		{"none", nil, "github.com/acme/x", false},
		{"exact", []string{"github.com/acme/x"}, "github.com/acme/x", true},
		{"prefix", []string{"github.com/acme"}, "github.com/acme/x/v2", true},
		{"half an element", []string{"github.com/acme"}, "github.com/acmeist/x", false},
		{"shorter", []string{"github.com/acme/x"}, "github.com/acme", false},
		{"case of the path", []string{"github.com/acme"}, "github.com/ACME/x", true},
		{"case of the pattern", []string{"github.com/Acme"}, "github.com/acme/x", true},
		{"case of the host", []string{"github.com/acme"}, "GitHub.com/acme/x", true},
		{"case elsewhere", []string{"git.example.com/acme"}, "git.example.com/Acme/x", true},
		{"glob", []string{"*.example.com"}, "git.example.com/x", true},
		{"glob on GitHub", []string{"github.com/acme-*/Secret"}, "github.com/Acme-Labs/secret/y", true},
		{"second pattern", []string{"a.com", "b.com"}, "b.com/x", true},
		{"the repository of a part", []string{"GitHub.com/acme/x/sub/pkg"}, "github.com/acme/x", true},
		{"beside the repository of a part", []string{"github.com/acme/x/sub"}, "github.com/acme/y", false},
		{"as git has it", []string{"github.com/acme/x"}, "github.com/acme/x.git", true},
		{"below what git has", []string{"github.com/acme/x"}, "github.com/ACME/x.Git/sub/v2", true},
		{"a pattern as git has it", []string{"a.com", "git.example.com/team/x.git"}, "git.example.com/team/x/sub", true},
		{"git in a name", []string{"github.com/acme/x"}, "github.com/acme/x.github", false},
		{"everything", []string{"*"}, "golang.org/x/mod", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := MatchPrivate(tt.patterns)(tt.modPath); got != tt.want {
				t.Errorf("MatchPrivate(%q)(%q) = %v, want %v", tt.patterns, tt.modPath, got, tt.want)
			}
		})
	}
}

func TestMatchHost(t *testing.T) {
	tests := []struct {
		name     string
		patterns []string
		host     string
		want     bool
	}{
		{"none", nil, "git.corp", false},
		{"its modules", []string{"git.corp/team"}, "git.corp", true},
		{"case", []string{"Git.corp/team"}, "gIT.corp", true},
		{"its root", []string{"git.corp"}, "git.corp.", true},
		{"below a domain", []string{"*.corp.example/team"}, "git.corp.example", true},
		{"deep below a domain", []string{"*.corp.example"}, "a.git.corp.example", true},
		{"the domain itself", []string{"*.corp.example"}, "corp.example", false},
		{"half a label", []string{"*.corp.example"}, "evilcorp.example", false},
		{"no dot", []string{"*corp.example"}, "git.corp.example", false},
		{"one label", []string{"*.corp"}, "git.corp", false},
		{"one label and an empty one", []string{"*.corp."}, "git.corp", false},
		{"an empty label", []string{"*..corp"}, "git..corp", false},
		{"every host", []string{"*"}, "git.corp", false},
		{"every host, one name", []string{"*/acme"}, "169.254.169.254", false},
		{"two wildcards", []string{"*.*/x"}, "git.corp", false},
		{"wildcards in the domain", []string{"*.*.corp.example"}, "a.b.corp.example", false},
		{"other wildcards", []string{"g?t.corp.example", "[g]it.corp.example", `\git.corp.example`}, "git.corp.example", false},
		{"address by wildcard", []string{"*.0.0.1"}, "127.0.0.1", false},
		{"address in other digits", []string{"*.0.0x1"}, "127.0.0x1", false},
		{"localhost by wildcard", []string{"*.dev.localhost"}, "x.dev.localhost", false},
		{"localhost", []string{"localhost"}, "localhost", true},
		{"address", []string{"10.0.0.5"}, "10.0.0.5", true},
		{"address of another form", []string{"[FD00::0:5]"}, "fd00::5", true},
		{"empty", []string{"", "/x"}, "", false},
		{"another", []string{"git.corp"}, "169.254.169.254", false},
		{"sub-domain", []string{"git.corp"}, "evil.git.corp", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := MatchHost(tt.patterns)(tt.host); got != tt.want {
				t.Errorf("MatchHost(%q)(%q) = %v, want %v", tt.patterns, tt.host, got, tt.want)
			}
		})
	}
}
