package githosttest_test

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// privateHost has a repository that only some tokens read, on github.com and on an
// Enterprise host.
func privateHost(t *testing.T) (host *githosttest.Host, reset time.Time) {
	host = githosttest.New(t)
	host.Enterprise("git.corp.example")
	host.Private("github.com/acme")
	host.Private("git.corp.example")
	files := map[string]string{"go.mod": "module github.com/acme/secret\n"}
	host.Repo(t, "github.com/acme/secret", files, "v1.0.0")
	host.Repo(t, "github.com/acme/second", files)
	host.Repo(t, "github.com/open/mod", files, "v1.0.0")
	host.Repo(t, "git.corp.example/team/mod", files, "v1.0.0")
	host.Rename("github.com/acme/former", "github.com/acme/secret")
	reset = time.Now().Add(time.Hour)
	sees := []string{"github.com/acme", "github.com/ann"}
	for token, a := range map[string]githosttest.Account{
		"ghp_good":        {Login: "ann", Scopes: []string{"repo", "read:org"}, Sees: sees, Expires: reset},
		"github_pat_good": {Login: "ann", Sees: sees},
		"ghp_public":      {Login: "ann", Scopes: []string{"gist"}, Sees: sees},
		"ghp_outsider":    {Login: "bob"},
		"ghp_sso":         {Login: "ann", Sees: sees, SSO: map[string]string{"acme": "https://github.com/orgs/acme/sso?x=1"}},
		"ghp_limited":     {Login: "ann", Sees: sees, RateReset: reset},
		"ghp_old":         {Login: "ann", Sees: sees, Expires: time.Now().Add(-time.Minute)},
		"ghp_revoked":     {Login: "ann", Sees: sees, Bad: true},
		"github_pat_meta": {Login: "ann", Sees: sees, NoContents: true},
		"ghp_corp":        {Login: "ann", Host: "git.corp.example", Sees: []string{"git.corp.example/team"}},
	} {
		host.Account(token, a)
	}
	return host, reset
}

// TestPrivate asks for one repository with each token, as git and by the API.
func TestPrivate(t *testing.T) {
	t.Parallel()
	host, _ := privateHost(t)
	const (
		refs = ".git/info/refs?service=git-upload-pack"
		api  = "https://api.github.com"
	)
	tests := []struct {
		name, token, url string
		code             int
		want             string // in the body, or in a header
	}{
		{"git, stranger", "", "https://github.com/acme/secret" + refs, 401, `Basic realm="GitHub"`},
		{"git, stranger, not there", "", "https://github.com/acme/nope" + refs, 401, `Basic realm="GitHub"`},
		{"git, stranger, not there and public", "", "https://github.com/open/nope" + refs, 401, `Basic realm="GitHub"`},
		{"git, stranger, former name", "", "https://github.com/acme/former" + refs, 401, `Basic realm="GitHub"`},
		{"git, public", "", "https://github.com/open/mod" + refs, 200, "refs/tags/v1.0.0"},
		{"git, good", "ghp_good", "https://github.com/acme/secret" + refs, 200, "refs/tags/v1.0.0"},
		{"git, any case", "ghp_good", "https://github.com/ACME/Secret" + refs, 200, "refs/tags/v1.0.0"},
		{"git, former name", "ghp_good", "https://github.com/acme/former" + refs, 301, "https://github.com/acme/secret" + refs},
		{"git, not there", "ghp_good", "https://github.com/acme/nope" + refs, 404, "Repository not found."},
		{"git, fine-grained", "github_pat_good", "https://github.com/acme/secret" + refs, 200, "refs/tags/v1.0.0"},
		{"git, no repo scope", "ghp_public", "https://github.com/acme/secret" + refs, 404, "Repository not found."},
		{"git, no access", "ghp_outsider", "https://github.com/acme/secret" + refs, 404, "Repository not found."},
		{"git, wrong token", "ghp_wrong", "https://github.com/acme/secret" + refs, 401, "Invalid username or token."},
		{"git, expired", "ghp_old", "https://github.com/acme/secret" + refs, 401, "Invalid username or token."},
		{"git, revoked", "ghp_revoked", "https://github.com/acme/secret" + refs, 401, "Invalid username or token."},
		{"git, SSO", "ghp_sso", "https://github.com/acme/secret" + refs, 403, "visit https://github.com/orgs/acme/sso?x=1 and"},
		{"git, limited", "ghp_limited", "https://github.com/acme/secret" + refs, 429, "rate limit"},
		{"git, no contents", "github_pat_meta", "https://github.com/acme/secret" + refs, 403, "not granted"},
		{"git, token of another host", "ghp_corp", "https://github.com/acme/secret" + refs, 401, "Invalid username"},
		{"git, Enterprise", "ghp_corp", "https://git.corp.example/team/mod" + refs, 200, "refs/tags/v1.0.0"},
		{"git, Enterprise, stranger", "", "https://git.corp.example/team/mod" + refs, 401, `Basic realm="GitHub"`},
		{"import page of Enterprise", "", "https://git.corp.example/team/mod/sub?go-get=1", 200, "git.corp.example/team/mod git https://git.corp.example/team/mod.git"},
		{"user, stranger", "", api + "/user", 401, "Requires authentication"},
		{"user", "ghp_good", api + "/user", 200, `"login":"ann"`},
		{"user, scopes", "ghp_good", api + "/user", 200, "X-Oauth-Scopes: repo, read:org"},
		{"user, expiry", "ghp_good", api + "/user", 200, "Github-Authentication-Token-Expiration: "},
		{"user, rate", "ghp_good", api + "/user", 200, "X-Ratelimit-Remaining: 4999"},
		{"user, wrong token", "ghp_wrong", api + "/user", 401, "Bad credentials"},
		{"user, expired", "ghp_old", api + "/user", 401, "Bad credentials"},
		{"user, limited", "ghp_limited", api + "/user", 403, "X-Ratelimit-Remaining: 0"},
		{"user, Enterprise", "ghp_corp", "https://git.corp.example/api/v3/user", 200, `"login":"ann"`},
		{"user, token of another host", "ghp_good", "https://git.corp.example/api/v3/user", 401, "Bad credentials"},
		{"organisations", "ghp_good", api + "/user/orgs", 200, `[{"id":`},
		{"organisations, SSO", "ghp_sso", api + "/user/orgs", 200, "X-Github-Sso: partial-results; organizations="},
		{"repositories", "ghp_good", api + "/user/repos?visibility=private&per_page=1", 200, `"full_name":"acme/second"`},
		{"repositories, next page", "ghp_good", api + "/user/repos?per_page=1", 200, `page=2&per_page=1>; rel="next"`},
		{"repositories, last page", "ghp_good", api + "/user/repos?per_page=1&page=2", 200, `"full_name":"acme/secret"`},
		{"repository", "ghp_good", api + "/repos/acme/secret", 200, `"private":true`},
		{"repository, stranger", "", api + "/repos/acme/secret", 404, "Not Found"},
		{"repository, public", "", api + "/repos/open/mod", 200, `"private":false`},
		{"repository, no access", "ghp_outsider", api + "/repos/acme/secret", 404, "Not Found"},
		{"repository, not there", "ghp_good", api + "/repos/acme/nope", 404, "Not Found"},
		{"repository, SSO", "ghp_sso", api + "/repos/acme/secret", 403, "X-Github-Sso: required; url=https://github.com/orgs/acme/sso?x=1"},
		{"repository, former name", "ghp_good", api + "/repos/acme/former", 301, "Location: https://api.github.com/repositories/"},
		{"repository, no contents", "github_pat_meta", api + "/repos/acme/secret", 200, `"private":true`},
		{"rate limit", "ghp_limited", api + "/rate_limit", 200, `"remaining":0`},
		{"rate limit, stranger", "", api + "/rate_limit", 200, `"limit":5000`},
	}
	c := client(t, host)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), "GET", tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.token == "":
			case strings.HasPrefix(tt.name, "git"):
				r.SetBasicAuth("x-access-token", tt.token)
			default:
				r.Header.Set("Authorization", "Bearer "+tt.token)
			}
			code, got := answer(t, c, r)
			if code != tt.code || !strings.Contains(got, tt.want) {
				t.Errorf("got %d %q, want %d with %q", code, got, tt.code, tt.want)
			}
		})
	}
}

