package githosttest_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// client trusts the host's authority and reaches nothing else.
func client(t *testing.T, host *githosttest.Host) *http.Client {
	t.Helper()
	ca, err := os.ReadFile(host.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{DialContext: host.Dial, TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func TestHost(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	repo := host.Repo(t, "github.com/acme/mod", map[string]string{"a.go": "package mod\n", "b.go": "package mod\n"}, "v1.0.0")
	hash := repo.Commit(t, map[string]string{"b.go": ""}, "v1.1.0")
	host.Rename("github.com/acme/old", "github.com/acme/mod")
	host.Vanity("go.example.org/mod", "https://github.com/acme/mod")
	host.Site("sum.example.org", http.RedirectHandler("/elsewhere", http.StatusFound))
	host.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/teapot" {
			return false
		}
		w.WriteHeader(http.StatusTeapot)
		return true
	})
	const refs = "/info/refs?service=git-upload-pack"
	tests := []struct {
		name, url string
		code      int
		want      string // in the body, or the Location
	}{
		{"repository", "https://github.com/acme/mod" + refs, 200, hash + " refs/tags/v1.1.0"},
		{"repository by .git", "https://github.com/acme/mod.git" + refs, 200, "refs/heads/main"},
		{"renamed repository", "https://github.com/acme/old" + refs, 301, "https://github.com/acme/mod.git" + refs},
		{"unknown repository", "https://github.com/acme/nope" + refs, 404, ""},
		{"page of a repository", "https://github.com/acme/mod", 404, ""},
		{"import page", "https://go.example.org/mod/sub?go-get=1", 200, `content="go.example.org/mod git https://github.com/acme/mod"`},
		{"path outside the import page", "https://go.example.org/else?go-get=1", 404, ""},
		{"other site", "https://sum.example.org/latest", 302, "/elsewhere"},
		{"intercepted", "https://github.com/teapot", 418, ""},
	}
	c := client(t, host)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			host.Requests()
			response, err := c.Get(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			got := string(body) + response.Header.Get("Location")
			if response.StatusCode != tt.code || !strings.Contains(got, tt.want) {
				t.Errorf("got %d %q, want %d with %q", response.StatusCode, got, tt.code, tt.want)
			}
			if seen := host.Requests(); len(seen) != 1 || !strings.HasPrefix(tt.url, "https://"+seen[0].Host+seen[0].Path) {
				t.Errorf("recorded %v, want %s", seen, tt.url)
			}
		})
	}
	if _, err := c.Get("https://elsewhere.example.com/"); err == nil {
		t.Error("a host that is not of this test answers, want no connection")
	}
	if addrs, err := host.Lookup(t.Context(), "github.com"); err != nil || len(addrs) != 1 || addrs[0].IsLoopback() {
		t.Errorf("github.com resolves to %v (%v), want one public address", addrs, err)
	}
	if _, err := host.Lookup(t.Context(), "elsewhere.example.com"); err == nil {
		t.Error("a host that is not of this test resolves, want no such host")
	}
}
