package upstream

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
)

const plainToken = "ghp_CANARYCANARYCANARYCANARYCANARYCANARY"

// privateHost has two private owners and a token that sees one of them.
func privateHost(t testing.TB, token string) *githosttest.Host {
	t.Helper()
	host := githosttest.New(t)
	host.Repo(t, "github.com/acme/mod", map[string]string{
		"go.mod": "module github.com/acme/mod\n", "a.go": "package mod\n", "sub/go.mod": "module github.com/acme/mod/sub\n", "sub/s.go": "package sub\n",
	}, "v1.0.0", "v1.1.0", "sub/v0.1.0")
	host.Repo(t, "github.com/other/mod", map[string]string{"go.mod": "module github.com/other/mod\n"}, "v1.0.0")
	host.Private("github.com/acme")
	host.Private("github.com/other")
	host.Account(token, githosttest.Account{Login: "octo", Scopes: []string{"repo"}, Sees: []string{"github.com/acme"}})
	return host
}

// shown counts the requests that carried a credential, by host. A user name alone is
// none: an import page may put one into its own URL.
func shown(host *githosttest.Host) map[string]int {
	seen := make(map[string]int)
	for _, r := range host.Requests() {
		header := r.Header.Get("Authorization")
		plain, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(header, "Basic "))
		if header != "" && (err != nil || !strings.HasSuffix(string(plain), ":")) {
			seen[r.Host]++
		}
	}
	return seen
}

// TestDirectPrivate pulls with a token, and looks for it in all that stays behind.
func TestDirectPrivate(t *testing.T) {
	t.Parallel()
	for _, token := range []string{plainToken, oddToken} {
		t.Run(token[:10], func(t *testing.T) {
			host := privateHost(t, token)
			var log bytes.Buffer
			d := newTestDirect(t, host, func(o *DirectOptions) {
				withToken(token)(o)
				o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
			})
			var b basket
			for _, key := range []string{
				"github.com/acme/mod/@v/list", "github.com/acme/mod/@v/v1.0.0.info", "github.com/acme/mod/@v/v1.0.0.zip",
				"github.com/acme/mod/@latest", "github.com/acme/mod/@v/main.info", "github.com/acme/mod/sub/@v/v0.1.0.zip",
			} {
				if err := d.Fetch(t.Context(), Request{Key: directKey(t, key)}, b.sink); err != nil {
					t.Fatalf("fetch %s: %v", key, err)
				}
			}
			if got := shown(host); len(got) != 1 || got["github.com"] == 0 {
				t.Errorf("the token was shown to %v, want github.com alone", got)
			}
			if got := b.bodies["github.com/acme/mod/@v/list"]; got != "v1.0.0\nv1.1.0\n" {
				t.Errorf("list is %q", got)
			}
			canaries := []string{token, base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token)), url.QueryEscape(token)}
			found := func(where, text string) {
				for _, canary := range canaries {
					if strings.Contains(text, canary) {
						t.Errorf("the token is in %s", where)
					}
				}
			}
			found("the log", log.String())
			for _, dir := range []string{d.opts.VCSDir, d.opts.TempDir} {
				_ = filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
					if err == nil && entry.Type().IsRegular() {
						text, _ := os.ReadFile(name)
						found(name, name+string(text))
					}
					return nil
				})
			}
		})
	}
}

// TestDirectTokenStaysHome has hosts that ask for, or lead to, what is not theirs.
func TestDirectTokenStaysHome(t *testing.T) {
	t.Parallel()
	host := privateHost(t, plainToken)
	host.Vanity("evil.example.org/mod", "https://evil.example.org/mod")
	host.Vanity("port.example.org/mod", "https://github.com:443/acme/mod")
	host.Vanity("user.example.org/mod", "https://x-access-token@evil.example.org/mod")
	host.Rename("github.com/acme/moved", "evil.example.org/mod")
	host.Rename("github.com/acme/lower", "api.github.com/mod")
	host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Host != "evil.example.org" && r.Host != "api.github.com" || r.URL.Query().Has("go-get") {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
		http.Error(w, "who are you?", http.StatusUnauthorized)
		return true
	})
	d := newTestDirect(t, host, withToken(plainToken))
	for _, path := range []string{
		"evil.example.org/mod", "user.example.org/mod", "port.example.org/mod", "github.com/acme/moved", "github.com/acme/lower",
	} {
		for _, end := range []string{"/@v/list", "/@v/v1.0.0.zip", "/@latest"} {
			_ = d.Fetch(t.Context(), Request{Key: directKey(t, path+end)}, new(basket).sink)
		}
	}
	for name, n := range shown(host) {
		if name != "github.com" {
			t.Errorf("%s was shown a credential %d times, want never", name, n)
		}
	}
	bare := newTestDirect(t, host, nil)
	_ = bare.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/mod/@v/list")}, new(basket).sink)
	if seen := shown(host); len(seen) != 0 {
		t.Errorf("a Direct without a credential showed one to %v", seen)
	}
}

