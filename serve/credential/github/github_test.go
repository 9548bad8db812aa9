package github_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gomirror/gomirror/serve/credential"
	"github.com/gomirror/gomirror/serve/credential/github"
	"github.com/gomirror/gomirror/serve/githosttest"
)

// The tokens of the tests' GitHub.
const (
	good        = "ghp_goodgoodgoodgood"
	fineGrained = "github_pat_finefinefine"
	noContents  = "github_pat_metameta"
	gistOnly    = "ghp_gistgistgistgist"
	outsider    = "ghp_outsideroutsider"
	unapproved  = "ghp_ssossossossosso"
	overLimit   = "ghp_limitedlimited"
	revoked     = "ghp_revokedrevoked"
	corporate   = "ghp_corpcorpcorpcorp"
	unknown     = "ghp_nobodynobody"
	ssoURL      = "https://github.com/orgs/acme/sso?authorization_request=A1B2"
)

// newHost is a github.com with two private owners, and an Enterprise host.
func newHost(t *testing.T) (*githosttest.Host, time.Time) {
	host := githosttest.New(t)
	reset := time.Now().Add(time.Hour).Truncate(time.Second)
	host.Enterprise("git.corp.example")
	for _, prefix := range []string{"github.com/acme", "github.com/ann", "git.corp.example"} {
		host.Private(prefix)
	}
	files := map[string]string{"go.mod": "module m\n"}
	for _, repo := range []string{"github.com/acme/x", "github.com/acme/y", "github.com/ann/z", "github.com/open/mod", "git.corp.example/team/m"} {
		host.Repo(t, repo, files)
	}
	host.Rename("github.com/acme/old", "github.com/acme/x")
	sees := []string{"github.com/acme", "github.com/ann", "github.com/member"}
	for token, a := range map[string]githosttest.Account{
		good:        {Login: "ann", Scopes: []string{"repo", "read:org"}, Sees: sees, Expires: reset},
		fineGrained: {Login: "ann", Sees: sees[:1]},
		noContents:  {Login: "ann", Sees: sees[:1], NoContents: true},
		gistOnly:    {Login: "ann", Scopes: []string{"gist"}, Sees: sees},
		outsider:    {Login: "bob", Scopes: []string{"repo"}},
		unapproved:  {Login: "ann", Scopes: []string{"repo"}, Sees: sees, SSO: map[string]string{"acme": ssoURL}},
		overLimit:   {Login: "ann", Sees: sees, RateReset: reset},
		revoked:     {Login: "ann", Sees: sees, Bad: true},
		corporate:   {Login: "cora", Scopes: []string{"repo"}, Host: "git.corp.example", Sees: []string{"git.corp.example/team"}},
	} {
		host.Account(token, a)
	}
	return host, reset
}

// newClient reaches the host and nothing else.
func newClient(t *testing.T, host *githosttest.Host) *github.Client {
	t.Helper()
	return newClientAt(t, host, time.Time{})
}

