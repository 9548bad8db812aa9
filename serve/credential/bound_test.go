package credential_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gomirror/gomirror/serve/credential"
)

const apiHost = "api.github.com"

// lab answers for every host name, over TLS and without, and remembers who was told
// what.
type lab struct {
	transport *http.Transport
	redirects map[string]string // "host/path" to the Location

	mu   sync.Mutex
	seen []*http.Request // guarded by mu
}

func newLab(t *testing.T, redirects map[string]string) *lab {
	l := &lab{redirects: redirects}
	secure := httptest.NewTLSServer(l)
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(l)
	t.Cleanup(plain.Close)
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	l.transport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com"}, // httptest's name
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			server := secure
			if strings.HasSuffix(addr, ":80") {
				server = plain
			}
			return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
		},
	}
	t.Cleanup(l.transport.CloseIdleConnections)
	return l
}

func (l *lab) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.seen = append(l.seen, r)
	l.mu.Unlock()
	if to, ok := l.redirects[r.Host+r.URL.Path]; ok {
		http.Redirect(w, r, to, http.StatusMovedPermanently)
		return
	}
	fmt.Fprint(w, "ok")
}

// hops are 20 redirects on one host, from path to path.
func hops(redirects map[string]string) map[string]string {
	for i := range 20 {
		redirects[fmt.Sprintf("%s/hop%d", apiHost, i)] = fmt.Sprintf("https://%s/hop%d", apiHost, i+1)
	}
	return redirects
}

// TestBound is the redirect lab: the token goes to its host over https, and nothing
// goes to any other.
func TestBound(t *testing.T) {
	redirects := hops(map[string]string{
		apiHost + "/moved":      "https://" + apiHost + "/repositories/1",
		apiHost + "/port":       "https://" + apiHost + ":443/repositories/1",
		apiHost + "/evil":       "https://evil.example/steal",
		apiHost + "/sub":        "https://sub." + apiHost + "/steal",
		apiHost + "/parent":     "https://github.com/steal",
		apiHost + "/there":      "https://evil.example/and-back",
		"evil.example/and-back": "https://" + apiHost + "/repositories/1",
		apiHost + "/plain":      "http://" + apiHost + "/repositories/1",
		apiHost + "/loopback":   "https://127.0.0.1/steal",
		apiHost + "/inside":     "https://[::ffff:127.0.0.1]/steal",
		apiHost + "/otherport":  "https://" + apiHost + ":8443/steal",
		apiHost + "/asuser":     "https://mallory:pw@" + apiHost + "/repositories/1",
		apiHost + "/dot":        "https://" + apiHost + "./steal",
		apiHost + "/file":       "file:///etc/passwd",
	})
	tests := []struct {
		name, url string
		err       string // "" for an answer
		sent      int    // requests that arrive, each at the host and with the token
	}{
		{"plain answer", "https://api.github.com/user", "", 1},
		{"upper case", "https://API.GitHub.com/user", "it is for api.github.com alone", 0},
		{"renamed repository", "https://api.github.com/moved", "", 2},
		{"with the port", "https://api.github.com/port", "", 2},
		{"to another host", "https://api.github.com/evil", "it is for api.github.com alone", 1},
		{"to a sub-domain", "https://api.github.com/sub", "it is for api.github.com alone", 1},
		{"to the domain above", "https://api.github.com/parent", "it is for api.github.com alone", 1},
		{"away and back", "https://api.github.com/there", "it is for api.github.com alone", 1},
		{"to http", "https://api.github.com/plain", "not over https", 1},
		{"to loopback", "https://api.github.com/loopback", "it is for api.github.com alone", 1},
		{"to loopback as IPv6", "https://api.github.com/inside", "it is for api.github.com alone", 1},
		{"to another port", "https://api.github.com/otherport", "it is for api.github.com alone", 1},
		{"to a user", "https://api.github.com/asuser", "a user of its own", 1},
		{"to a trailing dot", "https://api.github.com/dot", "it is for api.github.com alone", 1},
		{"to a file", "https://api.github.com/file", "not over https", 1},
		{"5 redirects", "https://api.github.com/hop15", "", 6},
		{"20 redirects", "https://api.github.com/hop0", "more than 5 redirects", 6},
		{"a request over http", "http://api.github.com/user", "not over https", 0},
		{"a request to another", "https://evil.example/user", "it is for api.github.com alone", 0},
		{"a request with a user", "https://u:p@api.github.com/user", "a user of its own", 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, redirects)
			client := &http.Client{Transport: &credential.Bound{Host: apiHost, Secret: credential.NewSecret(canary), Next: l.transport}}
			resp, err := client.Get(test.url)
			if err == nil {
				resp.Body.Close()
				if got := resp.Request.Header.Get("Authorization"); got != "" {
					t.Errorf("the response's request shows %q", got)
				}
			}
			if got := fmt.Sprint(err); (err == nil) != (test.err == "") || !strings.Contains(got, test.err) || strings.Contains(got, canary) {
				t.Errorf("error: got %v, want %q", err, test.err)
			}
			if len(l.seen) != test.sent {
				t.Errorf("requests: got %d, want %d", len(l.seen), test.sent)
			}
			for _, r := range l.seen {
				if strings.TrimSuffix(r.Host, ":443") != apiHost || r.TLS == nil {
					t.Errorf("a request to %s%s, TLS %t", r.Host, r.URL, r.TLS != nil)
				}
				if got := r.Header["Authorization"]; len(got) != 1 || got[0] != "Bearer "+canary {
					t.Errorf("Authorization: got %q", got)
				}
			}
		})
	}
}

// TestBoundBuildsTheHeader gives it requests that bring headers of their own.
func TestBoundBuildsTheHeader(t *testing.T) {
	tests := []struct {
		name   string
		secret credential.Secret
		change func(*http.Request)
		want   []string
		err    bool
	}{
		{"another's token", credential.NewSecret(canary), func(r *http.Request) { r.Header.Set("Authorization", "Bearer other") }, []string{"Bearer " + canary}, false},
		{"a stranger", credential.Secret{}, func(r *http.Request) { r.Header.Set("Authorization", "Bearer other") }, nil, false},
		{"another Host header", credential.NewSecret(canary), func(r *http.Request) { r.Host = "evil.example" }, nil, true},
		{"a cookie", credential.NewSecret(canary), func(r *http.Request) { r.Header.Set("Cookie", "a=b") }, []string{"Bearer " + canary}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newLab(t, nil)
			bound := &credential.Bound{Host: apiHost, Secret: test.secret, Next: l.transport}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+apiHost+"/user", nil)
			if err != nil {
				t.Fatal(err)
			}
			test.change(req)
			before := req.Header.Clone()
			resp, err := bound.RoundTrip(req)
			if (err != nil) != test.err {
				t.Fatalf("got %v, want an error: %t", err, test.err)
			}
			if err != nil {
				return
			}
			resp.Body.Close()
			got := l.seen[0].Header
			if fmt.Sprint(got["Authorization"]) != fmt.Sprint(test.want) || got.Get("Cookie") != "" {
				t.Errorf("sent %q, want Authorization %q", got, test.want)
			}
			if fmt.Sprint(req.Header) != fmt.Sprint(before) {
				t.Errorf("the caller's headers became %q", req.Header)
			}
		})
	}
}
