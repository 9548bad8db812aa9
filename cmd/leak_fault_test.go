package cmd

import (
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/gomirror/gomirror/serve/proxytest"
)

// TestNoLeakRandomOrigin is TestNoLeakRandom with a real git, and an origin that
// fails each of its requests in another way, or answers. They are few: git is slow.
func TestNoLeakRandomOrigin(t *testing.T) {
	t.Parallel()
	const requests = 160
	l := newLeakWorld(t)
	l.mirror.Fault("/", proxytest.Fault{Kind: proxytest.Body, Arg: "v1.0.0\n"})
	l.host.Private(leakPattern)
	l.host.Account(leakToken, githosttest.Account{Login: "ann", Sees: []string{leakPattern}})
	l.secret(leakSecret)
	faults := []http.HandlerFunc{hangUp(0)}
	for _, code := range []int{403, 404, 410, 429, 500, 503, 401} { // after the last the token is not shown for a while
		faults = append(faults, func(w http.ResponseWriter, _ *http.Request) {
			if code == http.StatusUnauthorized {
				w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
			}
			http.Error(w, http.StatusText(code), code)
		})
	}
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(4, 4))
	failed, asked := 0, 0
	l.host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		var fault http.HandlerFunc
		if asked++; random.IntN(10) < 3 {
			fault = faults[random.IntN(len(faults)-min(1, max(0, 2*requests-asked)))]
			failed++
		}
		mu.Unlock()
		if fault != nil {
			fault(w, r)
		}
		return fault != nil
	})
	h := l.newHome(false)
	h.environ = append(h.environ, "GOMIRROR_GITHUB_TOKEN="+leakToken, h.configure(leakPattern))
	h.start()
	// Spelled as go asks: what isn't is refused before any git, and tried elsewhere.
	next := func(r randomRequests) string {
		return r.of("github.com/acme/", "github.com/!acme/", "github.com/!a!c!m!e/") + r.of("secret", "secret", "!secret", "other", "secret/pkg", "secret/v2", "secret.git") +
			r.of("/@latest", "/@v/list", "/@v/main.info", "/@v/v1.0.0.info", "/@v/v1.0.0.mod", "/@v/v1.0.0.zip", "/@v/v1.9.9.zip")
	}
	ofTheMirror := func(code int, target string) bool { return code == http.StatusOK && strings.Contains(target, "v1.9.9") }
	codes := flood(t, h.url(), requests, next, func(code int, target string) bool { return !ofTheMirror(code, target) })
	t.Logf("answers by status: %v; the origin failed %d requests", codes, failed)
	if failed < requests/4 || codes[http.StatusOK] == 0 || len(codes) < 3 {
		t.Errorf("got %v with %d faults: that proves little", codes, failed)
	}
	if names := l.heard(); len(names) > 0 {
		t.Errorf("%d heard, the first: %q", len(names), names[0])
	}
	if _, err := h.run(h.dir, nil, "gomirror", "stop"); err != nil {
		t.Error(err)
	}
	h.checkLog(t)
}
