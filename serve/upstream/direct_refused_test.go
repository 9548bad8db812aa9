package upstream

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"strings"
	"testing"
)

// TestDirectStrangersPage has an import page that names another host's repository: the
// token that reads it is shown only where a pattern or setting spells out the page's host.
func TestDirectStrangersPage(t *testing.T) {
	t.Parallel()
	host := privateHost(t, plainToken)
	for _, name := range []string{"stranger.example/q", "go.corp.example/q"} {
		host.Vanity(name, "https://github.com/acme/mod")
	}
	d := newTestDirect(t, host, func(o *DirectOptions) {
		withToken(plainToken)(o)
		o.Vouched = func(host string) bool { return host == "go.corp.example" }
	})
	for path, want := range map[string]int{"stranger.example/q": 0, "go.corp.example/q": 1, "github.com/acme/mod": 1} {
		host.Requests()
		err := d.Fetch(t.Context(), Request{Key: directKey(t, path+"/@latest")}, new(basket).sink)
		if got := min(shown(host)["github.com"], 1); got != want {
			t.Errorf("%s: the token was shown %d times (%v), want %d", path, got, err, want)
		}
		var origin *OriginError
		if path == "stranger.example/q" && (!errors.As(err, &origin) || !origin.NeedsAuth() ||
			!strings.Contains(err.Error(), "names github.com/acme/mod: no pattern spells out stranger.example") ||
			!strings.Contains(origin.Hint(), "config set private PATTERNS,stranger.example")) {
			t.Errorf("%s: got %v, want the reason and the way out", path, err)
		}
	}
}

// overLimit is GitHub's account of too many requests.
type overLimit struct{ hinted }

func (*overLimit) Limited() bool { return true }
func (*overLimit) Refused() bool { return false }

// TestDirectRateLimit has a host that answers what is over its limit as it answers who
// may not read: only the first is a fault that passes, for which lists are served stale.
func TestDirectRateLimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		code int
		why  error
		auth bool
	}{
		{"primary limit", 403, &overLimit{}, false},
		{"secondary limit", 429, &overLimit{}, false},
		{"no access", 403, &hinted{}, true},
		{"revoked, and the API is over its limit", 401, &overLimit{}, true},
		{"gone, and the API is over its limit", 404, &overLimit{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := privateHost(t, plainToken)
			host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if tt.code == 401 {
					w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
				}
				http.Error(w, "no", tt.code)
				return true
			})
			d := newTestDirect(t, host, func(o *DirectOptions) {
				withToken(plainToken)(o)
				o.Why = func(context.Context, string, error) error { return tt.why }
			})
			for _, end := range []string{"/@v/list", "/@latest"} {
				err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/mod"+end)}, new(basket).sink)
				var origin *OriginError
				if !errors.As(err, &origin) || origin.NeedsAuth() != tt.auth || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%s: got %v, want it to be about access: %v", end, err, tt.auth)
				}
			}
		})
	}
}
