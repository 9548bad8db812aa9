package cmd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/gomirror/gomirror/serve/githosttest"
)

// redirectLab has github.com and its API send whoever asks for a private repository
// elsewhere, before and after the token was shown, and records who gets to see it. The
// token may be seen by github.com (from git) and api.github.com (from gomirror), over
// https, and by nobody else.
func redirectLab(ts *testscript.TestScript, neg bool, args []string) {
	s := ts.Value(gitStageKey{}).(*gitStage)
	if neg || len(args) != 1 || s.host == nil {
		ts.Fatalf("usage: redirect-lab TOKEN, after git-start")
	}
	lab := &leads{host: s.host, token: args[0]}
	s.host.Intercept(lab.serve)
	defer s.host.Intercept(nil)
	for _, name := range []string{"evil.example.org", "github.com.evil.example.org", "sub.github.com", "sub.api.github.com", "b2.evil.example.org"} {
		s.host.Vanity(name+"/none", "https://"+name+"/none") // makes the name known
	}
	plain, secure := httptest.NewServer(http.HandlerFunc(lab.loopback)), httptest.NewTLSServer(http.HandlerFunc(lab.loopback))
	defer plain.Close()
	defer secure.Close()
	rows := lab.rows(plain.URL, secure.URL)
	shown, leaked, reached := 0, 0, 0
	for i, row := range slices.Concat(rows, rows) { // by the go command, then by our own ls-remote
		row.name = fmt.Sprintf("r%02d", i)
		row.code = []int{301, 302, 303, 307, 308}[i%5]
		query := []string{"go", "list", "-m", "github.com/acme/" + row.name + "@v1.0.0"}
		if i >= len(rows) {
			query = []string{"go", "list", "-m", "-versions", "github.com/acme/" + row.name}
		}
		lab.begin(row)
		_ = ts.Exec(query[0], query[1:]...) // most of them fail
		seen, hops, ends, leaks := lab.end()
		shown, leaked, reached = shown+min(seen, 1), leaked+len(leaks), reached+min(ends, 1)
		fmt.Fprintf(ts.Stdout(), "%s %d to %s: token shown %d times at home, %d redirects, %d requests at the end, leaks %q\n",
			row.from, row.code, row.what, seen, hops, ends, leaks)
		if hops == 0 || seen == 0 && row.from != "git" { // git asks for no token at first
			ts.Fatalf("%s to %s: %d redirects, token shown %d times, which proves nothing", row.from, row.what, hops, seen)
		}
		if git := row.from != "API"; (ends > 0) != (git && slices.Contains(reachedByGit(), row.what)) {
			ts.Fatalf("%s to %s: %d requests came to where it led", row.from, row.what, ends)
		}
	}
	naive := lab.naive(ts, rows)
	fmt.Fprintf(ts.Stdout(), "%d ways, the end reached in %d, token shown at home in %d, elsewhere in %d; a client that follows blindly shows it in %d of 3\n",
		2*len(rows), reached, shown, leaked, naive)
	if leaked > 0 || naive != 3 {
		ts.Fatalf("the token was seen by others %d times (by a naive client's %d, want 3)", leaked, naive)
	}
}

// reachedByGit are the ways whose end git must come to, for a host that nobody asks
// proves nothing; it never comes to the others'. gomirror itself follows none.
func reachedByGit() []string {
	return []string{"another host", "a sub-domain", "a host that begins alike", "another host, in the name of ours", "another host and its sub-domain", "20 hops over hosts"}
}

// lead is one way to send a client astray.
type lead struct {
	from string // git, late git (once the token was shown), or API
	what string
	hops int // redirects before the end
	to   func(path string, hop int) string
	name string // of the repository
	code int
}

// leads plays the hosts.
type leads struct {
	host  *githosttest.Host
	token string

	mu    sync.Mutex
	row   lead
	hops  int
	ends  int      // requests to where the last redirect led
	local []string // tokens that loopback servers saw
}

