package upstream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/githosttest"
	"golang.org/x/mod/sumdb/dirhash"
)

// tool finds go or git.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	if path, err = filepath.Abs(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// newTestTunnel opens a tunnel that leads to host alone.
func newTestTunnel(t testing.TB, host *githosttest.Host) *Tunnel {
	t.Helper()
	tunnel, err := NewTunnel(TunnelOptions{Lookup: host.Lookup, Dial: host.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	return tunnel
}

// newTestDirect makes a Direct that can reach host alone. change may be nil.
func newTestDirect(t testing.TB, host *githosttest.Host, change func(*DirectOptions)) *Direct {
	t.Helper()
	opts := DirectOptions{
		Go:      tool(t, "go"),
		Git:     tool(t, "git"),
		VCSDir:  filepath.Join(t.TempDir(), "vcs"),
		TempDir: filepath.Join(t.TempDir(), "tmp"),
		CAFile:  host.CAFile,
	}
	if change != nil {
		change(&opts)
	}
	if opts.Tunnel == nil {
		opts.Tunnel = newTestTunnel(t, host)
	}
	d, err := NewDirect(opts)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func directKey(t testing.TB, name string) cache.Key {
	t.Helper()
	key, err := cache.ParseKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// basket is a Sink that keeps what it is given, by key.
type basket struct {
	mu     sync.Mutex
	bodies map[string]string
	metas  map[string]cache.Meta
}

func (b *basket) sink(key cache.Key, meta cache.Meta, body io.Reader) error {
	all, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bodies == nil {
		b.bodies, b.metas = make(map[string]string), make(map[string]cache.Meta)
	}
	b.bodies[key.String()], b.metas[key.String()] = string(all), meta
	return nil
}

func (b *basket) names() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for name := range b.bodies {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// h1 hashes a zip as go.sum has it.
func h1(t *testing.T, zip string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "m.zip")
	if err := os.WriteFile(name, []byte(zip), 0o600); err != nil {
		t.Fatal(err)
	}
	hash, err := dirhash.HashZip(name, dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

// modules makes the repositories that most tests use, and returns the hash of a
// commit without a tag.
func modules(t *testing.T, host *githosttest.Host) (untagged string) {
	t.Helper()
	mod := host.Repo(t, "github.com/acme/mod", map[string]string{
		"go.mod": "module github.com/acme/mod\n\ngo 1.20\n", "a.go": "package mod\n", "LICENSE": "do as you like\n",
		"sub/go.mod": "module github.com/acme/mod/sub\n", "sub/s.go": "package sub\n",
	}, "v1.0.0", "sub/v1.0.0")
	untagged = mod.Commit(t, map[string]string{"a.go": "package mod // later\n"})
	host.Repo(t, "github.com/acme/two", map[string]string{
		"go.mod": "module github.com/acme/two\n", "two.go": "package two\n",
		"v2/go.mod": "module github.com/acme/two/v2\n", "v2/two.go": "package two\n",
	}, "v1.0.0", "v2.0.0")
	host.Repo(t, "github.com/acme/old", map[string]string{
		"old.go": "package old\n", ".gitattributes": "hidden.go export-ignore\nold.go export-subst\n*.txt eol=crlf\n",
		"hidden.go": "package old\n", "note.txt": "a\nb\n",
	}, "v1.0.0", "v2.0.0")
	host.Rename("github.com/acme/formerly", "github.com/acme/old")
	host.Vanity("go.example.org/mod", "https://git.example.org/elsewhere")
	host.Repo(t, "git.example.org/elsewhere", map[string]string{"go.mod": "module go.example.org/mod\n", "a.go": "package mod\n"}, "v0.1.0")
	return untagged
}

func TestDirectVersions(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	hash := modules(t, host)
	d := newTestDirect(t, host, nil)
	pseudo := "v1.0.1-0.20240203040200-" + hash[:12]
	tests := []struct {
		name, mod, version, wantMod string
	}{
		{"root module", "github.com/acme/mod", "v1.0.0", "module github.com/acme/mod\n\ngo 1.20\n"},
		{"nested module", "github.com/acme/mod/sub", "v1.0.0", "module github.com/acme/mod/sub\n"},
		{"pseudo-version", "github.com/acme/mod", pseudo, "module github.com/acme/mod\n\ngo 1.20\n"},
		{"major version in a folder", "github.com/acme/two/v2", "v2.0.0", "module github.com/acme/two/v2\n"},
		{"no go.mod", "github.com/acme/old", "v1.0.0", "module github.com/acme/old\n"},
		{"incompatible", "github.com/acme/old", "v2.0.0+incompatible", "module github.com/acme/old\n"},
		{"renamed repository", "github.com/acme/formerly", "v1.0.0", "module github.com/acme/formerly\n"},
		{"vanity host", "go.example.org/mod", "v0.1.0", "module go.example.org/mod\n"},
	}
	var targets []string
	for _, tt := range tests {
		targets = append(targets, tt.mod+"@"+tt.version)
	}
	want := plainSums(t, host, targets)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			prefix := tt.mod + "/@v/" + tt.version
			var b basket
			if err := d.Fetch(t.Context(), Request{Key: directKey(t, prefix+".info")}, b.sink); err != nil {
				t.Fatal(err)
			}
			if got, want := b.names(), []string{prefix + ".info", prefix + ".mod"}; !slices.Equal(got, want) {
				t.Errorf("asked .info, got %v, want %v", got, want)
			}
			b = basket{}
			if err := d.Fetch(t.Context(), Request{Key: directKey(t, prefix+".zip")}, b.sink); err != nil {
				t.Fatal(err)
			}
			if got, want := b.names(), []string{prefix + ".info", prefix + ".mod", prefix + ".zip"}; !slices.Equal(got, want) {
				t.Errorf("asked .zip, got %v, want %v", got, want)
			}
			if got := b.bodies[prefix+".mod"]; got != tt.wantMod {
				t.Errorf(".mod is %q, want %q", got, tt.wantMod)
			}
			if got, want := h1(t, b.bodies[prefix+".zip"]), want[tt.mod+"@"+tt.version]; got != want {
				t.Errorf("zip has %s, plain go's %s", got, want)
			}
			var info struct {
				Version string
				Origin  struct{ Hash string }
			}
			if err := json.Unmarshal([]byte(b.bodies[prefix+".info"]), &info); err != nil || info.Version != tt.version {
				t.Errorf(".info is %q (%v), want version %s", b.bodies[prefix+".info"], err, tt.version)
			}
			meta := b.metas[prefix+".zip"]
			if meta.Upstream != "direct" || meta.Status != 200 || len(meta.OriginHash) != 40 || meta.OriginHash != info.Origin.Hash {
				t.Errorf("meta is %+v, want direct, 200, origin %s", meta, info.Origin.Hash)
			}

			host.Requests()
			b = basket{}
			if err := d.Fetch(t.Context(), Request{Key: directKey(t, prefix+".zip")}, b.sink); err != nil {
				t.Fatal(err)
			}
			if seen := host.Requests(); len(seen) != 0 {
				t.Errorf("asked again, the host saw %v, want nothing", seen)
			}
		})
	}
	if left, _ := os.ReadDir(d.opts.TempDir); len(left) != 0 {
		t.Errorf("temporary folders stay: %v", left)
	}
	if left, _ := filepath.Glob(filepath.Join(d.opts.VCSDir, "github.com", "acme", "*@*")); len(left) != 0 {
		t.Errorf("extracted modules stay: %v", left)
	}
}

// plainSums returns the h1 of the zips that the go command makes without us.
func plainSums(t *testing.T, host *githosttest.Host, targets []string) map[string]string {
	t.Helper()
	tunnel := newTestTunnel(t, host)
	pass := tunnel.open()
	defer pass.hangUp()
	home := t.TempDir()
	c := exec.Command(tool(t, "go"), append([]string{"mod", "download", "-json"}, targets...)...)
	c.Dir = home
	c.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "GOPROXY=direct", "GOSUMDB=off", "GOFLAGS=-modcacherw", "GOENV=off",
		"GIT_CONFIG_NOSYSTEM=1", "HTTPS_PROXY=" + pass.proxyURL(), "SSL_CERT_FILE=" + host.CAFile, "GIT_SSL_CAINFO=" + host.CAFile,
	}
	out, err := c.Output()
	if err != nil {
		t.Fatalf("plain go: %v\n%s", err, out)
	}
	sums := make(map[string]string)
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var m struct{ Path, Version, Sum string }
		if err := decoder.Decode(&m); err == io.EOF {
			return sums
		} else if err != nil {
			t.Fatal(err)
		}
		sums[m.Path+"@"+m.Version] = m.Sum
	}
}

func TestDirectQueries(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	hash := modules(t, host)
	d := newTestDirect(t, host, nil)
	pseudo := "v1.0.1-0.20240203040200-" + hash[:12]
	tests := []struct{ name, key, want string }{
		{"branch", "github.com/acme/mod/@v/main.info", `"Version":"` + pseudo + `"`},
		{"commit", "github.com/acme/mod/@v/" + hash + ".info", `"Version":"` + pseudo + `"`},
		{"short version", "github.com/acme/mod/@v/v1.info", `"Version":"v1.0.0"`},
		{"latest", "github.com/acme/mod/@latest", `"Version":"v1.0.0"`},
		{"list", "github.com/acme/old/@v/list", "v1.0.0\nv2.0.0+incompatible\n"},
		{"list of a folder that is no module", "github.com/acme/mod/pkg/@v/list", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var b basket
			if err := d.Fetch(t.Context(), Request{Key: directKey(t, tt.key)}, b.sink); err != nil {
				t.Fatal(err)
			}
			got, ok := b.bodies[tt.key]
			if !ok || len(b.bodies) != 1 {
				t.Fatalf("got %v, want %s alone", b.names(), tt.key)
			}
			if !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("got %q, want %q in it", got, tt.want)
			}
		})
	}
}