// answer returns the status, and headers and body as one text.
func answer(t *testing.T, c *http.Client, r *http.Request) (int, string) {
	t.Helper()
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var head strings.Builder
	response.Header.Write(&head)
	return response.StatusCode, head.String() + string(body)
}

// TestNumbered follows the redirect that the API gives for a renamed repository.
func TestNumbered(t *testing.T) {
	t.Parallel()
	host, _ := privateHost(t)
	c := client(t, host)
	c.CheckRedirect = nil
	r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://api.github.com/repos/acme/former", nil)
	r.Header.Set("Authorization", "token ghp_good")
	if code, got := answer(t, c, r); code != 200 || !strings.Contains(got, `"full_name":"acme/secret"`) {
		t.Errorf("got %d %q, want 200 with acme/secret", code, got)
	}
}

// TestDevice goes through a device flow to its end.
func TestDevice(t *testing.T) {
	t.Parallel()
	host, _ := privateHost(t)
	c := client(t, host)
	host.Device("gho_good", 1)
	post := func(path string, form url.Values, accept, want string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), "POST", "https://github.com/login/"+path, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept", accept)
		if code, got := answer(t, c, r); code != 200 || !strings.Contains(got, want) {
			t.Errorf("POST %s got %d %q, want 200 with %q", path, code, got, want)
		}
	}
	form := url.Values{"client_id": {"id"}, "device_code": {"3584d83530557fdd1f46af8289938c8ef79f9dc5"}}
	post("device/code", form, "", "user_code=WDJB-MJHT")
	post("device/code", form, "application/json", `"expires_in":900`)
	post("oauth/access_token", form, "", "error=authorization_pending")
	post("oauth/access_token", form, "application/json", `"access_token":"gho_good"`)
	host.Device("", 0)
	post("oauth/access_token", form, "", "error=access_denied")
}

// TestGitTexts runs the real git against refusals: what it prints is what go shows.
func TestGitTexts(t *testing.T) {
	t.Parallel()
	host, _ := privateHost(t)
	proxy := host.Proxy(t)
	tests := []struct{ name, token, want string }{
		{"good", "ghp_good", "refs/tags/v1.0.0"},
		{"no token", "", "could not read Username"},
		{"wrong token", "ghp_wrong", "Authentication failed"},
		{"no access", "ghp_outsider", "remote: Repository not found."},
		{"SSO", "ghp_sso", "remote: The 'acme' organization has enabled or enforced SAML SSO."},
		{"limited", "ghp_limited", "returned error: 429"},
		{"no contents", "github_pat_meta", "remote: Write access to repository not granted."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			user := ""
			if tt.token != "" {
				user = "x:" + tt.token + "@"
			}
			c := exec.CommandContext(t.Context(), "git", "ls-remote", "https://"+user+"github.com/acme/secret")
			c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
				"GIT_SSL_CAINFO=" + host.CAFile, "HTTPS_PROXY=" + proxy}
			out, _ := c.CombinedOutput()
			if !strings.Contains(string(out), tt.want) {
				t.Errorf("git prints %q, want %q in it", out, tt.want)
			}
		})
	}
}
