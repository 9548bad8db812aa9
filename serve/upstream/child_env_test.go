package upstream

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"
)

// hostile is what a parent's environment may hold; none of it may reach a child.
var hostile = []string{
	"GOFLAGS=-toolexec=/tmp/evil", "GOENV=/tmp/evil.env", "GOTOOLCHAIN=path", "GOPROXY=https://evil.example.com",
	"GOPRIVATE=github.com/acme", "GONOPROXY=github.com/acme", "GONOSUMDB=*", "GOSUMDB=evil", "GOINSECURE=*", "GOVCS=*:all", "GOAUTH=netrc",
	"GOWORK=/tmp/go.work", "GOROOT=/tmp/goroot", "GOMODCACHE=/tmp/mod", "GODEBUG=http2client=0", "GO_TELEMETRY_CHILD=1",
	"GIT_SSH_COMMAND=/tmp/evil", "GIT_EXTERNAL_DIFF=/tmp/evil", "GIT_PROXY_COMMAND=/tmp/evil", "GIT_EXEC_PATH=/tmp", "GIT_DIR=/tmp/git",
	"GIT_ASKPASS=/tmp/evil", "SSH_ASKPASS=/tmp/evil", "GIT_TRACE=/tmp/trace", "GIT_CONFIG_PARAMETERS='core.pager=/tmp/evil'",
	"LD_PRELOAD=", "NO_PROXY=*", "http_proxy=http://evil.example.com", "XDG_CONFIG_HOME=/tmp/config", "GITHUB_TOKEN=ghp_CANARY",
	"GOMIRROR_GITHUB_TOKEN=ghp_CANARY", "CDPATH=/tmp",
}