func TestDirectErrors(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	host.Repo(t, "github.com/acme/secret", map[string]string{"go.mod": "module github.com/acme/secret\n"}, "v1.0.0")
	host.Vanity("inner.example.org/mod", "https://10.1.2.3/mod")
	host.Vanity("loop.example.org/mod", "https://127.0.0.1:9/mod")
	host.Vanity("ext.example.org/mod", "ext::true")
	host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasPrefix(r.URL.Path, "/acme/secret"):
			w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
			http.Error(w, "Repository not found.", http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/acme/forbidden"):
			http.Error(w, "no", http.StatusForbidden)
		case strings.HasPrefix(r.URL.Path, "/acme/broken"):
			http.Error(w, "oops", http.StatusInternalServerError)
		case strings.HasPrefix(r.URL.Path, "/acme/colour"):
			http.Error(w, "\x1b[31mred\x1b[0m", http.StatusBadGateway)
		default:
			return false
		}
		return true
	})
	d := newTestDirect(t, host, nil)
	const missing, auth, fault = "missing", "auth", "fault"
	tests := []struct{ name, key, kind, want string }{
		{"unknown version", "github.com/acme/mod/@v/v9.9.9.info", missing, "fetch github.com/acme/mod@v9.9.9 from its origin: unknown revision v9.9.9"},
		{"unknown version's zip", "github.com/acme/mod/@v/v1.9.9.zip", missing, "unknown revision v1.9.9"},
		{"unknown branch", "github.com/acme/mod/@v/nobranch.info", missing, "unknown revision nobranch"},
		{"major version without a folder", "github.com/acme/mod/v2/@v/v2.0.0.info", missing, "unknown revision v2.0.0"},
		{"tag without go.mod for the path", "github.com/acme/old/v2/@v/v2.0.0.info", missing, "missing"},
		{"folder that is no module", "github.com/acme/mod/pkg/@latest", missing, "no matching versions"},
		{"unknown repository", "github.com/acme/nope/@v/v1.0.0.info", missing, "not found"},
		{"unknown repository's list", "github.com/acme/nope/@v/list", missing, "not found"},
		{"prefix of a module", "github.com/acme/@latest", missing, "invalid github.com import path"},
		{"host without the path", "go.example.org/nope/@latest", missing, "404 Not Found"},
		{"private or missing", "github.com/acme/secret/@v/v1.0.0.info", auth, "could not read Username"},
		{"forbidden", "github.com/acme/forbidden/@v/v1.0.0.info", auth, "403"},
		{"broken host", "github.com/acme/broken/@v/v1.0.0.info", fault, "500"},
		{"colours", "github.com/acme/colour/@v/v1.0.0.info", fault, "502"},
		{"unknown host", "nowhere.example.net/mod/@latest", fault, "no such host"},
		{"address of this host", "127.0.0.1/mod/@latest", fault, "refuse to connect to 127.0.0.1"},
		{"private address", "10.0.0.1/mod/@latest", fault, "refuse to connect to 10.0.0.1: a private network's address"},
		{"import page to a private address", "inner.example.org/mod/@latest", fault, "refuse to connect to 10.1.2.3"},
		{"import page to a program", "ext.example.org/mod/@latest", fault, "ext.example.org/mod"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := d.Fetch(t.Context(), Request{Key: directKey(t, tt.key)}, new(basket).sink)
			if err == nil {
				t.Fatal("got no error")
			}
			kind := fault
			var origin *OriginError
			switch {
			case errors.Is(err, fs.ErrNotExist):
				kind = missing
			case errors.As(err, &origin) && origin.NeedsAuth():
				kind = auth
			}
			if kind != tt.kind {
				t.Errorf("error is %s, want %s: %v", kind, tt.kind, err)
			}
			text := err.Error()
			if !strings.Contains(text, tt.want) {
				t.Errorf("got %q, want %q in it", text, tt.want)
			}
			if strings.Contains(text, d.opts.VCSDir) || strings.ContainsRune(text, '\x1b') || strings.Count(text, "\n") > originLines {
				t.Errorf("got %q, want it short and plain", text)
			}
		})
	}
}

