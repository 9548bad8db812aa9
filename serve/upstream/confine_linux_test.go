package upstream

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
	"golang.org/x/sys/unix"
)

// TestDirectLoopback has import pages of strangers that lead to this machine, to which
// the go command takes no proxy: nothing here may hear a connection.
func TestDirectLoopback(t *testing.T) {
	t.Parallel()
	if version, _, _ := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION); int(version) < landlockNet {
		t.Skip("this kernel confines no connections")
	}
	var heard atomic.Int64
	port := 0
	for _, addr := range []string{"127.0.0.1:0", "[::1]:%d"} {
		if port > 0 {
			addr = fmt.Sprintf(addr, port)
		}
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Skip(err) // no IPv6
		}
		port = listener.Addr().(*net.TCPAddr).Port
		t.Cleanup(func() { listener.Close() })
		go func() { // ends with the listener
			for {
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				heard.Add(1)
				conn.Close()
			}
		}()
	}
	host := githosttest.New(t)
	modules(t, host)
	here := func(scheme, name string) string { return fmt.Sprintf("%s://%s:%d/mod", scheme, name, port) }
	pages := map[string]string{ // path to the address that its page redirects to, or names
		"/redirect/ip": here("https", "127.0.0.1"), "/redirect/name": here("https", "localhost"), "/redirect/six": here("https", "[::1]"),
		"/mod/plain": here("http", "127.0.0.1"), "/mod/name": here("http", "localhost"), "/mod/six": here("http", "[::1]"), "/mod/tls": here("https", "127.0.0.1"),
		"/git/ip": here("https", "127.0.0.1"), "/git/name": here("https", "localhost"),
		"/mod/elsewhere": "http://mirror.example.net/mod", // on http, which takes another variable
	}
	host.Vanity("loop.example.org/x", "")
	host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		target, ok := pages[r.URL.Path]
		if !ok {
			return false
		}
		kind := strings.Split(r.URL.Path, "/")[1]
		if kind == "redirect" {
			http.Redirect(w, r, target, http.StatusFound)
			return true
		}
		fmt.Fprintf(w, `<meta name="go-import" content="%s%s %s %s">`, r.Host, r.URL.Path, kind, target)
		return true
	})
	d := newTestDirect(t, host, nil)
	for path := range pages {
		for _, end := range []string{"/@latest", "/@v/list", "/@v/v1.0.0.zip"} {
			err := d.Fetch(t.Context(), Request{Key: directKey(t, "loop.example.org"+path+end)}, new(basket).sink)
			if err == nil {
				t.Errorf("%s%s: got an answer", path, end)
			}
			if path == "/mod/elsewhere" && !strings.Contains(err.Error(), "the tunnel takes https only") {
				t.Errorf("%s: got %v, want the tunnel's refusal", path, err)
			}
		}
	}
	if n := heard.Load(); n > 0 {
		t.Errorf("%d connections came to this machine, want none", n)
	}
	if err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/mod/@v/v1.0.0.zip")}, new(basket).sink); err != nil {
		t.Errorf("what is elsewhere: %v", err)
	}
}
