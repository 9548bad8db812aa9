package doctor

import (
	"strings"
	"testing"

	"golang.org/x/mod/module"
)

func TestParseTarget(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"a path", "github.com/acme/billing", "github.com/acme/billing"},
		{"a comment behind it", "github.com/acme/billing v1.9.0 // example.com/m", "github.com/acme/billing@v1.9.0"},
		{"a replacement", "github.com/acme/billing => github.com/forks/billing v1.9.0", "github.com/acme/billing"},
		{"a version", "github.com/acme/billing@v1.9.0", "github.com/acme/billing@v1.9.0"},
		{"a version without v", "github.com/acme/billing@1.9.0", "github.com/acme/billing@v1.9.0"},
		{"latest", "github.com/acme/billing@latest", "github.com/acme/billing"},
		{"a branch with a slash", "github.com/acme/billing@feature/x", "github.com/acme/billing@feature/x"},
		{"https", "https://github.com/acme/billing", "github.com/acme/billing"},
		{"www and a slash", "https://www.github.com/acme/billing/", "github.com/acme/billing"},
		{"a user in the address", "https://octo:secret@github.com/acme/billing.git", "github.com/acme/billing"},
		{".git", "https://github.com/acme/billing.git", "github.com/acme/billing"},
		{"ssh", "git@github.com:acme/billing.git", "github.com/acme/billing"},
		{"an ssh address", "ssh://git@github.com/acme/billing.git", "github.com/acme/billing"},
		{"an ssh address with a port", "ssh://git@git.example.com:7999/acme/billing.git", "git.example.com/acme/billing"},
		{"a host in capitals", "HTTPS://GitHub.com/Acme/Billing", "github.com/Acme/Billing"},
		{"a branch's page", "https://github.com/acme/billing/tree/main", "github.com/acme/billing@main"},
		{"a folder's page", "https://github.com/acme/billing/tree/main/sub/pkg", "github.com/acme/billing/sub/pkg@main"},
		{"a file's page", "https://github.com/acme/billing/blob/v1.9.0/sub/x.go#L3-L9", "github.com/acme/billing/sub@v1.9.0"},
		{"a file of the root", "https://github.com/acme/billing/blob/main/go.mod", "github.com/acme/billing@main"},
		{"a release", "https://github.com/acme/billing/releases/tag/v1.9.0", "github.com/acme/billing@v1.9.0"},
		{"a commit", "https://github.com/acme/billing/commit/0123456789ab", "github.com/acme/billing@0123456789ab"},
		{"an archive", "https://github.com/acme/billing/archive/refs/tags/v1.9.0.tar.gz", "github.com/acme/billing@v1.9.0"},
		{"an issue", "https://github.com/acme/billing/issues/3", "github.com/acme/billing"},
		{"a query", "https://github.com/acme/billing?tab=readme-ov-file", "github.com/acme/billing"},
		{"GitLab", "https://gitlab.com/group/sub/billing/-/tree/main/pkg", "gitlab.com/group/sub/billing/pkg@main"},
		{"a folder that is called tree", "example.com/a/b/tree/c", "example.com/a/b/tree/c"},
		{"documentation", "https://docs.example.org/github.com/acme/billing@v1.9.0/sub#Type", "github.com/acme/billing/sub@v1.9.0"},
		{"a module that looks like documentation", "example.com/foo.bar/baz", "example.com/foo.bar/baz"},
		{"go get", "go get github.com/acme/billing@v1.9.0", "github.com/acme/billing@v1.9.0"},
		{"go get -u", "$ go get -u github.com/acme/billing", "github.com/acme/billing"},
		{"go install", "go install github.com/acme/billing/cmd/bill@latest", "github.com/acme/billing/cmd/bill"},
		{"all packages", "github.com/acme/billing/...", "github.com/acme/billing"},
		{"go.mod", "\tgithub.com/acme/billing v1.9.0 // indirect", "github.com/acme/billing@v1.9.0"},
		{"require", "require github.com/acme/billing v1.9.0", "github.com/acme/billing@v1.9.0"},
		{"go.sum", "github.com/acme/billing v1.9.0/go.mod h1:abc=", "github.com/acme/billing@v1.9.0"},
		{"an import", `import "github.com/acme/billing"`, "github.com/acme/billing"},
		{"a proxy's file", "https://mirror.example.com/go/github.com/!acme/billing/@v/v1.9.0.info", "github.com/Acme/billing@v1.9.0"},
		{"our own address", "http://127.0.0.1:24000/t/0123456789abcdef0123456789abcdef/github.com/acme/billing/@v/list", "github.com/acme/billing"},
		{"an error's end", "github.com/acme/billing@v1.9.0:", "github.com/acme/billing@v1.9.0"},
		{"quotes", `'github.com/acme/billing'`, "github.com/acme/billing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ParseTarget(c.text)
			if err != nil || got.String() != c.want {
				t.Errorf("got %s, %v; want %s", got, err, c.want)
			}
		})
	}
	for _, text := range []string{"", "   ", "fmt", "net/http", "./cmd", "../x", "a b c", "github.com/acme/b|x", "https://", "\x1b[31m"} {
		if got, err := ParseTarget(text); err == nil {
			t.Errorf("ParseTarget(%q): got %s, want an error", text, got)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"git@github.com:acme/x.git", "https://github.com/a/b/tree/main/c", "go get -u a.b/c@v1", "http://h/t/x/a.b/@v/v1.0.0.zip", "@", "://", "a.b@"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseTarget(text)
		if err != nil {
			return
		}
		if err := module.CheckImportPath(got.Path); err != nil {
			t.Errorf("ParseTarget(%q): %v", text, err)
		}
		if strings.ContainsAny(got.Version, "\n\x1b \x00") {
			t.Errorf("ParseTarget(%q): version %q", text, got.Version)
		}
	})
}
