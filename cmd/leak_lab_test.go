package cmd

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/gomirror/gomirror/serve/proxytest"
)

// What the users of the leak tests have: a private module, the pattern that covers
// it, and a public one that a mirror and its origin give with the same bytes.
const (
	leakSecret  = "github.com/acme/secret"
	leakPattern = "github.com/acme"
	leakPublic  = "github.com/open/quote"
	leakToken   = "ghp_leak0123456789leak0123456789leak01"
)

// leakLab is a world in which all that hears a name writes it down: a mirror that has
// any private name too, the checksum database at its own address and through the
// mirror, and the private modules' own origin. There is no other network.
type leakLab struct {
	t      *testing.T
	dir    string
	host   *githosttest.Host
	mirror *proxytest.Upstream
	proxy  string            // URL of the only way out, for HTTPS_PROXY
	states map[string]string // "127.0.0.1:PORT" that stands in for a sidecar in that state
	goSum  string            // of a project that needs both modules
	clones []string          // folders and files of the repositories that builds clone
	homes  int
}

// newLeakWorld makes a world in which there is nothing yet.
func newLeakWorld(t *testing.T) *leakLab {
	t.Helper()
	db := proxytest.NewDatabase(t, proxytest.DatabaseName)
	// Short names: the path of a socket has little room.
	dir, err := os.MkdirTemp("", "leak-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l := &leakLab{t: t, dir: dir, host: githosttest.New(t), mirror: proxytest.New(t, proxytest.Options{Database: db})}
	dbURL, stop, err := db.Serve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	target, err := url.Parse(dbURL)
	if err != nil {
		t.Fatal(err)
	}
	l.host.Site(proxytest.DatabaseName, httputil.NewSingleHostReverseProxy(target))
	l.proxy = l.host.Proxy(t)
	return l
}

// newLeakLab makes a world with both modules, for users who can read what is private
// without gomirror, or can't.
func newLeakLab(t *testing.T, alone bool) *leakLab {
	t.Helper()
	l := newLeakWorld(t)
	l.host.Private(leakPattern)
	l.host.Account(leakToken, githosttest.Account{Login: "ann", Sees: []string{leakPattern}})

	public := map[string]string{"go.mod": "module " + leakPublic + "\n", "quote.go": "package quote\n"}
	l.host.Repo(t, leakPublic, public, "v1.0.0")
	l.mirror.Add(t, leakPublic, "v1.0.0", public)
	l.secret(leakSecret)
	l.standIns()
	l.goSum = l.plainSum(alone)
	return l
}

// secret makes a private repository, and an impostor of it on the mirror.
func (l *leakLab) secret(modPath string) {
	l.t.Helper()
	files := map[string]string{"go.mod": "module " + modPath + "\n", "pkg/pkg.go": "package pkg\n\nconst From = \"origin\"\n"}
	l.host.Repo(l.t, modPath, files, "v1.0.0")
	files["pkg/pkg.go"] = "package pkg\n\nconst From = \"mirror\"\n"
	for _, version := range []string{"v1.0.0", "v1.9.9"} {
		l.mirror.Add(l.t, modPath, version, files)
	}
}

// standIns listen in the place of sidecars that are not well. One that stalls takes a
// request and says nothing, for as long as somebody waits.
func (l *leakLab) standIns() {
	l.t.Helper()
	l.states = map[string]string{"up": "", "down": proxytest.ClosedPort(l.t)}
	for state, answer := range map[string]http.HandlerFunc{
		"404":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not found", http.StatusNotFound) },
		"403":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "refused", http.StatusForbidden) },
		"500":     func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "broken", http.StatusInternalServerError) },
		"stalled": hangUp(time.Hour),
		"reset":   hangUp(0),
	} {
		server := httptest.NewServer(answer)
		l.t.Cleanup(server.Close)
		l.states[state] = server.Listener.Addr().String()
	}
}