// newClientAt has a clock that stands, unless now is zero.
func newClientAt(t *testing.T, host *githosttest.Host, now time.Time) *github.Client {
	t.Helper()
	ca, err := os.ReadFile(host.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{DialContext: host.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	opts := github.Options{HTTP: &http.Client{Transport: transport}}
	if !now.IsZero() {
		opts.Now = func() time.Time { return now }
	}
	return github.New(opts)
}

func TestAPI(t *testing.T) {
	tests := map[string]string{
		"github.com":       "https://api.github.com",
		"acme.ghe.com":     "https://api.acme.ghe.com",
		"git.corp.example": "https://git.corp.example/api/v3",
		"notghe.com":       "https://notghe.com/api/v3",
	}
	for host, want := range tests {
		if got := github.API(host); got != want {
			t.Errorf("API(%s) = %s, want %s", host, got, want)
		}
	}
}

func TestAccount(t *testing.T) {
	t.Parallel()
	host, reset := newHost(t)
	client := newClient(t, host)
	rate := func(a github.Account) github.Account {
		a.Rate.Limit, a.Rate.Remaining = 5000, 4999
		return a
	}
	tests := []struct {
		name, host, token string
		want              github.Account
		lacks             string
		kind              github.Kind // of the error
	}{
		{"classic", "github.com", good,
			rate(github.Account{Login: "ann", Kind: "classic", Scopes: []string{"repo", "read:org"}, Expires: reset}), "", 0},
		{"fine-grained", "github.com", fineGrained, rate(github.Account{Login: "ann", Kind: "fine-grained"}), "", 0},
		{"no scope", "github.com", gistOnly, rate(github.Account{Login: "ann", Kind: "classic", Scopes: []string{"gist"}}), "repo", 0},
		{"single sign-on", "github.com", unapproved,
			rate(github.Account{Login: "ann", Kind: "classic", Scopes: []string{"repo"}, SSO: map[string]string{"acme": ssoURL}}), "", 0},
		{"Enterprise", "git.corp.example", corporate, rate(github.Account{Login: "cora", Kind: "classic", Scopes: []string{"repo"}}), "", 0},
		{"unknown", "github.com", unknown, github.Account{}, "", github.BadToken},
		{"revoked", "github.com", revoked, github.Account{}, "", github.BadToken},
		{"of another host", "github.com", corporate, github.Account{}, "", github.BadToken},
		{"none", "github.com", "", github.Account{}, "", github.NoToken},
		{"over the limit", "github.com", overLimit, github.Account{}, "", github.RateLimit},
		{"no such host", "gone.example", good, github.Account{}, "", github.Unreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client.Account(t.Context(), tt.host, credential.NewSecret(tt.token))
			if kind := kindOf(t, err); kind != tt.kind {
				t.Fatalf("got %v, want an error of kind %d", err, tt.kind)
			}
			if err == nil && time.Until(got.Rate.Reset) < time.Minute {
				t.Errorf("limit ends at %v, want a time to come", got.Rate.Reset)
			}
			got.Rate.Reset = time.Time{}
			sameTime := cmp.Comparer(time.Time.Equal)
			if diff := cmp.Diff(tt.want, got, sameTime); diff != "" {
				t.Errorf("account (-want +got):\n%s", diff)
			}
			if got.Lacks() != tt.lacks && err == nil {
				t.Errorf("lacks %q, want %q", got.Lacks(), tt.lacks)
			}
		})
	}
}

// kindOf returns the kind of an AccessError, 0 for none.
func kindOf(t *testing.T, err error) github.Kind {
	t.Helper()
	if err == nil {
		return 0
	}
	var access *github.AccessError
	if !errors.As(err, &access) {
		t.Fatalf("got %T %v, want an AccessError", err, err)
	}
	return access.Kind
}

func TestOwners(t *testing.T) {
	t.Parallel()
	host, _ := newHost(t)
	client := newClient(t, host)
	tests := []struct {
		name, host, token string
		want              []github.Owner
	}{
		{"classic", "github.com", good, []github.Owner{
			{Name: "acme", Private: 2, Example: "github.com/acme/x"}, {Name: "ann", Private: 1, Example: "github.com/ann/z"}, {Name: "member"}}},
		{"fine-grained", "github.com", fineGrained, []github.Owner{{Name: "acme", Private: 2, Example: "github.com/acme/x"}}},
		{"behind single sign-on", "github.com", unapproved, []github.Owner{{Name: "ann", Private: 1, Example: "github.com/ann/z"}, {Name: "member"}}},
		{"sees nothing", "github.com", outsider, []github.Owner{}},
		{"Enterprise", "git.corp.example", corporate, []github.Owner{{Name: "team", Private: 1, Example: "git.corp.example/team/m"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client.Owners(t.Context(), tt.host, credential.NewSecret(tt.token))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("owners (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOwnersPages has more repositories than fit on a page, and an owner that only
// the second page names.
func TestOwnersPages(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	host.Enterprise("git.corp.example")
	host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/user/repos") {
			return false
		}
		owner := "first"
		if r.URL.Query().Get("page") == "2" {
			owner = "second"
		} else {
			// An address of the server's choice is not followed.
			w.Header().Set("Link", `<https://evil.example/next>; rel="next", <https://evil.example/last>; rel="last"`)
		}
		repo := `{"name":"r","private":true,"owner":{"login":"` + owner + `"}}`
		public := `{"name":"r","private":false,"owner":{"login":"open"}}`
		odd := `{"name":"r","private":true,"owner":{"login":"a,*"}}`
		w.Write([]byte("[" + strings.Repeat(repo+",", 50) + public + "," + odd + "]"))
		return true
	})
	host.Account(corporate, githosttest.Account{Host: "git.corp.example", Login: "cora", Scopes: []string{"repo"}})
	got, err := newClient(t, host).Owners(t.Context(), "git.corp.example", credential.NewSecret(corporate))
	want := []github.Owner{{"first", 50, "git.corp.example/first/r"}, {"second", 50, "git.corp.example/second/r"}}
	if err != nil || !cmp.Equal(got, want) {
		t.Errorf("got %v (%v), want %v", got, err, want)
	}
	for _, r := range host.Requests() {
		if r.Host != "git.corp.example" {
			t.Errorf("%s was asked, want git.corp.example alone", r.Host)
		}
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	host, reset := newHost(t)
	client := newClient(t, host)
	at := reset.Local().Format("15:04:05")
	tests := []struct {
		name, repo, token string
		kind              github.Kind
		text, hint        string
	}{
		{"readable", "github.com/acme/x", good, 0, "", ""},
		{"renamed", "github.com/acme/old", good, 0, "", ""},
		{"public, as a stranger", "github.com/open/mod", "", 0, "", ""},
		{"a folder of it", "github.com/acme/x/sub/v2", good, 0, "", ""},
		{"by .git", "github.com/acme/x.git", good, 0, "", ""},
		{"fine-grained", "github.com/acme/x", fineGrained, 0, "", ""},
		{"no token", "github.com/acme/x", "", github.NoToken,
			"github.com/acme/x is private or does not exist, and there is no token for github.com", "gomirror auth login"},
		{"no token, Enterprise", "git.corp.example/team/m", "", github.NoToken,
			"git.corp.example/team/m is private or does not exist, and there is no token for git.corp.example", "gomirror auth login --hostname git.corp.example"},
		{"bad token", "github.com/acme/x", unknown, github.BadToken,
			"github.com does not accept the token: it was revoked, has expired or is mistyped", "gomirror auth login"},
		{"no access", "github.com/acme/x", outsider, github.NoAccess,
			"github.com/acme/x does not exist, or the token may not see it: github.com tells neither apart", "gomirror auth login --owner acme"},
		{"no such repository", "github.com/acme/typo", good, github.NoAccess,
			"github.com/acme/typo does not exist, or the token may not see it: github.com tells neither apart", "gomirror auth login --owner acme"},
		{"no contents", "github.com/acme/x", noContents, github.NoAccess,
			"the token may not read github.com/acme/x: it lacks the permission Contents: read-only",
			"open https://github.com/settings/personal-access-tokens and then again"},
		{"single sign-on", "github.com/acme/x", unapproved, github.SSO,
			"the organisation acme wants the token authorised for its single sign-on", "open " + ssoURL + " and then again"},
		{"limit", "github.com/acme/x", overLimit, github.RateLimit, "github.com answers no more requests until " + at, "again at " + at},
		{"unreachable", "gone.example/a/b", good, github.Unreachable,
			"gone.example is out of reach: dial tcp: gone.example:443 is no host of this test", "curl -sSI https://gone.example/api/v3"},
		{"no repository", "github.com/acme", good, github.NoAccess, "github.com refuses github.com/acme: it is no repository", "gomirror auth login --owner acme"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := client.Why(t.Context(), tt.repo, credential.NewSecret(tt.token))
			checkAccess(t, err, tt.kind, tt.text, tt.hint)
		})
	}
}

func checkAccess(t *testing.T, err error, kind github.Kind, text, hint string) {
	t.Helper()
	if got := kindOf(t, err); got != kind {
		t.Fatalf("got %v, want an error of kind %d", err, kind)
	}
	if err == nil {
		return
	}
	if got := err.Error(); got != text {
		t.Errorf("got  %q\nwant %q", got, text)
	}
	var hinter interface{ Hint() string }
	if errors.As(err, &hinter); hinter.Hint() != hint {
		t.Errorf("got hint  %q\nwant hint %q", hinter.Hint(), hint)
	}
}

// TestForeign tells GitHub's "no" from that of another kind of host.
func TestForeign(t *testing.T) {
	t.Parallel()
	host, _ := newHost(t)
	host.Repo(t, "git.example.org/a/b", map[string]string{"go.mod": "module m\n"})
	client := newClient(t, host)
	for repo, want := range map[string]bool{"github.com/acme/x": false, "git.corp.example/team/m": false, "git.example.org/a/b": true, "gone.example/a/b": true} {
		var access *github.AccessError
		if err := client.Why(t.Context(), repo, credential.NewSecret("")); !errors.As(err, &access) || access.Foreign != want {
			t.Errorf("%s: got %v, want an AccessError, foreign: %t", repo, err, want)
		}
	}
}

// TestHeld tells an expired token from a wrong one by what was known before.
func TestHeld(t *testing.T) {
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	tests := []struct {
		name       string
		kind       github.Kind
		source     string
		expires    time.Time
		want       github.Kind
		text, hint string
	}{
		{"expired", github.BadToken, "keychain", now.Add(-time.Hour), github.Expired,
			"the token for github.com expired on 2026-03-04", "gomirror auth login"},
		{"not yet", github.BadToken, "keychain", now.Add(time.Hour), github.BadToken,
			"github.com does not accept the token: it was revoked, has expired or is mistyped", "gomirror auth login"},
		{"not known", github.BadToken, "keychain", time.Time{}, github.BadToken,
			"github.com does not accept the token: it was revoked, has expired or is mistyped", "gomirror auth login"},
		{"something else", github.NoAccess, "file", now.Add(-time.Hour), github.NoAccess,
			"github.com/acme/x does not exist, or the token may not see it: github.com tells neither apart", "gomirror auth login --owner acme"},
		{"of the environment", github.BadToken, "GOMIRROR_GITHUB_TOKEN", time.Time{}, github.BadToken,
			"github.com does not accept the token: it was revoked, has expired or is mistyped",
			"unset GOMIRROR_GITHUB_TOKEN; gomirror auth login"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := &github.AccessError{Kind: tt.kind, Repo: "github.com/acme/x"}
			err.Held(tt.source, tt.expires, now)
			checkAccess(t, err, tt.want, tt.text, tt.hint)
		})
	}
}

// TestRefusals are answers that GitHub gives and the tests' host has no account for.
func TestRefusals(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	past, soon := now.Add(-48*time.Hour), now.Add(90*time.Second)
	tests := []struct {
		name   string
		status int
		header map[string]string
		body   string
		kind   github.Kind
		text   string
	}{
		{"expired", 401, map[string]string{"GitHub-Authentication-Token-Expiration": past.Format("2006-01-02 15:04:05 MST"), "Date": now.Format(http.TimeFormat)},
			`{"message":"Bad credentials"}`, github.Expired, "the token for github.com expired on 2026-03-02"},
		{"expired, by a zone", 401, map[string]string{"GitHub-Authentication-Token-Expiration": past.Format("2006-01-02 15:04:05 -0700"), "Date": now.Format(http.TimeFormat)},
			"", github.Expired, "the token for github.com expired on 2026-03-02"},
		{"clock off", 401, map[string]string{"GitHub-Authentication-Token-Expiration": past.Format("2006-01-02 15:04:05 MST"), "Date": past.Add(-time.Hour).Format(http.TimeFormat)},
			"", github.BadToken, "github.com does not accept the token: it was revoked, has expired or is mistyped"},
		{"wait", 403, map[string]string{"Retry-After": "90"}, `{"message":"You have exceeded a secondary rate limit."}`, github.RateLimit,
			"github.com answers no more requests until " + soon.Local().Format("15:04:05")},
		{"secondary limit without a time", 403, nil, `{"message":"You have exceeded a secondary rate limit."}`, github.RateLimit,
			"github.com answers no more requests until " + now.Add(time.Minute).Local().Format("15:04:05")},
		{"used up", 403, map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": strconv.FormatInt(soon.Unix(), 10)}, "", github.RateLimit,
			"github.com answers no more requests until " + soon.Local().Format("15:04:05")},
		{"classic tokens forbidden", 403, map[string]string{"X-RateLimit-Remaining": "17"}, "{\"message\":\"`acme` forbids access via a personal access token (classic).\"}",
			github.NoAccess, "github.com refuses github.com/acme/x: `acme` forbids access via a personal access token (classic)"},
		{"blocked", 451, nil, `{"message":"Repository access blocked"}`, github.NoAccess, "github.com refuses github.com/acme/x: Repository access blocked"},
		{"permissions", 403, map[string]string{"X-Accepted-GitHub-Permissions": "contents=read,metadata=read; contents=write"},
			`{"message":"Resource not accessible by integration"}`, github.NoAccess,
			"the token may not read github.com/acme/x: it lacks the permission Contents: read-only, Metadata: read-only"},
		{"down", 502, nil, "<html>Unicorn!</html>", github.Unreachable, "github.com is out of reach: it answers 502 Bad Gateway"},
		{"a redirect to nowhere", 304, nil, "", github.Unreachable, "github.com is out of reach: it answers 304 Not Modified"},
		{"a terminal's commands", 403, nil, `{"message":"\u001b[31mred\u009b2J\u202e line\nbreak."}`, github.NoAccess, "github.com refuses github.com/acme/x: [31mred 2J line break"},
		{"sign-on elsewhere", 403, map[string]string{"X-GitHub-SSO": "required; url=https://evil.example/sso"}, "{}", github.SSO,
			"the organisation acme wants the token authorised for its single sign-on"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host := githosttest.New(t)
			host.Account(good, githosttest.Account{Login: "ann"})
			host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				for name, value := range tt.header {
					w.Header().Set(name, value)
				}
				w.WriteHeader(tt.status)
				w.Write([]byte(tt.body))
				return true
			})
			client := newClientAt(t, host, now)
			err := client.Why(t.Context(), "github.com/acme/x", credential.NewSecret(good))
			if kind := kindOf(t, err); kind != tt.kind || err.Error() != tt.text {
				t.Errorf("got  %d %q\nwant %d %q", kind, err, tt.kind, tt.text)
			}
			var access *github.AccessError
			if errors.As(err, &access); strings.Contains(access.Hint(), "evil") {
				t.Errorf("hint %q sends the user elsewhere", access.Hint())
			}
		})
	}
}
