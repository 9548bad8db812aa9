package cmd

import (
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/credential"
)

// hiderOf returns a hider for an environment and options that may be nearly empty.
func hiderOf(vars map[string]string, look doctor.Options, logins ...string) *hider {
	look.Tokens = credential.New(credential.Options{})
	if look.Go == nil {
		look.Go = func() doctor.Go { return doctor.Go{} }
	}
	if look.Daemon == nil {
		look.Daemon = func() doctor.Daemon { return doctor.Daemon{} }
	}
	return newHider(&Env{Getenv: func(name string) string { return vars[name] }}, look, logins...)
}

// TestUserinfo has passwords with what else ends one.
func TestUserinfo(t *testing.T) {
	hide := hiderOf(nil, doctor.Options{})
	for _, test := range []struct{ name, text, want string }{
		{"an @", "GOPROXY=https://user:p@ssw0rdCANARY@proxy.example", "GOPROXY=https://REDACTED@proxy.example"},
		{"two of them", "https://u:@CANARY@@proxy.example/x", "https://REDACTED@proxy.example/x"},
		{"without a scheme", "u:p@CANARY@proxy.example:1", "REDACTED@proxy.example:1"},
		{"a colon, without a scheme", "u:CANARY:p@proxy.example", "REDACTED@proxy.example"},
		{"a single quote", "https://u:p'CANARY@proxy.example", "https://REDACTED@proxy.example"},
		{"a quote in JSON", `"https://u:p\"CANARY@proxy.example"`, `"https://REDACTED@proxy.example"`},
		{"in a list", "https://u:a@CANARY@a.example,https://u:b@CANARY@b.example|direct", "https://REDACTED@a.example,https://REDACTED@b.example|direct"},
		{"a slash", "GET http://ann:ab/CANARY@wp.acme.example:3128/x", "GET http://REDACTED@wp.acme.example:3128/x"},
		{"a slash at its start", "http://ann:/CANARY@wp.acme.example", "http://REDACTED@wp.acme.example"},
		{"slashes in a list", "https://u:a/@CANARY@a.example,https://u:b/CANARY@b.example/x|direct", "https://REDACTED@a.example,https://REDACTED@b.example/x|direct"},
		{"a slash in JSON", `{"proxy":"http://ann:a\"b/CANARY@h.example","x":"m@v1"}`, `{"proxy":"http://REDACTED@h.example","x":"m@v1"}`},
		{"a slash, as net/url says it", `parse "http://ann:CANARY/b@h": invalid port ":CANARY" after host`, `parse "http://REDACTED@h": invalid port "REDACTED" after host`},
		{"an upstream after a port", "https://h.example:8080,https://u:p/CANARY@b.example", "https://h.example:8080,https://REDACTED@b.example"},
		{"a port", "https://h.example:8080/x/@v/list https://[::1]:8080/x/@v/list", "https://h.example:8080/x/@v/list https://[::1]:8080/x/@v/list"},
		{"a password and a port", "https://u:p@h.example:8080/x/@v/list https://u:p@[::1]:8080/x/@v/list", "https://REDACTED@h.example:8080/x/@v/list https://REDACTED@[::1]:8080/x/@v/list"},
		{"no password", "https://mirror.example.org/x/@v/list x@v1.0.0", "https://mirror.example.org/x/@v/list x@v1.0.0"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := hide.text(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestHidePasswords has passwords that only the settings tell from other text.
func TestHidePasswords(t *testing.T) {
	for _, test := range []struct{ name, value, text, want string }{
		{"no scheme", "ann:ab/CANARY@10.0.0.1:1", `invalid proxy address "ann:ab/CANARY@10.0.0.1:1"`, `invalid proxy address "REDACTED@10.0.0.1:1"`},
		{"digits and a slash", "http://ann:12/CANARY@10.0.0.1:1", "http://ann:12/CANARY@10.0.0.1:1", "http://REDACTED@10.0.0.1:1"},
		{"in JSON", `ann:"&/CANARY@10.0.0.1`, `{"p":"ann:\"\u0026/CANARY@10.0.0.1"}`, `{"p":"REDACTED@10.0.0.1"}`},
		{"in the log", `ann:a"/CANARY@10.0.0.1`, `err="parse \"ann:a\\\"/CANARY@10.0.0.1\""`, `err="parse \"REDACTED@10.0.0.1\""`},
		{"alone", "ann:ab/CANARY@10.0.0.1", "with ab/CANARY", "with REDACTED"},
		{"short", "u:p@10.0.0.1", "up to u:p", "up to u:p"},
	} {
		t.Run(test.name, func(t *testing.T) {
			network := doctor.DaemonStatus{Network: &doctor.Network{HTTPSProxy: test.value}}
			for _, hide := range []*hider{
				hiderOf(map[string]string{"https_proxy": test.value, "HTTPS_PROXY": "x"}, doctor.Options{}),
				hiderOf(nil, doctor.Options{Daemon: func() doctor.Daemon { return doctor.Daemon{Last: network} }}),
				hiderOf(nil, doctor.Options{Upstream: "https://a.example|" + test.value}),
			} {
				if got := hide.text(test.text); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			}
		})
	}
}

// TestHideFlags has what the checks repeat of GOFLAGS.
func TestHideFlags(t *testing.T) {
	const flags = `"-ldflags=-X main.key=CANARY" -mod=readonly -toolexec=CNR main.other=CANARY`
	own := doctor.Options{Go: func() doctor.Go { return doctor.Go{Own: doctor.GoEnv{GOFLAGS: flags}} }}
	written := doctor.Options{Go: func() doctor.Go { return doctor.Go{File: map[string]string{"GOFLAGS": flags}} }}
	for _, hide := range []*hider{hiderOf(map[string]string{"GOFLAGS": flags}, doctor.Options{}), hiderOf(nil, own), hiderOf(nil, written)} {
		got := hide.text(`{"text": "go refuses GOFLAGS=\"-ldflags=-X main.key=CANARY\" -mod=readonly -toolexec=CNR: non-flag \"main.other=CANARY\""}`)
		if want := `{"text": "go refuses GOFLAGS=\"-ldflags=REDACTED\" -mod=readonly -REDACTED: non-flag \"REDACTED\""}`; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := shownGoEnv(doctor.GoEnv{GOFLAGS: flags}).GOFLAGS; got != "-ldflags=REDACTED -mod=readonly -toolexec=REDACTED REDACTED" {
		t.Errorf("of go env: %q", got)
	}
	hide := hiderOf(map[string]string{"GOCACHEPROG": "/opt/c --token=CANARY"}, doctor.Options{})
	if got := hide.text("run /opt/c --token=CANARY: not there"); got != "run /opt/c REDACTED: not there" {
		t.Errorf("a command: %q", got)
	}
}

// TestHideGlobs holds patterns against what path.Match says of them.
func TestHideGlobs(t *testing.T) {
	for _, test := range []struct {
		name, pattern, text string
		hidden              bool
	}{
		{"a class", "github.com/[ab]cme", "github.com/acme/x", true},
		{"a class, another", "github.com/[ab]cme", "github.com/ccme/x", false},
		{"its owner", "github.com/[ab]cme", "organisation bcme", true},
		{"escaped", "github.com/[ab]cme", "github.com/!acme/x", true},
		{"a range", "github.com/team[0-9]", "github.com/team7/x", true},
		{"all but", "github.com/team[^0-9]", "github.com/teamx/x", true},
		{"all but, not", "github.com/team[^0-9]", "github.com/team7/x", false},
		{"a host", "git[12].corp.example", "dial git2.corp.example: refused", true},
		{"a bracket in it", "github.com/[[:x]cme", "github.com/:cme", true},
		{"an escape in it", `github.com/[\]\-a]cme`, "github.com/-cme", true},
		{"an escaped letter", `github.com/[\a]cme`, "github.com/acme", true},
		{"an escape", `github.com/\acme`, "github.com/acme", true},
		{"no end", "github.com/[acme", "github.com/acme", false},
		{"backwards", "github.com/[z-a]cme", "github.com/acme", false},
		{"letters alone", "github.com/[a-z]*", "any words", false},
		{"letters alone, a module", "github.com/[a-z]*", "github.com/acme", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := hiderOf(nil, doctor.Options{Private: []string{test.pattern}}).text(test.text)
			if strings.Contains(got, "PRIVATE-") != test.hidden {
				t.Errorf("%q becomes %q", test.text, got)
			}
		})
	}
}

// TestHideNamed has names in other variables and settings than the private ones.
func TestHideNamed(t *testing.T) {
	goEnv := func(e doctor.GoEnv) doctor.Options {
		return doctor.Options{Go: func() doctor.Go { return doctor.Go{Now: e} }}
	}
	last := func(st doctor.DaemonStatus) doctor.Options {
		return doctor.Options{Daemon: func() doctor.Daemon { return doctor.Daemon{Last: st} }}
	}
	for _, test := range []struct {
		name string
		vars map[string]string
		look doctor.Options
	}{
		{"private of a dead one", nil, last(doctor.DaemonStatus{Private: []string{"git.canary.example/x"}})},
		{"served by a dead one", nil, last(doctor.DaemonStatus{Served: []string{"*.canary.example"}})},
		{"GONOSUMDB of a dead one", nil, last(doctor.DaemonStatus{GONOSUMDB: "*.canary.example"})},
		{"a token of a dead one", nil, last(doctor.DaemonStatus{Tokens: []string{"git.canary.example/x"}})},
		{"a setting of a dead one", nil, last(doctor.DaemonStatus{Settings: []doctor.Setting{{Name: "network.hosts", Value: "*.canary.example"}}})},
		{"the upstream of a dead one", nil, last(doctor.DaemonStatus{Upstream: "https://git.canary.example,direct"})},
		{"the setting of it", nil, last(doctor.DaemonStatus{Settings: []doctor.Setting{{Name: "upstream", Value: "https://git.canary.example"}}})},
		{"its HTTP proxy", nil, last(doctor.DaemonStatus{Network: &doctor.Network{HTTPProxy: "http://git.canary.example:3128"}})},
		{"GOINSECURE", map[string]string{"GOINSECURE": "*.canary.example"}, doctor.Options{}},
		{"GOINSECURE of go env", nil, goEnv(doctor.GoEnv{GOINSECURE: "git.canary.example/x"})},
		{"GOVCS", map[string]string{"GOVCS": "public:git,git.canary.example:git|hg,*:off"}, doctor.Options{}},
		{"GOVCS with a scheme", map[string]string{"GOVCS": "https://git.canary.example:git|hg,private:all"}, doctor.Options{}},
		{"GOVCS of go env", nil, goEnv(doctor.GoEnv{GOVCS: "git.canary.example:all"})},
		{"network.hosts", nil, doctor.Options{Hosts: []string{"git.canary.example"}}},
		{"its variable", map[string]string{"GOMIRROR_NETWORK_HOSTS": "git.canary.example"}, doctor.Options{}},
		{"private's variable", map[string]string{"GOMIRROR_PRIVATE": "git.canary.example"}, doctor.Options{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			hide := hiderOf(test.vars, test.look)
			if got := hide.text("get git.canary.example/x/y@v1.0.0, dial git.canary.example"); strings.Contains(got, "canary") {
				t.Error(got)
			}
			if got := hide.text("public golang.org/x/mod git"); got != "public golang.org/x/mod git" {
				t.Errorf("what is public becomes %q", got)
			}
		})
	}
}

// TestHideByPlace has modules that no pattern names: they were private once.
func TestHideByPlace(t *testing.T) {
	moved := (&statusDoc{Moved: []movedDoc{{Module: "github.com/canary/x"}}}).movedModules()
	hide := hiderOf(nil, doctor.Options{Private: moved})
	for _, test := range []struct{ text, want string }{
		{"rm /c/private/github.com/!canary/x/@v/v1.0.0.zip", "rm /c/private/PRIVATE-module-1/@v/v1.0.0.zip"},
		{`{"moved": [{"module": "github.com/canary/x"}], "fix": "rm '/c/private/git.canary.example/y/@v/list'"}`,
			`{"moved": [{"module": "PRIVATE-module-1"}], "fix": "rm '/c/private/PRIVATE-module-2/@v/list'"}`},
		{"open /c/private/git.canary.example/y: denied", "open /c/private/PRIVATE-module-2: denied"},
		{`{"path": "\\c\\private\\git.canary.example\\y\\@v\\list"}`, `{"path": "\\c\\private\\PRIVATE-module-2\\@v\\list"}`},
		{"open /c/download/rsc.io/quote/@v/list, /private/var/run.d/x", "open /c/download/rsc.io/quote/@v/list, /private/var/run.d/x"},
	} {
		if got := hide.text(test.text); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

// TestHideMisspelt has patterns that match nothing. The checks print what was meant.
func TestHideMisspelt(t *testing.T) {
	for _, list := range []string{
		"https://github.com/acme,https://gitlab.com/zulu.git", "git@github.com:acme,git@gitlab.com:zulu/x.git",
		"github.com/acme gitlab.com/zulu", "github.com/acme;gitlab.com/zulu", "github.com/acme|gitlab.com/zulu/x",
		"github.com/acme/...,gitlab.com/zulu...", "github.com/acme/x.git,gitlab.com/zulu/x.git", "acme,gitlab.com/zulu",
		"none https://github.com/acme https://gitlab.com/zulu", "github.com/acme/x@v1.0.0,gitlab.com/[zulu",
	} {
		for name, hide := range map[string]*hider{
			"GOPRIVATE":          hiderOf(map[string]string{"GOPRIVATE": list}, doctor.Options{}),
			"GOINSECURE":         hiderOf(map[string]string{"GOINSECURE": list}, doctor.Options{}),
			"private of another": hiderOf(nil, doctor.Options{Daemon: func() doctor.Daemon { return doctor.Daemon{Last: doctor.DaemonStatus{Private: []string{list}}} }}),
		} {
			got := hide.text("set github.com/acme/x,gitlab.com/zulu/x for " + list)
			if strings.Contains(got, "acme") || strings.Contains(got, "zulu") {
				t.Errorf("%s=%s: %s", name, list, got)
			}
			const public = "https://example.com/x, none of git@github.com:golang/go"
			if got := hide.text(public); got != public {
				t.Errorf("%s=%s: what is public becomes %q", name, list, got)
			}
		}
	}
}

// TestHideOfTheUser has what names a user and a company without being a module.
func TestHideOfTheUser(t *testing.T) {
	builtin := doctor.GoEnv{GOPROXY: "https://modules.example.net,direct"}
	hide := hiderOf(map[string]string{"HTTPS_PROXY": "http://u:p@wp.canary.example:3128", "no_proxy": "localhost,127.0.0.1,.inner.canary,10.0.0.0/8", "ALL_PROXY": "socks.canary.example:1"}, doctor.Options{
		Upstream: "https://u:p/w@goproxy.canary.example/x|direct",
		Go: func() doctor.Go {
			return doctor.Go{Now: doctor.GoEnv{GOPROXY: "http://127.0.0.1:1,https://u:p@nexus.canary.org,https://modules.example.net,direct"}, Builtin: builtin}
		},
	}, "canary-ann")
	hide.hideHome(`C:\Users\canary`)
	for _, test := range []struct{ text, want string }{
		{"github.com knows the token as Canary-Ann", "github.com knows the token as PRIVATE-login-1"},
		{"dial goproxy.canary.example: refused", "dial PRIVATE-host-2: refused"},
		{"https://nexus.canary.org/a", "https://PRIVATE-host-3/a"},
		{"proxy wp.canary.example:3128", "proxy PRIVATE-host-4:3128"},
		{"git.inner.canary, 10.0.0.0/8", "git.PRIVATE-host-5, 10.0.0.0/8"},
		{"socks.canary.example:1", "PRIVATE-host-6:1"},
		{"https://modules.example.net and http://127.0.0.1:1", "https://modules.example.net and http://127.0.0.1:1"},
		{`{"dir": "C:\\Users\\canary\\go"}`, `{"dir": "~\\go"}`},
		{`C:\Users\canary\go C:/Users/canary/go`, `~\go ~/go`},
	} {
		if got := hide.text(test.text); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
}

// TestHideHome has a home folder that is a link, and its name elsewhere.
func TestHideHome(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	target, home := filepath.Join(dir, "disk", "u4711"), filepath.Join(dir, "home", "ann")
	for _, parent := range []string{target, filepath.Dir(home)} {
		if err := os.MkdirAll(parent, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(target, home); err != nil {
		if runtime.GOOS == "windows" {
			t.Skip("a link takes a privilege: ", err)
		}
		t.Fatal(err)
	}
	hide, root := &hider{words: map[string]string{}}, &hider{words: map[string]string{}}
	hide.hideHome(home)
	const superuser = "/var/root" // on macOS
	root.hideHome(superuser)
	for _, test := range []struct{ text, want string }{
		{"open " + home + "/x: denied", "open ~/x: denied"},
		{"open " + target + "/x: denied", "open ~/x: denied"},
		{"GOPATH=/scratch/ann/go:/y/ann", "GOPATH=/scratch/PRIVATE-user-1/go:/y/PRIVATE-user-1"},
		{`{"dir": "/scratch/ann", "file": "D:\\\\ann\\\\x", "u": "file:///s/ann"}`, `{"dir": "/scratch/PRIVATE-user-1", "file": "D:\\\\PRIVATE-user-1\\\\x", "u": "file:///s/PRIVATE-user-1"}`},
		{"/scratch/annabel ann and/or ann https://example.com/ann github.com/ann/x", "/scratch/annabel ann and/or ann https://example.com/ann github.com/ann/x"},
		{"/s/u4711/x", "/s/PRIVATE-user-2/x"},
	} {
		if got := hide.text(test.text); got != test.want {
			t.Errorf("got  %q\nwant %q", got, test.want)
		}
	}
	if got := root.text(superuser + "/x /scratch/" + path.Base(superuser) + "/x"); got != "~/x /scratch/"+path.Base(superuser)+"/x" {
		t.Errorf("of root: %q", got)
	}
}
