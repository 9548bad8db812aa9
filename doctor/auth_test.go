package doctor_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/gomirror/gomirror/doctor"
	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/githosttest"
	"github.com/gomirror/gomirror/serve/upstream"
)

// canary is a token that must not turn up anywhere.
const canary = "ghp_CANARYqwxzkvCANARYqwxzkvCANARYqwxzkvXY"

const other = "ghp_othertokenothertokenothertoken1"

// ann is a user with a keychain, a GitHub and no machine.
type ann struct {
	t    *testing.T
	hub  *githosttest.Host
	vars map[string]string
	o    doctor.Options
	own  doctor.GoEnv

	mu    sync.Mutex
	items map[string]string // guarded by mu
	fault error             // of the keychain; guarded by mu
	dial  error             // of the network
}

// newAnn has acme's repositories, a token that sees them stored, and acme private.
func newAnn(t *testing.T) *ann {
	t.Helper()
	a := &ann{t: t, hub: githosttest.New(t), vars: map[string]string{}, items: map[string]string{}}
	a.hub.Repo(t, "github.com/acme/x", map[string]string{"go.mod": "module github.com/acme/x\n"}, "v1.0.0")
	a.hub.Private("github.com/acme")
	a.hub.Account(canary, githosttest.Account{Login: "ann", Scopes: []string{"repo"}, Sees: []string{"github.com/acme"}})
	client, err := upstream.NewClient(upstream.ClientOptions{
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if a.dial != nil {
				return nil, a.dial
			}
			return a.hub.Dial(ctx, network, addr)
		},
		CAFile: a.hub.CAFile, Trusted: func(string) bool { return true }, Lookup: a.hub.Lookup,
	})
	if err != nil {
		t.Fatal(err)
	}
	keychain := credential.Keychain{
		Get: func(_, account string) (string, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.fault != nil {
				return "", a.fault
			}
			if item, ok := a.items[account]; ok {
				return item, nil
			}
			return "", keyring.ErrNotFound
		},
		Set: func(_, account, secret string) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.items[account] = secret
			return nil
		},
		Delete: func(_, account string) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.items, account)
			return nil
		},
	}
	a.o = doctor.Options{
		StateDir: t.TempDir(), GOOS: "linux", Now: time.Now, Keychain: keychain, GitHub: github.New(github.Options{HTTP: client}),
		Getenv:  func(name string) string { return a.vars[name] },
		Private: []string{"github.com/acme"},
		Go:      func() doctor.Go { return doctor.Go{Own: a.own} },
		Daemon:  func() doctor.Daemon { return doctor.Daemon{} },
	}
	a.store("", canary)
	return a
}

// store stores a token as a login does.
func (a *ann) store(owner, token string) {
	a.t.Helper()
	store := credential.New(credential.Options{StateDir: a.o.StateDir, Keychain: a.o.Keychain})
	if err := store.Put(a.t.Context(), credential.Place{Host: "github.com", Owner: owner}, "ann", credential.NewSecret(token), false); err != nil {
		a.t.Fatal(err)
	}
}

// forget takes all tokens away.
func (a *ann) forget() {
	a.t.Helper()
	if err := os.Remove(a.o.StateDir + "/credentials.json"); err != nil {
		a.t.Fatal(err)
	}
}

// diagnose wants the named checks of tokens to end as named, "A02 fail TEXT -> FIX", and
// no other to complain.
func (a *ann) diagnose(want ...string) {
	a.t.Helper()
	var checks []doctor.Check
	for _, c := range doctor.Checks(a.o) {
		if c.Section == "auth" {
			checks = append(checks, c)
		}
	}
	wanted := map[string]string{}
	for _, w := range want {
		wanted[w[:3]] = w[4:]
	}
	start := time.Now()
	for _, r := range doctor.Run(a.t.Context(), checks, func(doctor.Result) {}) {
		said := fmt.Sprintf("%+v", r.Findings)
		if strings.Contains(said, "CANARY") {
			a.t.Errorf("%s tells the token: %s", r.ID, said)
		}
		w, named := wanted[r.ID]
		if !named {
			if r.Worst() == doctor.Fail || r.Worst() == doctor.Warn {
				a.t.Errorf("%s: got %s", r.ID, said)
			}
			continue
		}
		status, rest, _ := strings.Cut(w, " ")
		text, fix, _ := strings.Cut(rest, " -> ")
		ok := false
		for _, f := range r.Findings {
			ok = ok || f.Status == doctor.Status(status) && strings.Contains(f.Text, text) && strings.Contains(f.Fix, fix)
			if (f.Fix == "") != (f.Status == doctor.OK || f.Status == doctor.Skipped) {
				a.t.Errorf("%s: a fault without a fix, or the other way round: %+v", r.ID, f)
			}
		}
		if !ok || r.Worst() != doctor.Status(status) {
			a.t.Errorf("%s: got %s, want %s", r.ID, said, w)
		}
	}
	if took := time.Since(start); took > 6*time.Second {
		a.t.Errorf("the checks took %v", took)
	}
}