// rows are all ways. The two addresses are those of servers on loopback.
func (l *leads) rows(plain, secure string) []lead {
	var all []lead
	for _, from := range []string{"git", "late git", "API"} {
		home := "github.com"
		if from == "API" {
			home = "api.github.com"
		}
		// To follow before any token was shown is harmless: what counts is what git does
		// when the new host asks for one.
		early := []string{"another host", "a sub-domain", "another host and back", "20 hops over hosts", "http"}
		add := func(what string, hops int, to func(path string, hop int) string) {
			if from == "git" && !slices.Contains(early, what) {
				return
			}
			all = append(all, lead{from: from, what: what, hops: hops, to: to})
		}
		fixed := func(what, origin string) { add(what, 1, func(path string, _ int) string { return origin + path }) }
		fixed("another host", "https://evil.example.org")
		fixed("a sub-domain", "https://sub."+home)
		fixed("a host that begins alike", "https://github.com.evil.example.org")
		fixed("http", "http://"+home)
		fixed("http on loopback", plain)
		fixed("https on loopback", secure)
		fixed("another port", "https://"+home+":8443")
		fixed("an address", "https://203.0.113.1")
		fixed("another host, in the name of ours", "https://"+home+"@evil.example.org")
		add("another host and back", 2, func(path string, hop int) string {
			return []string{"https://evil.example.org", "https://" + home}[hop%2] + path
		})
		add("another host and its sub-domain", 2, func(path string, hop int) string {
			return []string{"https://evil.example.org", "https://b2.evil.example.org"}[min(hop, 1)] + path
		})
		add("20 hops at home", 20, func(path string, hop int) string { return "https://" + home + path + "?" + strconv.Itoa(hop) })
		add("20 hops over hosts", 20, func(path string, hop int) string {
			return []string{"https://sub." + home, "https://evil.example.org", "https://" + home}[hop%3] + path
		})
	}
	all = append(all,
		lead{from: "API", what: "the git host", hops: 1, to: func(path string, _ int) string { return "https://github.com" + path }},
		lead{from: "late git", what: "the API's host", hops: 1, to: func(path string, _ int) string { return "https://api.github.com" + path }})
	return all
}

func (l *leads) begin(row lead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.row, l.hops, l.ends, l.local = row, 0, 0, nil
	l.host.Requests()
}

// end tells how often the token was shown where it belongs, how many redirects were
// followed and how many requests came to where they led, and who else saw the token.
func (l *leads) end() (shown, hops, ends int, leaks []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.host.Requests() {
		if r.Token() == "" {
			continue
		}
		basic := strings.HasPrefix(r.Header.Get("Authorization"), "Basic ")
		if own := basic && r.Host == "github.com" || !basic && r.Host == "api.github.com"; own {
			shown++
		} else {
			leaks = append(leaks, r.Host)
		}
	}
	return shown, l.hops, l.ends, append(leaks, l.local...)
}

// serve answers for every host of the lab.
func (l *leads) serve(w http.ResponseWriter, r *http.Request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(r.URL.Path, "/"+l.row.name) || l.row.name == "" {
		return false
	}
	api := strings.HasPrefix(r.URL.Path, "/repos/")
	switch token := (githosttest.Request{Header: r.Header}).Token(); {
	case api && l.row.from != "API":
		return false // the honest API says what it has against git
	case !api && r.Host == "github.com" && l.row.from != "git" && token == "":
		challenge(w)
		return true
	case !api && r.Host == "github.com" && l.row.from == "API":
		http.Error(w, "Repository not found.", http.StatusNotFound) // so the API is asked
		return true
	case l.hops >= l.row.hops && strings.HasSuffix(r.Host, "github.com") && !strings.HasPrefix(r.Host, "sub."):
		http.NotFound(w, r)
		return true
	case l.hops >= l.row.hops:
		l.ends++
		challenge(w) // who are you?
		return true
	}
	target := l.row.to(r.URL.Path, l.hops)
	if r.URL.RawQuery != "" && !strings.Contains(target, "?") {
		target += "?" + r.URL.RawQuery
	}
	l.hops++
	w.Header().Set("Location", target)
	w.WriteHeader(l.row.code)
	return true
}

func challenge(w http.ResponseWriter) {
	w.Header().Set("WWW-Authenticate", `Basic realm="GitHub"`)
	http.Error(w, "who are you?", http.StatusUnauthorized)
}

// loopback is where a redirect into this machine ends.
func (l *leads) loopback(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.ends++
	if r.Header.Get("Authorization") != "" {
		l.local = append(l.local, r.Host)
	}
	l.mu.Unlock()
	challenge(w)
}

// naive follows three of the redirects as clients have done that copy what they were
// given, and returns how many of these the lab has noticed.
func (l *leads) naive(ts *testscript.TestScript, rows []lead) (noticed int) {
	ca, err := os.ReadFile(l.host.CAFile)
	ts.Check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{DialContext: l.dial, TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, CheckRedirect: func(r *http.Request, via []*http.Request) error {
		r.Header.Set("Authorization", via[0].Header.Get("Authorization"))
		return nil
	}}
	for _, row := range rows {
		if row.from != "API" || row.what != "another host" && row.what != "a sub-domain" && row.what != "http on loopback" {
			continue
		}
		row.name, row.code = "naive", http.StatusFound
		l.begin(row)
		r, err := http.NewRequest(http.MethodGet, "https://api.github.com/repos/acme/naive", nil)
		ts.Check(err)
		r.Header.Set("Authorization", "Bearer "+l.token)
		resp, err := client.Do(r)
		ts.Check(err)
		resp.Body.Close()
		if _, _, _, leaks := l.end(); len(leaks) > 0 {
			noticed++
		}
	}
	return noticed
}

// dial reaches the lab's hosts, and loopback.
func (l *leads) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if strings.HasPrefix(addr, "127.0.0.1:") {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	return l.host.Dial(ctx, network, addr)
}
