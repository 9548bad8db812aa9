package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/google/go-cmp/cmp"
)

// TestMain lets the test binary stand in for the program that git asks, and for the go
// command: under the name fakego it does what its first argument says.
func TestMain(m *testing.M) {
	if handle, ok := os.LookupEnv(AskpassVariable); ok && len(os.Args) == 2 {
		if err := Askpass(handle, os.Args[1], os.Stdout); err != nil {
			githosttest.Exit(1)
		}
		githosttest.Exit(0)
	}
	if strings.HasPrefix(filepath.Base(os.Args[0]), "fakego") {
		fakeGo(os.Args[1:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func fakeGo(args []string) {
	switch args[0] {
	case "environ": // print the environment, and what is in the folders
		for _, kv := range os.Environ() {
			fmt.Println(kv)
		}
		for _, dir := range []string{".", os.Getenv("HOME")} {
			_ = filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
				if err == nil && !entry.IsDir() {
					fmt.Println("file", strings.TrimPrefix(name, dir))
				}
				return nil
			})
		}
	case "family": // start a child of our own, note both, and wait
		self, _ := os.Executable()
		c := exec.Command(self, "wait", "x")
		c.Args[0] = os.Args[0]
		if err := c.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		text := fmt.Sprintf("%d %d", os.Getpid(), c.Process.Pid)
		_ = os.WriteFile(args[2]+".draft", []byte(text), 0o600)
		_ = os.Rename(args[2]+".draft", args[2])
		time.Sleep(time.Hour)
	case "wait":
		time.Sleep(time.Hour)
	case "flood":
		for range childOutput>>10 + 1 {
			fmt.Print(strings.Repeat("x", 1<<10))
		}
	}
}

// newFake makes a Direct whose go command is the test binary.
func newFake(t *testing.T, change func(*DirectOptions)) *Direct {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fake := filepath.Join(t.TempDir(), "fakego")
	if err := os.Symlink(self, fake); err != nil {
		t.Fatal(err)
	}
	return newTestDirect(t, githosttest.New(t), func(o *DirectOptions) {
		o.Go = fake
		if change != nil {
			change(o)
		}
	})
}

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

func TestChildEnviron(t *testing.T) {
	for _, kv := range hostile {
		name, value, _ := strings.Cut(kv, "=")
		t.Setenv(name, value)
	}
	d := newFake(t, func(o *DirectOptions) {
		o.CAFile, o.NoSumDB = "/ca.pem", func() string { return "github.com/acme,*.corp" }
	})
	out, err := d.run(t.Context(), child{tool: d.opts.Go, args: []string{"environ", "x"}})
	if err != nil {
		t.Fatal(err)
	}
	got := string(out)
	box := ""
	for line := range strings.Lines(got) {
		if home, ok := strings.CutPrefix(line, "HOME="); ok {
			box = filepath.Dir(strings.TrimSpace(home))
		}
		if proxy, ok := strings.CutPrefix(line, "HTTPS_PROXY="); ok {
			got = strings.Replace(got, strings.TrimSpace(proxy), "PROXY", 1)
			if !strings.HasPrefix(proxy, "http://") || !strings.Contains(proxy, "@127.0.0.1:") {
				t.Errorf("HTTPS_PROXY is %q, want a tunnel on loopback with a password", proxy)
			}
		}
	}
	if filepath.Dir(box) != d.opts.TempDir {
		t.Errorf("home is below %q, want %q", filepath.Dir(box), d.opts.TempDir)
	}
	got = strings.NewReplacer(box, "BOX", d.opts.VCSDir, "VCS").Replace(got)
	want := strings.ReplaceAll(goldenEnviron, "GITFOLDER", filepath.Dir(d.opts.Git))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment of a child (-want +got):\n%s", diff)
	}
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

func TestChildOutputCapped(t *testing.T) {
	t.Parallel()
	d := newFake(t, nil)
	_, err := d.run(t.Context(), child{tool: d.opts.Go, args: []string{"flood", "x"}})
	if err == nil || !strings.Contains(err.Error(), "more than 8 MiB") {
		t.Errorf("got %v, want an error about 8 MiB", err)
	}
}

// TestChildKilled ends the request while the child and a child of its own are at work.
func TestChildKilled(t *testing.T) {
	t.Parallel()
	d := newFake(t, nil)
	reason := errors.New("the last client left")
	ctx, cancel := context.WithCancelCause(t.Context())
	note := filepath.Join(t.TempDir(), "pids")
	failed := make(chan error)
	go func() { // ends with ctx
		_, err := d.run(ctx, child{tool: d.opts.Go, args: []string{"family", "x", note}, origin: true})
		failed <- err
	}()
	var first, second int
	for {
		if text, err := os.ReadFile(note); err == nil {
			fmt.Sscan(string(text), &first, &second)
			break
		}
		select {
		case err := <-failed:
			t.Fatalf("child ended early: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
	}
	cancel(reason)
	if err := <-failed; !errors.Is(err, reason) {
		t.Errorf("got %v, want it to say %q", err, reason)
	}
	for _, pid := range []int{first, second} {
		if running(pid) {
			t.Errorf("process %d of %d and %d still runs", pid, first, second)
		}
	}
	if left, _ := os.ReadDir(d.opts.TempDir); len(left) != 0 {
		t.Errorf("temporary folders stay: %v", left)
	}
}

func TestChildrenLimited(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	tunnel, err := NewTunnel(TunnelOptions{MaxChildren: 1, Lookup: host.Lookup, Dial: host.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	d := newFake(t, func(o *DirectOptions) { o.Tunnel = tunnel })
	if err := tunnel.slots.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.run(ctx, child{tool: d.opts.Go, args: []string{"environ", "x"}, origin: true}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with all slots taken: got %v, want the end of ctx", err)
	}
	tunnel.slots.Release(1)
	if _, err := d.run(t.Context(), child{tool: d.opts.Go, args: []string{"environ", "x"}, origin: true}); err != nil {
		t.Errorf("with a slot free: %v", err)
	}
}

func TestSweepBoxes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Now()
	for name, age := range map[string]time.Duration{"go-old": 25 * time.Hour, "go-new": time.Hour, "other": 25 * time.Hour} {
		box := filepath.Join(dir, name)
		if err := os.Mkdir(box, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(box, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	sweepBoxes(dir, now)
	left, _ := os.ReadDir(dir)
	var names []string
	for _, entry := range left {
		names = append(names, entry.Name())
	}
	if diff := cmp.Diff([]string{"go-new", "other"}, names); diff != "" {
		t.Errorf("folders left (-want +got):\n%s", diff)
	}
}
