package upstream

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// blame is a host's account that says whether it is about one repository.
type blame struct{ one bool }

func (blame) Error() string         { return "the host's own words" }
func (b blame) OneRepository() bool { return b.one }

// TestDirectRefusedElsewhere has a repository whose host leads git to another one,
// which refuses everybody. The token is good as before for the host's other modules.
func TestDirectRefusedElsewhere(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		why  error
		good bool
	}{
		{"about the repository", blame{one: true}, true},
		{"about the token", blame{one: false}, false},
		{"nothing said", nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			host := privateHost(t, plainToken)
			host.Vanity("evil.example.org/none", "https://evil.example.org/none")
			host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				shown := githosttest.Request{Header: r.Header}.Token() != ""
				switch {
				case r.Host == "evil.example.org", r.Host == "github.com" && strings.HasPrefix(r.URL.Path, "/acme/astray") && !shown:
					w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
					http.Error(w, "who are you?", http.StatusUnauthorized)
				case r.Host == "github.com" && strings.HasPrefix(r.URL.Path, "/acme/astray"):
					http.Redirect(w, r, "https://evil.example.org"+r.URL.RequestURI(), http.StatusFound)
				default:
					return false
				}
				return true
			})
			d := newTestDirect(t, host, func(o *DirectOptions) {
				withToken(plainToken)(o)
				o.Why = func(context.Context, string, error) error { return tt.why }
			})
			fetch := func(key string) error {
				return d.Fetch(t.Context(), Request{Key: directKey(t, key)}, new(basket).sink)
			}
			err := fetch("github.com/acme/astray/@v/list")
			if origin := new(OriginError); !errors.As(err, &origin) || !origin.NeedsAuth() {
				t.Errorf("astray: got %v, want it refused", err)
			}
			if err := fetch("github.com/acme/mod/@v/list"); (err == nil) != tt.good {
				t.Errorf("another module: got %v, want an error %v", err, !tt.good)
			}
			if got := shown(host); got["evil.example.org"] != 0 || got["github.com"] == 0 {
				t.Errorf("the token was shown to %v", got)
			}
		})
	}
}
