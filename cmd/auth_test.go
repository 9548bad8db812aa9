package cmd

import (
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
)

func TestPlace(t *testing.T) {
	tests := []struct {
		hostname, owner string
		want            string // "" for an error
	}{
		{"", "", "github.com"},
		{"", "acme", "github.com/acme"},
		{"https://GIT.Corp.example/", "", "git.corp.example"},
		{"www.github.com", "", "github.com"},
		{"api.github.com", "Acme-Corp", "github.com/Acme-Corp"},
		{"git.corp.example:8443", "", ""},
		{"http://git.corp.example", "", ""},
		{"github.com/acme", "", ""},
		{"github.com\nhost=evil.example", "", ""},
		{"localhost", "", ""},
		{"", "a/b", ""},
		{"", "-x", ""},
		{"", "a,*", ""},
	}
	for _, tt := range tests {
		flags := placeFlags{tt.hostname, tt.owner}
		place, err := flags.place()
		if got := place.String(); err == nil && got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("place of %q, %q: got %q, %v, want %q", tt.hostname, tt.owner, got, err, tt.want)
		}
	}
}

func TestParseToken(t *testing.T) {
	tests := []struct{ name, text, want string }{ // want "" is an error
		{"plain", "ghp_0123456789", "ghp_0123456789"},
		{"line", "ghp_0123456789\r\n", "ghp_0123456789"},
		{"PowerShell's mark", "\ufeffghp_0123456789\n", "ghp_0123456789"},
		{"none", " \n", ""},
		{"two", "ghp_0123456789 ghp_x", ""},
		{"short", "ghp_", ""},
		{"letters of no token", "ghp_ä0123456789", ""},
		{"a header's end", "ghp_0123456789\x00X: y", ""},
		{"a file given by mistake", strings.Repeat("x", stdinLimit+1), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseToken(tt.text, "stdin has")
			if got.Reveal() != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v, want %q", got.Reveal(), err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "ghp_") {
				t.Errorf("the error %q repeats what was given", err)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	in := choiceInput{
		place:   credential.Place{Host: "github.com"},
		account: github.Account{SSO: map[string]string{"closed": "https://…", "ACME": "https://…", "organisation number 7": "https://…"}},
		owners:  []github.Owner{{Name: "acme", Private: 2}, {Name: "ann", Private: 1}, {Name: "member"}},
	}
	tests := []struct {
		name    string
		owner   string
		present string
		all     []string
		taken   []string // by --yes
	}{
		{"all", "", "", []string{"github.com/acme", "github.com/ann", "github.com/closed", "github.com/member"}, []string{"github.com/acme", "github.com/ann", "github.com/closed"}},
		{"some are there", "", "github.com/acme,*/ann", []string{"github.com/closed", "github.com/member"}, []string{"github.com/closed"}},
		{"everything is", "", "github.com", nil, nil},
		{"one owner's token", "other", "", []string{"github.com/other"}, []string{"github.com/other"}},
		{"one owner's, there", "acme", "github.com/acme", nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := in
			in.place.Owner = tt.owner
			list := in.candidates(patterns(tt.present))
			var all []string
			for _, c := range list {
				all = append(all, c.pattern)
			}
			if diff := cmp.Diff(tt.all, all); diff != "" {
				t.Errorf("candidates (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.taken, proposed(list)); diff != "" {
				t.Errorf("proposed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseChoice(t *testing.T) {
	list := []candidate{{"github.com/acme", "", true}, {"github.com/ann", "", true}, {"github.com/member", "", false}}
	tests := []struct {
		text string
		want string
		ok   bool
	}{
		{"1,3", "github.com/acme,github.com/member", true},
		{" 2 1 ", "github.com/ann,github.com/acme", true},
		{"all", "github.com/acme,github.com/ann,github.com/member", true},
		{"none", "", true},
		{"", "", true},
		{"other", "github.com/other", true},
		{"1, go.acme.example/*", "github.com/acme,go.acme.example/*", true},
		{"0", "", false},
		{"4", "", false},
		{"-1", "", false},
		{"1,none", "", false},
		{"https://github.com/acme", "", false},
		{"github.com/[a", "", false},
	}
	for _, tt := range tests {
		got, err := parseChoice(tt.text, list, "github.com")
		if strings.Join(got, ",") != tt.want || (err == nil) != tt.ok {
			t.Errorf("parseChoice(%q) = %q, %v, want %q, no error: %t", tt.text, got, err, tt.want, tt.ok)
		}
	}
}

// TestAccountRender checks that every line fits but those that are an address.
func TestAccountRender(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	doc := authStatusDoc{Private: []string{"github.com/acme"}, Accounts: []accountDoc{
		{Host: "github.com", Login: "ann", Source: "keychain", Kind: "classic", Expires: now.Add(48 * time.Hour),
			Scopes: []string{"admin:enterprise", "admin:gpg_key", "admin:org", "admin:org_hook", "delete:packages", "repo"},
			SSO:    map[string]string{"beta": "https://github.com/orgs/beta/sso", "acme": "https://github.com/orgs/acme/sso"}},
		{Host: "git.corp.example", Owner: "team", Login: "cora", Source: "file", Kind: "oauth", Scopes: []string{"gist"}, Lacks: "repo"},
		{Host: "github.com", Source: "GOMIRROR_GITHUB_TOKEN", Error: strings.Repeat("word ", 30) + "\x1b[2J", Try: "gomirror auth login"},
	}}
	env := &Env{Stdout: &strings.Builder{}, Getenv: func(string) string { return "" }, Now: func() time.Time { return now }}
	got := doc.render(env)
	for _, want := range []string{
		"account   ann at github.com\n",
		"token     classic, scopes admin:enterprise, admin:gpg_key, admin:org,\n          admin:org_hook, delete:packages, repo\n",
		"expires   2026-03-06 05:06 UTC, in 2 days\n",
		"sso       acme wants it authorised, at\n          https://github.com/orgs/acme/sso\nsso       beta",
		"account   cora at git.corp.example/team\nstored    in plain text, for whoever reads your files\n",
		"lacks     scope repo, without which it reads nothing private\n",
		"try       gomirror auth login --hostname git.corp.example --owner team\n",
		"account   github.com\nstored    GOMIRROR_GITHUB_TOKEN\nproblem   word word",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("status lacks %q", want)
		}
	}
	for line := range strings.Lines(got) {
		line = strings.TrimSuffix(line, "\n")
		if utf8.RuneCountInString(line) > statusWidth || strings.ContainsRune(line, '\x1b') || strings.HasSuffix(line, " ") {
			t.Errorf("line is too long, has an escape or ends in a space: %q", line)
		}
	}
	if t.Failed() {
		t.Log("\n" + got)
	}
}

func TestLogoutChoose(t *testing.T) {
	entries := []credential.Entry{
		{Place: credential.Place{Host: "git.corp.example"}}, {Place: credential.Place{Host: "github.com"}}, {Place: credential.Place{Host: "github.com", Owner: "acme"}},
	}
	tests := []struct {
		name    string
		opts    logoutOptions
		entries []credential.Entry
		want    []credential.Entry // none is an error
	}{
		{"the only one", logoutOptions{}, entries[2:], entries[2:]},
		{"which one", logoutOptions{}, entries, nil},
		{"by host", logoutOptions{placeFlags: placeFlags{hostname: "github.com"}}, entries, entries[1:2]},
		{"by owner", logoutOptions{placeFlags: placeFlags{owner: "Acme"}}, entries, entries[2:]},
		{"all", logoutOptions{all: true}, entries, entries},
		{"all of a host", logoutOptions{placeFlags{hostname: "github.com"}, true}, entries, entries[1:]},
		{"no such", logoutOptions{placeFlags: placeFlags{owner: "else"}}, entries, nil},
		{"none", logoutOptions{all: true}, nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			place, err := tt.opts.place()
			if err != nil {
				t.Fatal(err)
			}
			got, err := tt.opts.choose(place, tt.entries)
			if !slices.Equal(got, tt.want) || (err == nil) != (len(tt.want) > 0) {
				t.Errorf("got %v, %v, want %v", got, err, tt.want)
			}
		})
	}
}