// runCheck runs one check of a machine that exists only in o.
func runCheck(t *testing.T, o doctor.Options, id string) []doctor.Finding {
	t.Helper()
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	for _, c := range doctor.Checks(o) {
		if c.ID == id {
			return c.Run(t.Context())
		}
	}
	t.Fatalf("there is no check %s", id)
	return nil
}

// TestTokens makes each fault of a token, and mends it.
func TestTokens(t *testing.T) {
	soon, reset := time.Now().Add(3*24*time.Hour), time.Now().Add(30*time.Minute)
	sees := []string{"github.com/acme"}
	tests := []struct {
		name  string
		fault func(a *ann)
		want  []string
		mend  func(a *ann) // nil: the account is as it was
	}{
		{"all is well", func(a *ann) {}, []string{"A01 ok", "A02 ok knows the token of github.com as ann", "A03 ok", "A04 ok", "A05 ok"}, nil},
		{"revoked", func(a *ann) { a.hub.Account(canary, githosttest.Account{Login: "ann", Bad: true}) },
			[]string{"A02 fail does not accept the token -> gomirror auth login", "A03 skipped", "A04 skipped"}, nil},
		{"expired", func(a *ann) {
			a.hub.Account(canary, githosttest.Account{Login: "ann", Scopes: []string{"repo"}, Expires: time.Now().Add(-time.Hour)})
		}, []string{"A02 fail does not accept the token -> gomirror auth login"}, nil},
		{"over the limit", func(a *ann) {
			a.hub.Account(canary, githosttest.Account{Login: "ann", Scopes: []string{"repo"}, RateReset: reset})
		}, []string{"A02 warn answers no more requests until -> wait until " + reset.Local().Format("15:04")}, nil},
		{"no scope", func(a *ann) { a.hub.Account(canary, githosttest.Account{Login: "ann", Scopes: []string{"gist"}}) },
			[]string{"A03 fail lacks the scope repo -> settings/tokens/new?scopes=repo", "A04 skipped"}, nil},
		{"ends soon", func(a *ann) {
			a.hub.Account(canary, githosttest.Account{Login: "ann", Scopes: []string{"repo"}, Sees: sees, Expires: soon})
		}, []string{"A03 warn expires on " + soon.Local().Format(time.DateOnly) + " -> gomirror auth login"}, nil},
		{"single sign-on", func(a *ann) {
			a.hub.Account(canary, githosttest.Account{Login: "ann", Scopes: []string{"repo"}, Sees: sees,
				SSO: map[string]string{"acme": "https://github.com/orgs/acme/sso?authorization_request=1"}})
		}, []string{"A04 fail the organisation acme wants -> https://github.com/orgs/acme/sso"}, nil},
		{"another's", func(a *ann) { a.hub.Account(canary, githosttest.Account{Login: "ann", Scopes: []string{"repo"}}) },
			[]string{"A04 warn sees no repository of github.com/acme -> gomirror auth login --owner acme"}, nil},
		{"no such repository", func(a *ann) { a.o.Private = []string{"github.com/acme/none"} },
			[]string{"A04 fail github.com/acme/none does not exist, or the token may not see it -> gomirror auth login --owner acme"},
			func(a *ann) { a.o.Private = []string{"github.com/acme/x"} }},
		{"a fine-grained token without contents", func(a *ann) {
			a.store("", "github_pat_finefinefinefine")
			a.hub.Account("github_pat_finefinefinefine", githosttest.Account{Login: "ann", Sees: sees, NoContents: true})
		}, []string{"A03 fail it lacks the permission Contents: read-only -> https://github.com/settings/personal-access-tokens"},
			func(a *ann) {
				a.hub.Account("github_pat_finefinefinefine", githosttest.Account{Login: "ann", Sees: sees})
			}},
		{"no token", func(a *ann) { a.forget() },
			[]string{"A01 skipped no token is stored", "A02 skipped", "A03 skipped", "A04 fail there is no token for github.com/acme -> gomirror auth login", "A05 skipped"},
			func(a *ann) { a.store("", canary) }},
		{"a variable that is no good", func(a *ann) { a.vars["GOMIRROR_GITHUB_TOKEN"] = other },
			[]string{"A02 fail does not accept the token -> unset GOMIRROR_GITHUB_TOKEN", "A05 warn GOMIRROR_GITHUB_TOKEN is another token -> unset GOMIRROR_GITHUB_TOKEN"},
			func(a *ann) { delete(a.vars, "GOMIRROR_GITHUB_TOKEN") }},
		{"gh's variable", func(a *ann) { a.vars["GH_TOKEN"] = other },
			[]string{"A05 warn GH_TOKEN is another token -> unset GH_TOKEN"}, func(a *ann) { delete(a.vars, "GH_TOKEN") }},
		{"gh's other variable", func(a *ann) { a.vars["GITHUB_TOKEN"] = other },
			[]string{"A05 warn GITHUB_TOKEN is another token -> unset GITHUB_TOKEN"}, func(a *ann) { delete(a.vars, "GITHUB_TOKEN") }},
		{"an item that is gone", func(a *ann) { delete(a.items, "github.com") },
			[]string{"A01 fail no token is stored for github.com -> gomirror auth login", "A02 skipped"},
			func(a *ann) { a.store("", canary) }},
		{"an index that others may read", func(a *ann) { os.Chmod(a.o.StateDir+"/credentials.json", 0o644) },
			[]string{"A01 fail others may read or write it -> chmod 600", "A04 fail"},
			func(a *ann) { os.Chmod(a.o.StateDir+"/credentials.json", 0o600) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAnn(t)
			test.fault(a)
			a.diagnose(test.want...)
			if test.mend != nil {
				test.mend(a)
			} else {
				a.hub.Account(canary, githosttest.Account{Login: "ann", Scopes: []string{"repo"}, Sees: sees})
			}
			a.diagnose("A02 ok", "A03 ok", "A04 ok")
		})
	}
}

