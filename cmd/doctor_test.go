package cmd

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/adrg/xdg"
	"github.com/google/go-cmp/cmp"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/credential"
)

// TestVerdict is DOCTOR.md's line about exit codes.
func TestVerdict(t *testing.T) {
	result := func(id string, status doctor.Status) doctor.Result {
		return doctor.Result{ID: id, Findings: []doctor.Finding{{Status: status}}}
	}
	ok, warn := result("E01", doctor.OK), result("E08", doctor.Warn)
	auth, network := result("A02", doctor.Fail), result("N01", doctor.Fail)
	tests := []struct {
		name         string
		results      []doctor.Result
		want, strict int
	}{
		{"all well", []doctor.Result{ok, result("S01", doctor.Skipped)}, exitDone, exitDone},
		{"nothing asked", nil, exitDone, exitDone},
		{"a warning", []doctor.Result{ok, warn}, exitDone, exitFailed},
		{"a token", []doctor.Result{ok, auth}, exitNeedsAuth, exitNeedsAuth},
		{"a token and a warning", []doctor.Result{auth, warn}, exitNeedsAuth, exitFailed},
		{"a token and more", []doctor.Result{auth, network}, exitFailed, exitFailed},
		{"the network", []doctor.Result{network}, exitFailed, exitFailed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for strict, want := range map[bool]int{false: test.want, true: test.strict} {
				var stderr bytes.Buffer
				env := &Env{Stderr: &stderr}
				got := env.report(t.Context(), summarize(test.results, time.Second).verdict(strict))
				if got != want || stderr.Len() > 0 {
					t.Errorf("strict %v: exit code %d, stderr %q; want %d and nothing", strict, got, &stderr, want)
				}
			}
		})
	}
}

