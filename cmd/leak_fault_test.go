package cmd

import (
	"encoding/json"
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
	const requests, conns = 160, 4
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
	out, err := h.run(h.dir, nil, "gomirror", "status", "--json", "--show-url")
	if err != nil {
		t.Fatal(err)
	}
	var doc statusDoc
	if err := json.Unmarshal([]byte(out), &doc); err != nil {
		t.Fatal(err)
	}
	address, capability, _ := strings.Cut(strings.TrimPrefix(doc.URL, "http://"), "/t/")
	codes := make(map[int]int)
	var group sync.WaitGroup
	for i := range conns {
		group.Go(func() {
			r := randomRequests{rand.New(rand.NewPCG(5, uint64(i)))}
			k := knocker{address: address}
			defer k.close()
			for range requests / conns {
				// Spelled as go asks: what isn't is refused before any git, and tried elsewhere.
				target := r.of("github.com/acme/", "github.com/!acme/", "github.com/!a!c!m!e/") + r.of("secret", "secret", "!secret", "other", "secret/pkg", "secret/v2", "secret.git") +
					r.of("/@latest", "/@v/list", "/@v/main.info", "/@v/v1.0.0.info", "/@v/v1.0.0.mod", "/@v/v1.0.0.zip", "/@v/v1.9.9.zip")
				code, err := k.get("/t/" + capability + "/" + target)
				mu.Lock()
				codes[code]++
				mu.Unlock()
				if err != nil || code == http.StatusOK && strings.Contains(target, "v1.9.9") {
					t.Errorf("GET %q: got %d, %v, which is the mirror's", target, code, err)
				}
			}
		})
	}
	group.Wait()
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