// TestChildEnviron holds each sort of child to the list: those that ask nobody, those
// that ask a private module's origin, and the one that fetches a newer go command.
func TestChildEnviron(t *testing.T) {
	for _, kv := range hostile {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	d := newFake(t, func(o *DirectOptions) {
		o.CAFile, o.NoSumDB = "/ca.pem", func() string { return "github.com/acme,*.corp" }
		withToken(plainToken)(o)
		o.Self = "/gomirror"
		o.Switch = func() (string, string) { return "http://127.0.0.1:1/t/cap", "sum.example.org" }
	})
	run := func(c child) string {
		c.tool, c.args = d.opts.Go, []string{"environ", "x"}
		out, err := d.run(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	fetched := func() string {
		_, _ = d.switchToolchain(t.Context(), "1.99.1") // the test binary is none
		out, err := os.ReadFile(filepath.Join(d.opts.VCSDir, "environ"))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	const files = "file /.config/go/telemetry/mode\n"
	tests := []struct{ name, got, want string }{
		{"asks nobody", run(child{}), goldenEnviron},
		{"asks an origin", run(child{origin: true, repo: "https://github.com/acme/mod"}), strings.Replace(goldenEnviron, files,
			"GIT_ASKPASS=/gomirror\nGOMIRROR_ASKPASS=HANDLE\nGIT_CONFIG_PARAMETERS='credential.https://github.com.username=x-access-token'\n"+files, 1)},
		{"asks an unknown origin", run(child{origin: true}), strings.Replace(goldenEnviron, files,
			"GIT_ASKPASS=/gomirror\nGOMIRROR_ASKPASS=HANDLE\n"+files, 1)},
		{"fetches a go command", fetched(), strings.NewReplacer("GOTOOLCHAIN=local", "GOTOOLCHAIN=auto", "GOPROXY=direct", "GOPROXY=http://127.0.0.1:1/t/cap",
			"GOSUMDB=off", "GOSUMDB=sum.example.org", files, "file /go.mod\n"+files).Replace(goldenEnviron)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := strings.ReplaceAll(tt.want, "GITFOLDER", filepath.Dir(d.opts.Git))
			if diff := cmp.Diff(want, d.sameEnviron(t, tt.got)); diff != "" {
				t.Errorf("environment of a child (-want +got):\n%s", diff)
			}
		})
	}
}

// sameEnviron puts words in the place of what is another in each child.
func (d *Direct) sameEnviron(t *testing.T, got string) string {
	t.Helper()
	box := ""
	for line := range strings.Lines(got) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch name {
		case "HOME":
			box = filepath.Dir(value)
		case "HTTPS_PROXY":
			got = strings.ReplaceAll(got, value, "PROXY")
			if !strings.HasPrefix(value, "http://") || !strings.Contains(value, "@127.0.0.1:") {
				t.Errorf("HTTPS_PROXY is %q, want a tunnel on loopback with a password", value)
			}
		case AskpassVariable:
			got = strings.Replace(got, line, AskpassVariable+"=HANDLE\n", 1)
		}
	}
	if filepath.Dir(box) != d.opts.TempDir {
		t.Errorf("home is below %q, want %q", filepath.Dir(box), d.opts.TempDir)
	}
	return strings.NewReplacer(box, "BOX", d.opts.VCSDir, "VCS").Replace(got)
}

// goldenEnviron is THREATS' part D, byte for byte, with one file that keeps the go
// command's telemetry from starting a process of its own.
const goldenEnviron = `PATH=GITFOLDER
HOME=BOX/home
TMPDIR=BOX/tmp
LANG=C
LC_ALL=C
GIT_CONFIG_NOSYSTEM=1
GIT_CONFIG_GLOBAL=/dev/null
GIT_CEILING_DIRECTORIES=BOX:VCS
GIT_CONFIG_COUNT=12
GIT_CONFIG_KEY_0=core.hooksPath
GIT_CONFIG_VALUE_0=/dev/null
GIT_CONFIG_KEY_1=protocol.allow
GIT_CONFIG_VALUE_1=never
GIT_CONFIG_KEY_2=protocol.https.allow
GIT_CONFIG_VALUE_2=always
GIT_CONFIG_KEY_3=http.followRedirects
GIT_CONFIG_VALUE_3=initial
GIT_CONFIG_KEY_4=credential.helper
GIT_CONFIG_VALUE_4=
GIT_CONFIG_KEY_5=credential.useHttpPath
GIT_CONFIG_VALUE_5=true
GIT_CONFIG_KEY_6=http.proxyAuthMethod
GIT_CONFIG_VALUE_6=basic
GIT_CONFIG_KEY_7=core.symlinks
GIT_CONFIG_VALUE_7=false
GIT_CONFIG_KEY_8=submodule.recurse
GIT_CONFIG_VALUE_8=false
GIT_CONFIG_KEY_9=gc.auto
GIT_CONFIG_VALUE_9=0
GIT_CONFIG_KEY_10=http.lowSpeedLimit
GIT_CONFIG_VALUE_10=1000
GIT_CONFIG_KEY_11=http.lowSpeedTime
GIT_CONFIG_VALUE_11=20
GIT_ALLOW_PROTOCOL=https
GIT_TERMINAL_PROMPT=0
GCM_INTERACTIVE=never
GIT_ATTR_NOSYSTEM=1
GIT_LFS_SKIP_SMUDGE=1
HTTPS_PROXY=PROXY
HTTP_PROXY=PROXY
SSL_CERT_FILE=/ca.pem
GIT_SSL_CAINFO=/ca.pem
GOENV=off
GOFLAGS=-modcacherw
GOTOOLCHAIN=local
GOWORK=off
GO111MODULE=on
GOPROXY=direct
GONOPROXY=none
GOSUMDB=off
GONOSUMDB=github.com/acme,*.corp
GOPRIVATE=github.com/acme,*.corp
GOVCS=*:git
GOINSECURE=
GOAUTH=off
CGO_ENABLED=0
GOPATH=BOX/gopath
GOCACHE=BOX/gocache
GOMODCACHE=VCS
file /.config/go/telemetry/mode
`

// TestDirectInsideRepository has the cache below a repository, as with a home whose
// dotfiles are one, also by a symbolic link: git takes the configuration of what it
// stands in, and no variable tells it not to.
func TestDirectInsideRepository(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	proxied := make(chan string, 100)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied <- r.Host
		http.Error(w, "not the tunnel", http.StatusBadGateway)
	}))
	t.Cleanup(proxy.Close)
	home := t.TempDir()
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"config", "url.https://evil.example.org/.insteadOf", "https://github.com/"},
		{"config", "http.proxy", proxy.URL},
		{"config", "http.https://github.com/.proxy", proxy.URL},
		{"config", "http.extraHeader", "X-Hostile: yes"},
	} {
		c := exec.Command("git", args...)
		c.Dir = home
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(home, link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Join(home, "a"), filepath.Join(link, "b")} {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			d := newTestDirect(t, host, func(o *DirectOptions) {
				o.VCSDir, o.TempDir = filepath.Join(dir, "vcs"), filepath.Join(dir, "tmp")
			})
			for _, key := range []string{
				"github.com/acme/mod/@v/list", "github.com/acme/mod/@v/v1.0.0.info", "github.com/acme/mod/@v/v1.0.0.zip",
				"github.com/acme/mod/@latest", "github.com/acme/old/@v/list",
			} {
				if err := d.Fetch(t.Context(), Request{Key: directKey(t, key)}, new(basket).sink); err != nil {
					t.Errorf("fetch %s: %v", key, err)
				}
			}
			if err := d.Forget(t.Context(), module.Version{Path: "github.com/acme/mod", Version: "v1.0.0"}); err != nil {
				t.Error(err)
			}
			// What starts without a repository of its own finds none either.
			c := child{tool: d.opts.Git, args: []string{"config", "--get", "http.extraHeader"}}
			if out, err := d.run(t.Context(), c); len(out) > 0 {
				t.Errorf("a git child is told %q (%v)", out, err)
			}
		})
	}
	for _, r := range host.Requests() {
		if r.Host == "evil.example.org" || r.Header.Get("X-Hostile") != "" {
			t.Errorf("%s%s was asked as the repository's configuration says", r.Host, r.Path)
		}
	}
	if len(proxied) > 0 {
		t.Errorf("the proxy of the repository's configuration was asked for %s", <-proxied)
	}
}
