package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"

	"github.com/gomirror/gomirror/serve/proxytest"
)

// randomPatterns are what is private to TestNoLeakRandom, and modules that match.
var randomPatterns = map[string][]string{
	"github.com/acme":         {"github.com/acme/secret", "github.com/acme/secret/sub/mod", "github.com/acme"},
	"github.com/beta-*/Hush":  {"github.com/beta-one/hush", "github.com/beta-two/Hush/v3"},
	"github.com/gamma/*":      {"github.com/gamma/acme", "github.com/gamma/acme/sub"},
	"*.corp.example/team":     {"git.corp.example/team", "a.b.corp.example/team/secret.git"},
	"acme.example/a/b":        {"acme.example/a/b", "acme.example/a/b/c/d"},
	"gopkg.example/secret.v2": {"gopkg.example/secret.v2"},
}

// TestNoLeakRandom sends 10,000 private requests to a real sidecar that can reach no
// origin, for there is no git: every one must fail, and none may reach the mirror,
// which has an answer to all.
func TestNoLeakRandom(t *testing.T) {
	t.Parallel()
	const requests = 10_000
	l := newLeakWorld(t)
	// A lookup that gets this far finds a record, a file finds a body.
	l.mirror.Fault("/", proxytest.Fault{Kind: proxytest.Body, Arg: "v1.0.0\n"})
	h := l.newHome(false)
	codes := flood(t, h.startWithoutGit(), requests, randomRequests.next, func(code int, _ string) bool { return code != http.StatusOK })
	t.Logf("answers by status: %v", codes)
	if len(codes) < 2 || codes[http.StatusNotFound] > requests*9/10 {
		t.Errorf("got %v: too few requests were understood", codes)
	}
	if names := l.heard(); len(names) > 0 {
		t.Errorf("%d heard, the first: %q", len(names), names[0])
	}
	if _, err := h.run(h.dir, nil, "gomirror", "stop"); err != nil {
		t.Error(err)
	}
	h.checkLog(t)

	// The mirror hears what is not private, also what stands above a pattern: plain go
	// asks for it too, and any path may be a module but on GitHub.
	address, base := splitURL(h.startWithoutGit())
	k := knocker{address: address}
	defer k.close()
	for _, public := range []string{"acme.example/@v/list", "acme.example/a/@v/list", "corp.example/team/@v/list"} {
		if _, err := k.get(base + public); err != nil {
			t.Fatal(err)
		}
		if l.mirror.Count("/"+public) != 1 {
			t.Errorf("the mirror was not asked for %s, which no pattern covers", public)
		}
	}
	for _, owner := range []string{"github.com/gamma/@v/list", "github.com/@v/list"} {
		if code, err := k.get(base + owner); code != http.StatusNotFound || l.mirror.Count("/"+owner) != 0 {
			t.Errorf("%s: got %d, %v, want 404 without asking the mirror", owner, code, err)
		}
	}
}

// flood sends requests over a few connections at once, each of them as next makes it,
// and counts the answers. ok says what may be answered.
func flood(t *testing.T, url string, requests int, next func(randomRequests) string, ok func(code int, target string) bool) map[int]int {
	t.Helper()
	const conns = 4
	address, base := splitURL(url)
	var mu sync.Mutex
	codes := make(map[int]int)
	var group sync.WaitGroup
	for i := range conns {
		group.Go(func() {
			r := randomRequests{rand.New(rand.NewPCG(4, uint64(i)))}
			k := knocker{address: address}
			defer k.close()
			for range requests / conns {
				target := next(r)
				code, err := k.get(base + target)
				mu.Lock()
				codes[code]++
				mu.Unlock()
				if err != nil || !ok(code, target) {
					t.Errorf("GET %q: got %d, %v", target, code, err)
				}
			}
		})
	}
	group.Wait()
	return codes
}

// splitURL returns the host and port of a sidecar, and its path with the capability.
func splitURL(url string) (address, base string) {
	address, capability, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/t/")
	return address, "/t/" + capability + "/"
}