func (l *leakLab) write(name, content string) {
	l.t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// inState returns the variables of a shell whose sidecar is in a state, by what
// stands in for it.
func (l *leakLab) inState(t *testing.T, shell []string, state string) []string {
	t.Helper()
	shell = slices.Clone(shell)
	for i, variable := range shell {
		ours, rest, found := strings.Cut(variable, "/t/")
		if addr := l.states[state]; found && addr != "" {
			if !strings.HasPrefix(ours, "GOPROXY=http://127.0.0.1:") {
				t.Fatalf("%s does not begin with our address", variable)
			}
			shell[i] = "GOPROXY=http://" + addr + "/t/" + rest
		}
	}
	return shell
}

// project writes a new module that imports what is named, and returns its folder.
func (l *leakLab) project(t *testing.T, goSum bool, imports ...string) string {
	t.Helper()
	dir := t.TempDir()
	mod, source := "module example.com/user\n\ngo 1.21\n", "package user\n\n"
	for _, path := range imports {
		source += fmt.Sprintf("import _ %q\n", path)
	}
	if goSum { // all is known, but not fetched
		mod += fmt.Sprintf("\nrequire (\n\t%s v1.0.0\n\t%s v1.0.0\n)\n", leakSecret, leakPublic)
		l.write(filepath.Join(dir, "go.sum"), l.goSum)
	}
	l.write(filepath.Join(dir, "go.mod"), mod)
	l.write(filepath.Join(dir, "user.go"), source)
	return dir
}

// plainSum is the go.sum that a user without gomirror gets from the origins, whose
// clones are kept for others: the public one's, or both.
func (l *leakLab) plainSum(keep bool) string {
	l.t.Helper()
	h := l.newHome(true)
	dir := l.project(l.t, false, leakSecret+"/pkg", leakPublic)
	if _, err := h.run(dir, []string{"GOPATH=" + h.dir + "/go", "GOPROXY=direct", "GONOSUMDB=" + leakPattern}, "go", "build", "./..."); err != nil {
		l.t.Fatal(err)
	}
	infos, err := filepath.Glob(h.dir + "/go/pkg/mod/cache/vcs/*.info")
	if err != nil {
		l.t.Fatal(err)
	}
	for _, info := range infos {
		about, err := os.ReadFile(info)
		if err != nil {
			l.t.Fatal(err)
		}
		if keep || strings.Contains(string(about), leakPublic) {
			l.clones = append(l.clones, info, strings.TrimSuffix(info, ".info"))
		}
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil {
		l.t.Fatal(err)
	}
	return string(sum)
}

// gopath makes a GOPATH with an empty module cache. What any user may read is cloned
// already, which is most of what a build by origins costs: go still asks what is new.
func (l *leakLab) gopath(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	vcs := filepath.Join(dir, "pkg", "mod", "cache", "vcs")
	if err := os.MkdirAll(vcs, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, clone := range l.clones {
		if err := os.Symlink(clone, filepath.Join(vcs, filepath.Base(clone))); err != nil {
			t.Fatal(err)
		}
	}
	return "GOPATH=" + dir
}

// heard returns and forgets what the mirror and the checksum database were asked
// about a private module.
func (l *leakLab) heard() (names []string) {
	for _, line := range l.mirror.Requests() {
		if namesSecret(line) {
			names = append(names, "mirror: "+line)
		}
	}
	l.mirror.Forget()
	for _, r := range l.host.Requests() {
		if r.Host != "github.com" && r.Host != "api.github.com" && namesSecret(r.Host+r.Path+"?"+r.Query) {
			names = append(names, r.Host+": "+r.Path)
		}
	}
	return names
}

// namesSecret reports whether text names what is private, in any spelling.
func namesSecret(text string) bool {
	plain, err := url.QueryUnescape(text)
	if err != nil {
		plain = text
	}
	plain = strings.ToLower(strings.ReplaceAll(plain, "!", ""))
	return strings.Contains(plain, "acme") || strings.Contains(plain, "secret") ||
		strings.Contains(plain, "hush") || strings.Contains(plain, "corp")
}