// hinted is a host's account of a refusal, as the github package has it.
type hinted struct{ text, hint string }

func (h *hinted) Error() string { return h.text }
func (h *hinted) Hint() string  { return h.hint }

func TestDirectWhy(t *testing.T) {
	t.Parallel()
	host := privateHost(t, plainToken)
	host.Account("sso", githosttest.Account{Login: "octo", Sees: []string{"github.com/acme"}, SSO: map[string]string{"acme": "https://github.com/orgs/acme/sso?x=1"}})
	host.Account("limited", githosttest.Account{Login: "octo", Sees: []string{"github.com/acme"}, RateReset: time.Now().Add(time.Hour)})
	const missing, auth, fault = "missing", "auth", "fault"
	tests := []struct{ name, token, key, kind string }{
		{"no token", "", "github.com/acme/mod/@v/v1.0.0.info", auth},
		{"no token, list", "", "github.com/acme/mod/@v/list", auth},
		{"wrong token", "ghp_wrong", "github.com/acme/mod/@v/v1.0.0.zip", auth},
		{"no access", plainToken, "github.com/other/mod/@v/v1.0.0.info", auth},
		{"no such repository", plainToken, "github.com/acme/nope/@v/list", auth},
		{"SSO", "sso", "github.com/acme/mod/@v/v1.0.0.info", auth},
		{"rate limit", "limited", "github.com/acme/mod/@v/list", ""},
		{"no such version", plainToken, "github.com/acme/mod/@v/v9.9.9.info", missing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want := &hinted{"why of " + tt.name, "gomirror auth login"}
			var asked atomic.Int64
			d := newTestDirect(t, host, func(o *DirectOptions) {
				o.Credential = func(context.Context, *url.URL) (string, string, bool) {
					return "x-access-token", tt.token, tt.token != ""
				}
				o.Why = func(_ context.Context, repo string, err error) error {
					if wantRepo := strings.Join(strings.SplitN(tt.key, "/", 4)[:3], "/"); repo != wantRepo || err == nil {
						t.Errorf("asked why %s (%v), want %s", repo, err, wantRepo)
					}
					asked.Add(1)
					return want
				}
			})
			err := d.Fetch(t.Context(), Request{Key: directKey(t, tt.key)}, new(basket).sink)
			var origin *OriginError
			if !errors.As(err, &origin) {
				t.Fatalf("got %v, want an OriginError", err)
			}
			if tt.kind == missing {
				if asked.Load() != 0 || !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("got %v and %d questions, want not found and none", err, asked.Load())
				}
				return
			}
			if !errors.Is(err, want) || !strings.HasSuffix(err.Error(), ": "+want.text) || origin.Hint() != want.hint {
				t.Errorf("got %q and try %q, want %q and %q", err, origin.Hint(), want.text, want.hint)
			}
			if tt.kind == auth && !origin.NeedsAuth() || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%v is not about access", err)
			}
			_ = d.Fetch(t.Context(), Request{Key: directKey(t, tt.key)}, new(basket).sink)
			if got := asked.Load(); got != 1 {
				t.Errorf("asked why %d times within 5 s, want once", got)
			}
		})
	}
}

// TestDirectRefusedToken has a token that the host refuses: it is not shown again, for
// no module of that host, until another one is at hand or the time is over.
func TestDirectRefusedToken(t *testing.T) {
	t.Parallel()
	host := privateHost(t, plainToken)
	token := "ghp_wrong"
	now := time.Now()
	d := newTestDirect(t, host, func(o *DirectOptions) {
		o.Now = func() time.Time { return now }
		o.Credential = func(context.Context, *url.URL) (string, string, bool) { return "x-access-token", token, true }
	})
	fetch := func(key string) error {
		return d.Fetch(t.Context(), Request{Key: directKey(t, key)}, new(basket).sink)
	}
	first := fetch("github.com/acme/mod/@v/list")
	if got := shown(host)["github.com"]; got != 1 {
		t.Errorf("a wrong token was shown %d times, want once", got)
	}
	for _, key := range []string{"github.com/acme/mod/@v/list", "github.com/acme/mod/@v/v1.0.0.zip", "github.com/other/mod/@latest"} {
		err := fetch(key)
		var origin *OriginError
		if !errors.As(err, &origin) || !origin.NeedsAuth() || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: got %v, want what the host said before, %v", key, err, first)
		}
	}
	if got := shown(host)["github.com"]; got != 0 {
		t.Errorf("the wrong token was shown %d times more, want 0", got)
	}
	now = now.Add(refusedFor + time.Second)
	_ = fetch("github.com/acme/mod/@v/list")
	if got := shown(host)["github.com"]; got != 1 {
		t.Errorf("after %v it was shown %d times, want once", refusedFor, got)
	}
	token = plainToken
	if err := fetch("github.com/acme/mod/@v/list"); err != nil {
		t.Errorf("with another token: %v", err)
	}
}