// startWithoutGit starts a sidecar for randomPatterns and returns its address.
func (h *leakHome) startWithoutGit() string {
	t := h.lab.t
	t.Helper()
	bin := filepath.Join(h.dir, "bin")
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	gomirror, err := exec.LookPath("gomirror")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"go": goTool, "gomirror": gomirror} {
		if err := os.Symlink(target, filepath.Join(bin, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
	var patterns []string
	for pattern := range randomPatterns {
		patterns = append(patterns, pattern)
	}
	h.start("PATH="+bin, "GOPRIVATE="+strings.Join(patterns, ","))
	return h.url()
}

// url returns the address of the sidecar, with its capability.
func (h *leakHome) url() string {
	h.lab.t.Helper()
	out, err := h.run(h.dir, nil, "gomirror", "status", "--json", "--show-url")
	if err != nil {
		h.lab.t.Fatal(err)
	}
	var doc statusDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		h.lab.t.Fatal(err)
	}
	return doc.URL
}

var capitals = regexp.MustCompile(`[A-Z]`)

// randomRequests makes paths below our address that name what is private.
type randomRequests struct{ *rand.Rand }

func (r randomRequests) of(list ...string) string { return list[r.IntN(len(list))] }

func (r randomRequests) next() string {
	var paths []string
	for _, pattern := range []string{"github.com/acme", "github.com/beta-*/Hush", "github.com/gamma/*", "*.corp.example/team", "acme.example/a/b", "gopkg.example/secret.v2"} {
		paths = append(paths, randomPatterns[pattern]...)
	}
	modPath := r.of(paths...)
	host, rest, _ := strings.Cut(modPath, "/")
	if r.IntN(3) == 0 {
		rest = r.mixCase(rest)
	}
	if r.IntN(8) == 0 {
		host = r.mixCase(host)
	}
	modPath = host + "/" + rest + r.of("", "", "", "/pkg", "/internal/x", "/v2", "/v3", "/v1", "/v0", "/V2", "/cmd/Tool", "/x.git", "/.hidden", "/a b", "/é")
	escaped, err := module.EscapePath(modPath)
	if err != nil && r.IntN(2) == 0 {
		escaped = capitals.ReplaceAllStringFunc(modPath, func(c string) string { return "!" + strings.ToLower(c) }) // also in the host, as go never does
	} else if err != nil || r.IntN(12) == 0 {
		escaped = modPath // as no go command asks
	}
	version := r.of("v1.0.0", "v1.9.9", "v2.0.0+incompatible", "v0.0.0-20240203040100-0123456789ab", "v3.1.4-rc.1", // canonical
		"v1", "v1.2", "latest", "master", "main", "feature/foo", "0123456789ab", "v1.0.0+meta", "v01.0.0", "-x", "..", "", "!v1", "HEAD^", "v1.0.0%00")
	if r.IntN(5) == 0 {
		return r.spell("sumdb/"+proxytest.DatabaseName+"/lookup/"+escaped+"@") + version + r.of("", "", "/go.mod")
	}
	return r.spell(escaped) + r.of("/@latest", "/@v/list", "/@v/"+version+r.of(".info", ".mod", ".zip", ".info", ".zip", ".ziphash", ""))
}

// mixCase changes the case of some letters.
func (r randomRequests) mixCase(text string) string {
	return strings.Map(func(c rune) rune {
		if r.IntN(3) == 0 {
			return []rune(strings.ToUpper(string(c)))[0]
		}
		return c
	}, text)
}

// spell writes a path in one of the ways that mean the same to somebody.
func (r randomRequests) spell(path string) string {
	switch r.IntN(16) {
	case 0:
		return strings.ReplaceAll(path, "/", "//")
	case 1:
		return strings.ReplaceAll(path, "/", "%2f")
	case 2:
		return "x/../" + path
	case 3:
		return "./" + path
	case 4:
		return path + "/"
	case 5:
		return strings.ReplaceAll(path, ".", "%2E")
	case 6:
		return strings.ReplaceAll(path, "!", "%2521")
	case 7, 8, 9: // each byte by its number, as go itself writes !
		var b bytes.Buffer
		for i := range len(path) {
			if path[i] != '/' && path[i] != '.' && r.IntN(4) == 0 {
				fmt.Fprintf(&b, "%%%02X", path[i])
			} else {
				b.WriteByte(path[i])
			}
		}
		return b.String()
	}
	return (&url.URL{Path: path}).EscapedPath()
}

// knocker sends requests byte for byte: an http.Client would clean the path.
type knocker struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

func (k *knocker) close() {
	if k.conn != nil {
		k.conn.Close()
		k.conn = nil
	}
}

func (k *knocker) get(target string) (int, error) {
	if k.conn == nil {
		conn, err := net.Dial("tcp", k.address)
		if err != nil {
			return 0, err
		}
		k.conn, k.reader = conn, bufio.NewReader(conn)
	}
	target = strings.NewReplacer(" ", "%20", "é", "%C3%A9", "^", "%5E").Replace(target)
	if _, err := fmt.Fprintf(k.conn, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Go-http-client/1.1\r\n\r\n", target, k.address); err != nil {
		return 0, err
	}
	response, err := http.ReadResponse(k.reader, nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return 0, err
	}
	if response.Close {
		k.close()
	}
	return response.StatusCode, nil
}
