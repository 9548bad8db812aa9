package upstream

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
)

// plainGo runs the go command as a user without us does: the token comes out of a
// credential helper.
func plainGo(t testing.TB, host *githosttest.Host, token, home string, args ...string) []byte {
	t.Helper()
	tunnel := newTestTunnel(t, host)
	pass := tunnel.open()
	defer pass.hangUp()
	helper := filepath.Join(home, "helper")
	script := "#!/bin/sh\necho username=x-access-token\necho password=" + token + "\n"
	if err := os.WriteFile(helper, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[credential]\n\thelper = "+helper+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(tool(t, "go"), args...)
	c.Dir = home
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GOPROXY=direct", "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOENV=off", "GOTOOLCHAIN=local",
		"GIT_CONFIG_NOSYSTEM=1", "HTTPS_PROXY=" + pass.proxyURL(), "SSL_CERT_FILE=" + host.CAFile, "GIT_SSL_CAINFO=" + host.CAFile,
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil && len(out) == 0 {
		t.Fatalf("plain go: %v\n%s", err, stderr.Bytes())
	}
	return out
}

// plainModule is what go mod download says of a module.
type plainModule struct{ Path, Version, Sum, GoModSum, Error string }

// documents reads the JSON that plain go prints.
func documents[T any](t testing.TB, out []byte) []T {
	t.Helper()
	var all []T
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var m T
		if err := decoder.Decode(&m); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
}

// TestDirectParity holds every fixture against the go command without us: the version
// that a name resolves to, both hashes of go.sum, and the list.
func TestDirectParity(t *testing.T) {
	t.Parallel()
	host := privateHost(t, plainToken)
	type target struct {
		fixture
		modPath, asked string
		want           plainModule
		versions       []string
	}
	var targets []*target
	var names, paths []string
	for _, f := range fixtures {
		modPath, version := f.make(t, host)
		targets = append(targets, &target{fixture: f, modPath: modPath, asked: version})
		names = append(names, modPath+"@"+version)
		paths = append(paths, modPath)
	}
	if len(targets) < 60 {
		t.Errorf("%d fixtures, want 60 at least", len(targets))
	}
	home := t.TempDir()
	for i, m := range documents[plainModule](t, plainGo(t, host, plainToken, home, append([]string{"mod", "download", "-json"}, names...)...)) {
		targets[i].want = m
	}
	for i, m := range documents[struct{ Versions []string }](t, plainGo(t, host, plainToken, home, append([]string{"list", "-m", "-e", "-json", "-versions", "-retracted"}, paths...)...)) {
		targets[i].versions = m.Versions
	}
	d := newTestDirect(t, host, withToken(plainToken))
	for _, tt := range targets {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.want.Path != tt.modPath || (tt.want.Error != "") != tt.bad {
				t.Fatalf("plain go says %+v of %s", tt.want, tt.modPath)
			}
			checkParity(t, d, tt.modPath, tt.asked, tt.want)
			key := moduleKey(tt.modPath, "list")
			var b basket
			if err := d.Fetch(t.Context(), Request{Key: directKey(t, key)}, b.sink); err != nil {
				t.Fatal(err)
			}
			if got := strings.Fields(b.bodies[key]); !slices.Equal(got, tt.versions) {
				t.Errorf("list is %v, plain go's %v", got, tt.versions)
			}
		})
	}
}

// checkParity fetches what plain go got.
func checkParity(t *testing.T, d *Direct, modPath, asked string, want plainModule) {
	t.Helper()
	version := asked
	if want.Version != asked && want.Error == "" {
		var err error
		if version, err = d.Resolve(t.Context(), modPath, asked); err != nil {
			t.Fatal(err)
		}
		if version != want.Version {
			t.Fatalf("%s is %s, plain go's %s", asked, version, want.Version)
		}
	}
	key := moduleKey(modPath, version+".zip")
	var b basket
	err := d.Fetch(t.Context(), Request{Key: directKey(t, key)}, b.sink)
	if want.Error != "" {
		if err == nil {
			t.Errorf("got %v, plain go says %q", b.names(), want.Error)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := h1(t, b.bodies[key]); got != want.Sum {
		t.Errorf("zip has %s, plain go's %s", got, want.Sum)
	}
	mod := b.bodies[moduleKey(modPath, version+".mod")]
	got, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(mod)), nil })
	if err != nil || got != want.GoModSum {
		t.Errorf("go.mod has %s (%v), plain go's %s", got, err, want.GoModSum)
	}
}

// moduleKey is the key of a module's file, escaped.
func moduleKey(modPath, file string) string {
	escaped, _ := module.EscapePath(modPath) // else no key parses
	return escaped + "/@v/" + file
}
