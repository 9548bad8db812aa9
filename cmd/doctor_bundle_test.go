package cmd

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/credential"
)

// TestEnvironment has a canary in each value that must stay at home.
func TestEnvironment(t *testing.T) {
	for _, test := range []struct{ name, kv, want string }{
		{"not Go's", "GOOGLE_CREDENTIALS={CANARY}", ""},
		{"not Go's, no secret by name", "GOLAND_VM=CANARY", ""},
		{"our token", tokenVariable + "=CANARY", ""},
		{"our token in lower case", strings.ToLower(tokenVariable) + "=CANARY", ""},
		{"a token of another", "GITHUB_TOKEN=CANARY", ""},
		{"a secret of ours", "GOMIRROR_SOME_SECRET=CANARY", "GOMIRROR_SOME_SECRET=REDACTED\n"},
		{"a key of ours", "GOMIRROR_KEY=CANARY", "GOMIRROR_KEY=REDACTED\n"},
		{"credentials of ours", "GOMIRROR_CREDS=CANARY", "GOMIRROR_CREDS=REDACTED\n"},
		{"a password of ours", "GOMIRROR_PASS=CANARY", "GOMIRROR_PASS=REDACTED\n"},
		{"GOAUTH", "GOAUTH=helper CANARY", "GOAUTH=REDACTED\n"},
		{"base64", originalsVar + "=CANARY", originalsVar + "=REDACTED\n"},
		{"a proxy", "https_proxy=http://u:p@CANARY@h.example:1", "https_proxy=http://REDACTED@h.example:1\n"},
		{"a proxy with a quote", `HTTP_PROXY=http://u:p"CANARY'@h.example`, "HTTP_PROXY=http://REDACTED@h.example\n"},
		{"a command", "GOCACHEPROG=/opt/c --token=CANARY", "GOCACHEPROG=/opt/c REDACTED\n"},
		{"a program alone", "GOCACHEPROG=/opt/c", "GOCACHEPROG=/opt/c\n"},
		{"a compiler", "CC=gcc -DKEY=CANARY -O2", "CC=gcc REDACTED\n"},
		{"its flags", "CGO_CFLAGS=-DKEY=CANARY", "CGO_CFLAGS=REDACTED\n"},
		{"no flags", "CGO_LDFLAGS=", "CGO_LDFLAGS=\n"},
		{"cgo", "CGO_ENABLED=0", "CGO_ENABLED=0\n"},
		{"all its flags", "GOGCCFLAGS=-DKEY=CANARY", "GOGCCFLAGS=REDACTED\n"},
		{"a flag of go", `GOFLAGS=-mod=mod "-ldflags=-X main.key=CANARY" -race`, "GOFLAGS=-mod=mod -ldflags=REDACTED -race\n"},
		{"one without quotes", `GOFLAGS=-ldflags=-X main.key=CANARY -tags=a,b '-tags=a b'`, "GOFLAGS=-ldflags=REDACTED REDACTED -tags=a,b '-tags=a b'\n"},
		{"one with an open quote", `GOFLAGS="--toolexec=x --key=CANARY`, "GOFLAGS=-toolexec=REDACTED -key=REDACTED\n"},
		{"a slash", "HTTPS_PROXY=http://ann:ab/CANARY@wp.example:3128", "HTTPS_PROXY=http://REDACTED@wp.example:3128\n"},
		{"digits and a slash", "HTTPS_PROXY=http://ann:12/CANARY@wp.example:3128", "HTTPS_PROXY=http://REDACTED@wp.example:3128\n"},
		{"a proxy without a scheme", "http_proxy=ann:a,/CANARY@wp.example:3128", "http_proxy=REDACTED@wp.example:3128\n"},
		{"a list with slashes", "GOPROXY=https://u:1/CANARY@a.example/x,https://b.example:1/y|https://u:p,/CANARY@c.example,direct", "GOPROXY=https://REDACTED@a.example/x,https://b.example:1/y|https://REDACTED,REDACTED@c.example,direct\n"},
		{"a list of ours", "GOMIRROR_UPSTREAM=https://u:1/CANARY@a.example|direct", "GOMIRROR_UPSTREAM=https://REDACTED@a.example|direct\n"},
		{"the network", "GOMIRROR_NETWORK_HOSTS=u:1/CANARY@a.example,b.example", "GOMIRROR_NETWORK_HOSTS=REDACTED@a.example,b.example\n"},
		{"a database", "GOSUMDB=sum.example+1+A/b= https://u:1/CANARY@sum.example", "GOSUMDB=sum.example+1+A/b= https://REDACTED@sum.example\n"},
		{"another proxy", "MY_PROXY=CANARY", ""},
		{"Go's", "GOFLAGS=-mod=mod", "GOFLAGS=-mod=mod\n"},
		{"ours", "GOMIRROR_UPSTREAM=direct", "GOMIRROR_UPSTREAM=direct\n"},
		{"the language", "LANG=C", "LANG=C\n"},
		{"anybody's", "EDITOR=CANARY", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			env := &Env{Environ: func() []string { return []string{test.kv} }}
			if got := string(environment(env)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestGoEnvNames holds the list against the go command that is here.
func TestGoEnvNames(t *testing.T) {
	out, err := OSEnv().Exec(t.Context(), "/", os.Environ(), "go", "env")
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields(goEnvNames)
	for line := range strings.Lines(string(out)) {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "set "), "=")
		if !slices.Contains(known, name) {
			t.Errorf("%s is not in goEnvNames", name)
		}
	}
}

// TestBundleLeavesOut has a config.toml that can't be read: what is private in it is
// nowhere in the bundle, and the listing says that it is left out.
func TestBundleLeavesOut(t *testing.T) {
	for _, test := range []struct{ name, config string }{
		{"an unknown key", "privat = ['x']\nprivate = ['github.com/canaryorg']\n"},
		{"no TOML", "private = [\n  'github.com/canaryorg',\n"},
		{"a value without quotes", "private = github.com/canaryorg\n"},
		{"a scheme", "x\nprivate = ['https://github.com/canaryorg', 'git@gitlab.com:canaryorg/x']\n"},
		{"a word", "privat = []\nprivate = ['canaryorg', \"canaryorg-too\"] # by name\n"},
		{"no UTF-8", "private = ['canaryorg', '\xff']\n"},
		{"a table", "x\n[network]\nhosts = [\"git.canaryorg.example\", \"github.com/canaryorg\"]\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "config.toml")
			if err := os.WriteFile(file, []byte(test.config), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, logFile), []byte("get github.com/canaryorg/x\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			_, settingsErr := readConfigFile(file)
			if settingsErr == nil {
				t.Fatal("the settings can be read")
			}
			var out bytes.Buffer
			env := &Env{Stdout: &out, Getenv: func(string) string { return "" }, Environ: func() []string { return nil }}
			look := doctor.Options{
				ConfigFile: file, StateDir: dir, SettingsErr: settingsErr, Tokens: credential.New(credential.Options{}),
				Go:     func() doctor.Go { return doctor.Go{Now: doctor.GoEnv{GOAUTH: "helper canaryorg"}} },
				Daemon: func() doctor.Daemon { return doctor.Daemon{} },
			}
			b, err := newBundle(t.Context(), env, look, doctorDoc{}, "b.zip")
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range b.Files {
				if f.Name == "config.toml" || f.Name == "settings.json" || strings.Contains(string(f.content), "canaryorg") {
					t.Errorf("%s is in it:\n%s", f.Name, f.content)
				}
			}
			if err := b.print(env); err != nil {
				t.Fatal(err)
			}
			if want := "  config.toml       left out  can't be read"; !strings.Contains(out.String(), want) {
				t.Errorf("listed as\n%s\nwant %q", &out, want)
			}
		})
	}
}

// TestBundleSettings has a config.toml with a comment, which is no setting.
func TestBundleSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(file, []byte("# ask the canary team\noffline = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := newBundle(t.Context(), &Env{Getenv: func(string) string { return "" }, Environ: func() []string { return nil }}, doctor.Options{
		ConfigFile: file, StateDir: dir, Tokens: credential.New(credential.Options{}),
		Settings: []doctor.Setting{{Name: "offline", Value: "true", From: file}},
		Go:       func() doctor.Go { return doctor.Go{} },
		Daemon:   func() doctor.Daemon { return doctor.Daemon{} },
	}, doctorDoc{}, "b.zip")
	if err != nil {
		t.Fatal(err)
	}
	told := false
	for _, f := range b.Files {
		told = told || f.Name == "settings.json" && strings.Contains(string(f.content), `"name": "offline"`)
		if strings.Contains(string(f.content), "canary") {
			t.Errorf("%s has\n%s", f.Name, f.content)
		}
	}
	if !told {
		t.Error("the settings are not in it")
	}
}
