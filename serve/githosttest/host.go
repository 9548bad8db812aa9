// Package githosttest stands in for git hosts on https, such as github.com or a
// company's vanity import host, in tests that run the real go and git commands.
//
// A [Host] is one TLS server on loopback that answers for any number of host names
// with certificates of its own authority. Repositories are real bare ones, served
// by git's own http-backend, so that what go sees is what it sees in the wild.
// [Host.Dial] and [Host.Lookup] put the server behind the names, and refuse every
// other: a test that uses them never leaves the machine.
//
// A host is public until [Host.Private] says otherwise. From then on it answers as
// github.com does to strangers, to wrong tokens and to accounts without access, and
// has the few REST calls that gomirror makes; see [Account].
package githosttest

import (
	"context"
	"crypto/tls"
	"fmt"
	"html"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Host serves repositories and import pages for all its names.
type Host struct {
	CAFile string // PEM of the authority that signs for every name

	dir     string // bare repositories, <dir>/<host>/<path>.git
	home    string // HOME of our own git commands
	server  *httptest.Server
	backend string // absolute path of git-http-backend

	mu        sync.Mutex
	names     []string                // known host names; the index makes the fake address
	sites     map[string]http.Handler // by host name
	imports   map[string]string       // host/path -> go-import content
	redirects map[string]string       // host/path -> host/path
	repos     map[string]string       // lower-case host/path -> host/path as made
	private   []string                // lower-case prefixes of paths that strangers don't see
	accounts  map[string]Account
	hubs      map[string]string // names that answer as GitHub does -> base URL of their REST API
	device    device
	requests  []Request
	hook      func(http.ResponseWriter, *http.Request) bool
}

// Request is one request as the host saw it.
type Request struct {
	Method, Host, Path, Query string
	Header                    http.Header
}

// New starts a host that ends with the test.
func New(t testing.TB) *Host {
	t.Helper()
	execPath, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("find git's exec path: %v", err)
	}
	h := &Host{
		dir:       t.TempDir(),
		home:      t.TempDir(),
		backend:   filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		sites:     make(map[string]http.Handler),
		imports:   make(map[string]string),
		redirects: make(map[string]string),
		repos:     make(map[string]string),
		accounts:  make(map[string]Account),
		hubs:      map[string]string{"github.com": "https://api.github.com"},
	}
	authority := newAuthority(t)
	h.CAFile = authority.write(t, t.TempDir())
	h.server = httptest.NewUnstartedServer(http.HandlerFunc(h.serveHTTP))
	h.server.TLS = &tls.Config{GetCertificate: authority.certificate}
	h.server.StartTLS()
	t.Cleanup(h.server.Close)
	return h
}

// Vanity makes the host of modPrefix answer ?go-get=1 below it with a go-import tag
// that names repoURL as its git repository.
func (h *Host) Vanity(modPrefix, repoURL string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.know(modPrefix)
	h.imports[modPrefix] = modPrefix + " git " + repoURL
}

// Site puts another server behind a name: a checksum database, say, that is asked
// at its own address.
func (h *Host) Site(name string, handler http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.know(name)
	h.sites[name] = handler
}

// Rename makes the host answer requests for the old repository, "github.com/a/old",
// with permanent redirects to the new one, as GitHub does.
func (h *Host) Rename(old, new string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.know(old)
	h.redirects[old] = new
}

// Intercept runs hook before each request is answered; hook reports whether it
// answered itself. nil takes it away.
func (h *Host) Intercept(hook func(http.ResponseWriter, *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hook = hook
}

// Requests returns what was asked so far and forgets it.
func (h *Host) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := h.requests
	h.requests = nil
	return seen
}

// know adds the host name of path. h.mu is held.
func (h *Host) know(path string) {
	name, _, _ := strings.Cut(path, "/")
	for _, known := range h.names {
		if known == name {
			return
		}
	}
	h.names = append(h.names, name)
}

// address is the public looking address of the i-th name, from the block that RFC
// 5737 keeps for documents.
func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{203, 0, 113, byte(i + 1)}) }

// Lookup resolves the known names to addresses that only [Host.Dial] can reach.
func (h *Host) Lookup(_ context.Context, host string) ([]netip.Addr, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, name := range h.names {
		if name == host {
			return []netip.Addr{address(i)}, nil
		}
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// Dial connects the known names, and the addresses of [Host.Lookup], on port 443 to
// the host, and refuses all else.
func (h *Host) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	known := false
	h.mu.Lock()
	for i, name := range h.names {
		known = known || name == host || address(i).String() == host
	}
	h.mu.Unlock()
	if !known || port != "443" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("%s is no host of this test", addr)}
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", h.server.Listener.Addr().String())
}

func (h *Host) serveHTTP(w http.ResponseWriter, r *http.Request) {
	path := r.Host + r.URL.Path
	h.mu.Lock()
	h.requests = append(h.requests, Request{r.Method, r.Host, r.URL.Path, r.URL.RawQuery, r.Header.Clone()})
	hook, site := h.hook, h.sites[r.Host]
	imported, isImport := "", false
	for prefix, content := range h.imports {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			imported, isImport = content, r.URL.Query().Get("go-get") == "1"
		}
	}
	if parts := strings.Split(path, "/"); h.hubs[r.Host] != "" && len(parts) > 2 && r.URL.Query().Get("go-get") == "1" {
		repo := strings.TrimSuffix(strings.Join(parts[:3], "/"), ".git")
		imported, isImport = repo+" git https://"+repo+".git", true // also of what is private, or is not there
	}
	h.mu.Unlock()

	switch {
	case hook != nil && hook(w, r):
	case site != nil:
		site.ServeHTTP(w, r)
	case h.serveAPI(w, r), h.serveDevice(w, r):
	case isImport:
		fmt.Fprintf(w, "<html><head><meta name=\"go-import\" content=\"%s\"></head></html>\n", html.EscapeString(imported))
	default:
		h.serveGit(w, r)
	}
}