// TestDoctorSheet has a finding of each kind. No line but that of a fix is wider than
// a terminal, and what a host said can't drive one.
func TestDoctorSheet(t *testing.T) {
	legs := []doctor.Leg{{Name: "dns", Took: 10 * time.Millisecond}, {Name: "tcp", Took: 30 * time.Millisecond, Err: "refused"}}
	long := strings.Repeat("word ", 30)
	var all []doctor.Leg
	for _, name := range []string{"dns", "tcp", "proxy", "tls", "first byte"} {
		all = append(all, doctor.Leg{Name: name, Took: 999 * time.Millisecond})
	}
	results := []doctor.Result{
		{ID: "E01", Section: "go", Findings: []doctor.Finding{{Status: doctor.OK, Text: "go1.26 at /go", Detail: []string{"a detail"}}}},
		{ID: "E08", Section: "go", Findings: []doctor.Finding{{Status: doctor.Warn, Text: long, Fix: "fix " + long}}},
		{ID: "N01", Section: "network", Findings: []doctor.Finding{
			{Status: doctor.Fail, Text: "a.example\x1b[31m refuses http://127.0.0.1:1/t/0123456789abcdef0123456789abcdef", Legs: legs, Fix: "mend", Detail: []string{"why"}},
			{Status: doctor.Skipped, Text: "b.example"},
			{Status: doctor.OK, Text: "c.example answers", Upstream: "https://" + strings.Repeat("c", 60) + ".example", Legs: all},
			{Status: doctor.OK, Text: "d.example answers", Upstream: "https://d.example", Legs: all},
		}},
	}
	show := func(words, quiet bool) string {
		var out bytes.Buffer
		env := &Env{Stdout: &out, Stderr: &out, Getenv: func(string) string { return "" }, globals: globals{color: "never", quiet: quiet}}
		sheet := &doctorSheet{env: env, p: env.palette(), words: words}
		for _, r := range results {
			sheet.show(r)
		}
		if err := sheet.end(summarize(results, 2100*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	utf8Text := show(false, false)
	if i := strings.IndexFunc(show(true, false), func(r rune) bool { return r > 127 }); i >= 0 {
		t.Errorf("in words: %q", show(true, false)[i:])
	}
	for line := range strings.Lines(utf8Text + show(true, false)) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > statusWidth && !strings.Contains(line, "fix: ") {
			t.Errorf("%d columns: %s", n, line)
		}
		if strings.ContainsAny(line, "\x1b") || strings.Contains(line, "0123456789abcdef") {
			t.Errorf("not clean: %q", line)
		}
	}
	for _, want := range []string{"go\n  ✓ E01 go1.26 at /go\n  ! E08 word", "\nnetwork\n  ✗ N01 a.example", "█", "×", "\n        why\n        fix: mend\n  - N01 b.example\n", "\n1 ok, 1 warning, 1 failed   (2.1 s)\n"} {
		if !strings.Contains(utf8Text, want) {
			t.Errorf("got\n%s\nwant %q in it", utf8Text, want)
		}
	}
	if got := show(true, true); strings.Contains(got, "E01") || strings.Contains(got, "b.example") || !strings.Contains(got, "  FAIL N01 a.example") || strings.IndexFunc(got, func(r rune) bool { return r > 127 }) >= 0 {
		t.Errorf("in words and quiet:\n%s", got)
	}
}

func TestShowsUTF8(t *testing.T) {
	tests := []struct {
		vars map[string]string
		want bool
	}{
		{map[string]string{"LANG": "de_DE.UTF-8"}, true},
		{map[string]string{"LANG": "C.utf8", "TERM": "xterm"}, true},
		{map[string]string{"LANG": "de_DE.UTF-8", "TERM": "dumb"}, false},
		{map[string]string{"LANG": "de_DE.UTF-8", "LC_ALL": "C"}, false},
		{map[string]string{"LANG": "C", "LC_CTYPE": "en_GB.UTF-8"}, true},
		{map[string]string{"LANG": "de_DE"}, false},
	}
	for _, test := range tests {
		env := &Env{Getenv: func(name string) string { return test.vars[name] }}
		if got := env.showsUTF8(); got != test.want {
			t.Errorf("with %v: %v, want %v", test.vars, got, test.want)
		}
	}
}

// TestHider looks for private names in every form that a log or an error may have.
func TestHider(t *testing.T) {
	look := doctor.Options{
		Private: []string{"github.com/Acme", "*.corp.example/*", "git.example.com"},
		Go:      func() doctor.Go { return doctor.Go{Own: doctor.GoEnv{GOPRIVATE: "github.com/other/one*,none"}} },
		Daemon: func() doctor.Daemon {
			return doctor.Daemon{Status: doctor.DaemonStatus{Private: []string{"gitlab.com/team"}}}
		},
		Tokens: credential.New(credential.Options{}),
	}
	hide := newHider(&Env{Getenv: func(string) string { return "" }}, look)
	for _, test := range []struct{ name, text, want string }{
		{"a module", "get github.com/acme/billing@v1.2.3: 404", "get PRIVATE-module-1@v1.2.3: 404"},
		{"the same, escaped", "/github.com/!acme/billing/@v/list", "/PRIVATE-module-2@v/list"},
		{"in a URL", `"https://github.com/acme/billing.git"`, `"https://PRIVATE-module-3"`},
		{"in a query", "?m=github.com%2Facme%2Fbilling&x", "?m=PRIVATE-module-4"},
		{"its owner", `organisation "ACME" says no`, `organisation "PRIVATE-owner-5" says no`},
		{"no owner of ours", "acmeology", "acmeology"},
		{"an inner host", "dial git.corp.example: refused", "dial PRIVATE-host-6: refused"},
		{"a module on it", "x.corp.example/y/z@v1.0.0", "PRIVATE-module-7@v1.0.0"},
		{"a host alone", "git.example.com/a", "PRIVATE-module-8"},
		{"of the daemon", "gitlab.com/team/x", "PRIVATE-module-9"},
		{"a glob", "github.com/other/one-two/v2 github.com/other/two", "PRIVATE-module-10 github.com/PRIVATE-owner-11/two"},
		{"public", "github.com/BurntSushi/toml@v1.5.0", "github.com/BurntSushi/toml@v1.5.0"},
		{"a password", "https://user:pass@proxy.example/ and user:pass@proxy.example", "https://REDACTED@proxy.example/ and REDACTED@proxy.example"},
		{"the capability", "http://127.0.0.1:1/t/0123456789abcdef0123456789abcdef", "http://127.0.0.1:1/t/REDACTED"},
		{"home", xdg.Home + "/x", "~/x"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := hide.text(test.text); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
	everything := newHider(&Env{Getenv: func(string) string { return "*" }}, doctor.Options{
		Go: func() doctor.Go { return doctor.Go{} }, Daemon: func() doctor.Daemon { return doctor.Daemon{} }, Tokens: look.Tokens,
	})
	if got := everything.text("get example.com/x/y@v1.0.0: 404"); got != "get PRIVATE-module-1@v1.0.0: 404" {
		t.Errorf("with GOPRIVATE=*: %q", got)
	}
}

func TestReadGoEnvFile(t *testing.T) {
	name := t.TempDir() + "/env"
	if _, err := readGoEnvFile(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
	if _, err := readGoEnvFile("off"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with GOENV=off: %v", err)
	}
	content := "# GOPROXY=no\nGOPROXY=https://a.example\r\nrubbish\n=x\nGOFLAGS=-a=b\n"
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := readGoEnvFile(name)
	if diff := cmp.Diff(map[string]string{"GOPROXY": "https://a.example", "GOFLAGS": "-a=b"}, got); diff != "" || err != nil {
		t.Errorf("error %v, -want +got:\n%s", err, diff)
	}
}