// TestHealthyTokens has set-ups in which there is nothing to say.
func TestHealthyTokens(t *testing.T) {
	tests := []struct {
		name   string
		change func(a *ann)
		want   []string
	}{
		{"nothing private", func(a *ann) { a.forget(); a.o.Private = nil }, []string{"A01 skipped", "A02 skipped", "A03 skipped", "A04 skipped", "A05 skipped"}},
		{"no token, and go fetches by ssh", func(a *ann) { a.forget(); a.o.Private = nil; a.own.GOPRIVATE = "github.com/acme" },
			[]string{"A04 skipped no token to try"}},
		{"CI with gh's variable alone", func(a *ann) { a.forget(); a.o.Private = nil; a.vars["GITHUB_TOKEN"] = other }, []string{"A05 skipped"}},
		{"CI with our variable alone", func(a *ann) { a.forget(); a.vars["GOMIRROR_GITHUB_TOKEN"] = canary + "\n" },
			[]string{"A01 skipped", "A02 ok as ann", "A04 ok", "A05 skipped"}},
		{"the same token twice", func(a *ann) { a.vars["GOMIRROR_GITHUB_TOKEN"], a.vars["GH_TOKEN"] = canary, canary }, []string{"A05 ok"}},
		{"another host", func(a *ann) { a.forget(); a.o.Private = []string{"git.corp.example/team"} }, []string{"A04 skipped no private pattern"}},
		{"all of a host", func(a *ann) { a.o.Private = []string{"github.com", "*.corp.example/x", "github.com/*"} }, []string{"A04 skipped no private pattern"}},
		{"a pattern of go's", func(a *ann) { a.o.Private = nil; a.own.GOPRIVATE = "github.com/Acme/*,none" }, []string{"A04 ok"}},
		{"one's own", func(a *ann) { a.o.Private = []string{"github.com/ann"} }, []string{"A04 ok"}},
		{"locked, but the variable stands in", func(a *ann) {
			a.vars["GOMIRROR_GITHUB_TOKEN"] = canary
			a.fault = &credential.KeychainError{Kind: credential.Locked, Err: errors.New("login")}
		}, []string{"A01 warn the keychain is locked", "A02 ok", "A04 ok", "A05 skipped"}},
		{"offline", func(a *ann) { a.o.Offline = true; a.dial = errors.New("asked while offline") },
			[]string{"A01 ok", "A02 skipped --offline", "A03 skipped", "A04 skipped", "A05 ok"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newAnn(t)
			test.change(a)
			a.diagnose(test.want...)
		})
	}
}