func TestDirectUnreachableAndUntrusted(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	d := newTestDirect(t, host, func(o *DirectOptions) { o.CAFile = "" })
	key := directKey(t, "github.com/acme/mod/@v/v1.0.0.info")
	err := d.Fetch(t.Context(), Request{Key: key}, new(basket).sink)
	if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("untrusted host: got %v, want a fault that names the certificate", err)
	}
	nowhere := directKey(t, "nowhere.example.net/mod/@latest")
	if err := d.Fetch(t.Context(), Request{Key: nowhere}, new(basket).sink); !Unreachable(err) {
		t.Errorf("Unreachable(%v) = false, want true", err)
	}
}

// TestDirectOneFlight asks for the three files of a version at once.
func TestDirectOneFlight(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	d := newTestDirect(t, host, nil)
	var b basket
	var wg sync.WaitGroup
	for _, end := range []string{".zip", ".info", ".mod", ".zip", ".info", ".mod"} {
		wg.Go(func() {
			if err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/mod/@v/v1.0.0"+end)}, b.sink); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(b.bodies) != 3 {
		t.Errorf("got %v, want three files", b.names())
	}
	fetched := 0
	for _, r := range host.Requests() {
		if r.Path == "/acme/mod/info/refs" {
			fetched++
		}
	}
	// list -m and mod download each look at the refs once, then fetch.
	if fetched > 4 {
		t.Errorf("the host was asked for its refs %d times, want 4 at most", fetched)
	}
}

// TestDirectHeals plants what a killed git leaves behind.
func TestDirectHeals(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	d := newTestDirect(t, host, nil)
	fetch := func(d *Direct, key string) error {
		return d.Fetch(t.Context(), Request{Key: directKey(t, key)}, new(basket).sink)
	}
	if err := fetch(d, "github.com/acme/two/@v/v1.0.0.zip"); err != nil {
		t.Fatal(err)
	}
	bare, _ := filepath.Glob(filepath.Join(d.opts.VCSDir, "cache", "vcs", "*", "objects"))
	if len(bare) != 1 {
		t.Fatalf("found %d bare repositories, want 1", len(bare))
	}
	for _, name := range []string{"../shallow.lock", "../packed-refs.lock", "pack/tmp_pack_abc"} {
		if err := os.WriteFile(filepath.Join(bare[0], filepath.FromSlash(name)), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := newTestDirect(t, host, func(o *DirectOptions) { *o = d.opts })
	if err := fetch(again, "github.com/acme/two/v2/@v/v2.0.0.zip"); err != nil {
		t.Errorf("after a killed git: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(bare[0], "pack", "tmp_*")); len(left) != 0 {
		t.Errorf("half packs stay: %v", left)
	}
}

// TestDirectFoldersGone has the cache removed under a running daemon: the folders are made
// again, and where that fails it is no word of the origin.
func TestDirectFoldersGone(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	dir := filepath.Join(t.TempDir(), "cache", "vcs")
	d := newTestDirect(t, host, func(o *DirectOptions) { o.VCSDir, o.TempDir = filepath.Join(dir, "private"), filepath.Join(dir, "tmp") })
	for _, end := range []string{"list", "v1.0.0.zip"} {
		if err := os.RemoveAll(filepath.Dir(dir)); err != nil {
			t.Fatal(err)
		}
		if err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/mod/@v/"+end)}, new(basket).sink); err != nil {
			t.Errorf("%s: %v", end, err)
		}
	}
	key := directKey(t, "github.com/acme/mod/sub/@v/v1.0.0.zip")
	for name, change := range map[string]func() error{
		"a file in the place of the folder": func() error {
			return errors.Join(os.RemoveAll(d.opts.TempDir), os.WriteFile(d.opts.TempDir, nil, 0o600))
		},
		"no go command": func() error {
			d.opts.Go += ".gone"
			return os.RemoveAll(d.opts.TempDir)
		},
	} {
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if err := d.Fetch(t.Context(), Request{Key: key}, new(basket).sink); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want a fault of our own", name, err)
		}
	}
}

// TestDirectSinkFaults loses the cache while it takes an answer.
func TestDirectSinkFaults(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	d := newTestDirect(t, host, nil)
	for _, name := range []string{"github.com/acme/mod/@v/list", "github.com/acme/mod/@latest", "github.com/acme/mod/@v/v1.0.0.info", "github.com/acme/mod/@v/v1.0.0.zip"} {
		err := d.Fetch(t.Context(), Request{Key: directKey(t, name)}, func(cache.Key, cache.Meta, io.Reader) error {
			return &fs.PathError{Op: "rename", Path: "drafts/x", Err: fs.ErrNotExist}
		})
		if !errors.As(err, new(*fs.PathError)) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want the sink's fault, and not that there is no such module", name, err)
		}
	}
}

// TestDirectCutShort has a zip in the module cache that a crash cut short.
func TestDirectCutShort(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	d := newTestDirect(t, host, nil)
	key := directKey(t, "github.com/acme/mod/@v/v1.0.0.zip")
	var whole basket
	if err := d.Fetch(t.Context(), Request{Key: key}, whole.sink); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(d.file(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.file(key), []byte("PK"), 0o600); err != nil {
		t.Fatal(err)
	}
	var b basket
	err := d.Fetch(t.Context(), Request{Key: key}, func(key cache.Key, meta cache.Meta, body io.Reader) error {
		if err := b.sink(key, meta, body); err != nil {
			return err
		}
		if b.bodies[key.String()] == "PK" {
			return &cache.InvalidError{Key: key, Reason: "not a zip"}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if b.bodies[key.String()] != whole.bodies[key.String()] {
		t.Error("the zip was not made anew")
	}
}

// TestDirectHostile fetches a repository that tries to run programs.
func TestDirectHostile(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	canary := filepath.Join(t.TempDir(), "canary")
	run := "#!/bin/sh\ntouch " + canary + "\n"
	repo := host.Repo(t, "github.com/acme/evil", map[string]string{
		"go.mod": "module github.com/acme/evil\n", "e.go": "package evil\n",
		".gitmodules":                 "[submodule \"a\"]\n\tpath = a\n\turl = ext::sh -c touch% " + canary + "\n[submodule \"b\"]\n\tpath = b\n\turl = https://sub.example.org/b\n",
		".gitattributes":              "* filter=evil diff=evil merge=evil export-subst\n",
		".gitconfig":                  "[filter \"evil\"]\n\tsmudge = touch " + canary + "\n",
		"hooks/post-checkout":         run,
		"hooks/reference-transaction": run,
	}, "v1.0.0")
	repo.Git(t, "update-index", "--add", "--cacheinfo", "160000,"+strings.Repeat("1", 40)+",a")
	repo.Git(t, "commit", "--quiet", "--message", "submodule")
	repo.Git(t, "tag", "v1.1.0")
	d := newTestDirect(t, host, nil)
	for _, version := range []string{"v1.0.0", "v1.1.0"} {
		if err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/evil/@v/"+version+".zip")}, new(basket).sink); err != nil {
			t.Errorf("fetch %s: %v", version, err)
		}
	}
	if _, err := os.Stat(canary); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the repository ran a program")
	}
	for _, r := range host.Requests() {
		if r.Host != "github.com" {
			t.Errorf("the submodule's host was asked: %v", r)
		}
	}
}

// TestDirectStall has a host that takes requests and never answers.
func TestDirectStall(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	host.Vanity("slow.example.org/mod", "https://slow.example.org/mod")
	host.Repo(t, "git.example.org/mod", map[string]string{"go.mod": "module git.example.org/mod.git\n"}, "v1.0.0")
	release := make(chan struct{})
	host.Intercept(func(http.ResponseWriter, *http.Request) bool {
		<-release
		return true
	})
	t.Cleanup(func() { close(release) })
	d := newTestDirect(t, host, nil)
	tests := []struct {
		name, key      string
		silence, local time.Duration
		want           string
	}{
		{"the go command's own request", "slow.example.org/mod/@latest", 300 * time.Millisecond, time.Minute, "go list -m made no progress for 300ms"},
		{"git's request", "git.example.org/mod.git/@latest", time.Minute, 700 * time.Millisecond, "go list -m made no progress for 700ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d.silence, d.local = tt.silence, tt.local
			err := d.Fetch(t.Context(), Request{Key: directKey(t, tt.key)}, new(basket).sink)
			if err == nil || !strings.HasSuffix(err.Error(), tt.want) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestDirectOutOfReach has a network that swallows each dial.
func TestDirectOutOfReach(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	dialed := make(chan struct{}, 100)
	d := newTestDirect(t, host, func(opts *DirectOptions) {
		tunnel, err := NewTunnel(TunnelOptions{
			Trusted: func(string) bool { return true },
			Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				dialed <- struct{}{}
				<-ctx.Done()
				return nil, ctx.Err()
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tunnel.Close() })
		opts.Tunnel = tunnel
	})
	const reach = 6 * time.Second // go and git start before they dial
	start := time.Now()
	ctx := withReach(t.Context(), start.Add(reach))
	err := d.Fetch(ctx, Request{Key: directKey(t, "github.com/acme/mod/@v/v1.0.0.zip")}, new(basket).sink)
	if took := time.Since(start); !Unreachable(err) || took > reach+childGrace {
		t.Errorf("%v after %v, want that it is out of reach in %v", err, took, reach)
	}
	if len(dialed) == 0 {
		t.Error("nobody was dialed")
	}
}

func TestDirectOptionsRefused(t *testing.T) {
	if _, err := NewDirect(DirectOptions{Go: "go", Git: "/usr/bin/git"}); err == nil {
		t.Error("a go command without a path is taken, want an error: PATH may change")
	}
}
