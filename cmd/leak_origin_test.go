package cmd

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// TestNoLeakOrigin is the other half of "whatever fails": the sidecar is well and the
// origin is not. The mirror has each module, and must hear of none; the go command
// must fail rather than take the mirror's.
func TestNoLeakOrigin(t *testing.T) {
	t.Parallel()
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { http.Error(w, http.StatusText(code), code) }
	}
	tests := []struct {
		name   string
		origin http.HandlerFunc // nil means well
		a      githosttest.Account
		built  bool
	}{
		{name: "well", a: githosttest.Account{Sees: []string{leakPattern}}, built: true},
		{name: "revoked", a: githosttest.Account{Sees: []string{leakPattern}, Bad: true}},
		{name: "expired", a: githosttest.Account{Sees: []string{leakPattern}, Expires: time.Now().Add(-time.Hour)}},
		{name: "noaccess"},
		{name: "sso", a: githosttest.Account{Sees: []string{leakPattern}, SSO: map[string]string{"acme": "https://github.com/orgs/acme/sso"}}},
		{name: "limited", a: githosttest.Account{Sees: []string{leakPattern}, RateReset: time.Now().Add(time.Hour)}},
		{name: "nocontents", a: githosttest.Account{Sees: []string{leakPattern}, NoContents: true}},
		{name: "e403", origin: status(403)},
		{name: "e404", origin: status(404)},
		{name: "e410", origin: status(410)},
		{name: "e500", origin: status(500)},
		{name: "e503", origin: status(503)},
		{name: "page", origin: func(w http.ResponseWriter, _ *http.Request) {
			w.Write([]byte("<html>\n<body>Please log in</body>\n</html>\n"))
		}},
		{name: "elsewhere", origin: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example.com/", http.StatusFound)
		}},
		{name: "reset", origin: hangUp(0)},
		{name: "stalled", origin: hangUp(time.Second)}, // for the 90 s that gomirror waits
	}
	l := newLeakLab(t, false)
	h := l.newHome(false)
	h.environ = append(h.environ, "GOMIRROR_GITHUB_TOKEN="+leakToken, h.configure(leakPattern))
	h.start()
	shell := h.setUp(t, nil, false)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			modPath := "github.com/acme/secret-" + tt.name
			l.t = t
			l.secret(modPath)
			tt.a.Login = "ann"
			l.host.Account(leakToken, tt.a)
			l.host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				asked := tt.origin != nil && strings.Contains(r.URL.Path, "/acme/secret-")
				if asked {
					tt.origin(w, r)
				}
				return asked
			})
			defer l.host.Intercept(nil)
			l.heard()
			for _, argv := range [][]string{
				{"go", "build", "./..."},
				{"go", "list", "-m", "-versions", modPath},
				{"go", "mod", "download", modPath + "@v1.9.9"},
			} {
				out, err := h.run(l.project(t, false, modPath+"/pkg"), append(shell, l.gopath(t)), argv...)
				// Nobody but the mirror has the later version.
				if want := tt.built && argv[2] != "download"; (err == nil) != want {
					t.Errorf("%s ends in %v, want success %v", strings.Join(argv, " "), err, want)
				}
				if strings.Contains(out, "v1.9.9") && err == nil {
					t.Errorf("%s prints %q, which is the mirror's", strings.Join(argv, " "), out)
				}
			}
			if names := l.heard(); len(names) > 0 {
				t.Errorf("heard where no name may be:\n%s", strings.Join(names, "\n"))
			}
		})
	}
	if _, err := h.run(h.dir, nil, "gomirror", "stop"); err != nil {
		t.Error(err)
	}
	h.checkLog(t)
}

// hangUp ends a connection without an answer, after a while.
func hangUp(after time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(after):
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			tcp.SetLinger(0) // RST
		}
		conn.Close()
	}
}
