package upstream_test

import (
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

func newProxy(t *testing.T, rawURL string, client *http.Client) *upstream.Proxy {
	t.Helper()
	u, err := url.Parse(rawURL)
	if err != nil {
		t.Fatal(err)
	}
	p := upstream.NewProxy(u, client, "hop1")
	upstream.Brisk(p)
	return p
}

// capped is a sink with the limit that a draft puts on a body.
func capped(limit int64) upstream.Sink {
	return func(key cache.Key, _ cache.Meta, body io.Reader) error {
		n, err := io.Copy(io.Discard, io.LimitReader(body, limit+1))
		if err == nil && n > limit {
			return &cache.InvalidError{Key: key, Reason: fmt.Sprintf("larger than %d bytes", limit)}
		}
		return err
	}
}

// tlsServer starts a server with HTTP/2 and returns a client that trusts it.
func tlsServer(t *testing.T, handler http.HandlerFunc, opts upstream.ClientOptions) (*httptest.Server, *http.Client) {
	t.Helper()
	srv := httptest.NewUnstartedServer(handler)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	opts.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	if err := os.WriteFile(opts.CAFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := upstream.NewClient(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return srv, client
}

func TestBadInput(t *testing.T) {
	const limit = 1 << 10
	long := strings.Repeat("x", 300)
	tests := []struct {
		name    string
		handler http.HandlerFunc
		want    string // of the outcome
		text    string // in the error, U is the upstream
		sunk    bool   // does the sink see anything
	}{
		{"HTML", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/HTML")
			io.WriteString(w, "<html>")
		}, "invalid", "U: bad answer for example.com/m/@v/v1.0.0.zip: U/example.com/m/@v/v1.0.0.zip is a web page", false},
		{"HTML after a redirect", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/login" {
				http.Redirect(w, r, "/login?token=s3cret", http.StatusFound)
				return
			}
			w.Header().Set("Content-Type", "text/html")
		}, "invalid", "U/login is a web page", false},
		{"body shorter than its length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "short")
		}, "cut", "fetch example.com/m/@v/v1.0.0.zip from U: body from HOST cut after 5 bytes: ", true},
		{"connection breaks in a chunked body", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "short")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "cut", "body from HOST cut after 5 bytes", true},
		{"gzip breaks", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			io.WriteString(z, "short")
			z.Flush()
		}, "cut", "body from HOST cut after 5 bytes", true},
		{"body larger than allowed", func(w http.ResponseWriter, _ *http.Request) {
			w.Write(make([]byte, 2*limit))
		}, "invalid", "U: bad answer for example.com/m/@v/v1.0.0.zip: larger than 1024 bytes", true},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			z.Write(make([]byte, 1000*limit))
			z.Close()
		}, "invalid", "larger than 1024 bytes", true},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, "invalid", "U: bad answer for example.com/m/@v/v1.0.0.zip: redirect loop at U/example.com/m/@v/v1.0.0.zip", false},
		{"endless redirects", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x?token=s3cret", http.StatusFound)
		}, "invalid", "more than 10 redirects, the last to U/", false},
		{"redirect to no web address", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, "invalid", "redirect to file:///etc/passwd refused", false},
		{"204", status(204, "text/plain", ""), "204", "U/example.com/m/@v/v1.0.0.zip answers 204 No Content", false},
		{"206", status(206, "text/plain", "part"), "206", "answers 206 Partial Content", false},
		{"304 unasked", status(304, "", ""), "304", "answers 304", false},
		{"508", status(508, "text/plain", "loop\n"), "508", "U/example.com/m/@v/v1.0.0.zip answers 508 Loop Detected: loop; this upstream leads back", false},
		{"text", status(403, "text/plain; charset=UTF-8", "\n\n  no entry \nsecond\n"), "403", "answers 403 Forbidden: no entry$", false},
		{"text with escapes", status(403, "text/plain", "\x1b[31mred\nplain\n"), "403", "Forbidden: plain$", false},
		{"text too long", status(403, "text/plain", long), "403", "Forbidden: " + long[:200] + "$", false},
		{"text cut between runes", status(403, "text/plain", long[:199]+"éé"), "403", "Forbidden: " + long[:199] + "$", false},
		{"text in JSON", status(403, "application/json", `{"e":"x"}`), "403", "Forbidden$", false},
		{"text in Latin-1", status(403, "text/plain; charset=iso-8859-1", "x"), "403", "Forbidden$", false},
		{"text in HTML", status(404, "text/html", "<p>"), "not found", "answers 404 Not Found$", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(tt.handler)
			defer srv.Close()
			sunk := false
			err := newProxy(t, srv.URL, newClient(t)).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)},
				func(key cache.Key, meta cache.Meta, body io.Reader) error {
					sunk = true
					return capped(limit)(key, meta, body)
				})
			if err == nil {
				t.Fatal("no error")
			}
			if got := outcome("", err); !strings.HasPrefix(got, tt.want) {
				t.Errorf("outcome is %q, want %q", got, tt.want)
			}
			text := strings.NewReplacer("U", srv.URL, "HOST", strings.TrimPrefix(srv.URL, "http://")).Replace(tt.text)
			if got := err.Error() + "$"; !strings.Contains(got, text) {
				t.Errorf("error is\n%s, want it to contain\n%s", got, text)
			}
			if strings.Contains(err.Error(), "s3cret") {
				t.Errorf("error %q shows a query", err)
			}
			if sunk != tt.sunk {
				t.Errorf("sink called: %v, want %v", sunk, tt.sunk)
			}
		})
	}
}

func status(code int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

func TestLoopHint(t *testing.T) {
	srv := httptest.NewServer(status(508, "text/plain", "loop"))
	defer srv.Close()
	err := newProxy(t, srv.URL, newClient(t)).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, nil)
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) || hint.Hint() != "gomirror config get upstream" {
		t.Errorf("error %v has not the hint", err)
	}
}

func TestRequest(t *testing.T) {
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		io.WriteString(z, "plain")
		z.Close()
	}))
	defer srv.Close()
	proxy := newProxy(t, srv.URL+"/base/?key=s3cret", newClient(t))
	var body string
	ctx := upstream.WithHops(t.Context(), "hop0")
	key := parseKey(t, "example.com/!burnt/m/@v/v2.0.0+incompatible.info")
	if err := proxy.Fetch(ctx, upstream.Request{Key: key}, collect(&body)); err != nil {
		t.Fatal(err)
	}
	if body != "plain" {
		t.Errorf("body is %q, want it unpacked", body)
	}
	if got, want := got.URL.Path, "/base/"+key.String(); got != want {
		t.Errorf("path is %q, want %q", got, want)
	}
	if got, want := got.URL.RawQuery, "key=s3cret"; got != want {
		t.Errorf("query is %q, want %q", got, want)
	}
	if got, want := proxy.Name(), srv.URL+"/base"; got != want {
		t.Errorf("name is %q, want %q", got, want)
	}
	want := map[string]string{"User-Agent": "gomirror", "Accept-Encoding": "gzip", upstream.HopHeader: "hop0, hop1"}
	for name, values := range got.Header {
		if strings.Join(values, ";") != want[name] {
			t.Errorf("header %s is %q, want %q", name, values, want[name])
		}
		delete(want, name)
	}
	if len(want) > 0 {
		t.Errorf("headers missing: %v", want)
	}
}

// The password goes to the upstream itself and to nobody it redirects to.
func TestCredentials(t *testing.T) {
	saw := make(map[string]string)
	note := func(name string, next *string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			saw[name+r.URL.Path] = user + ":" + password
			if referer := r.Referer(); referer != "" {
				t.Errorf("%s is told a referer %s, want none", name, referer)
			}
			if r.URL.Path != "/end" {
				http.Redirect(w, r, *next, http.StatusFound)
			}
		}
	}
	var toSelf, toOther string
	other, _ := tlsServer(t, note("other", &toOther), upstream.ClientOptions{})
	srv, client := tlsServer(t, note("self", &toSelf), upstream.ClientOptions{}) // httptest has one certificate for all
	_, port, err := net.SplitHostPort(strings.TrimPrefix(other.URL, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, next, want string }{
		{"relative redirect", "/end", "me:pw"},
		{"absolute redirect to itself", srv.URL + "/end", "me:pw"},
		{"redirect to another port", "https://127.0.0.1:" + port + "/end", ":"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			clear(saw)
			toSelf = tt.next
			proxy := newProxy(t, strings.Replace(srv.URL, "://", "://me:pw@", 1), client)
			var body string
			if err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body)); err != nil {
				t.Fatal(err)
			}
			if got := saw["self/"+zipName]; got != "me:pw" {
				t.Errorf("upstream saw %q, want me:pw", got)
			}
			if got := saw["self/end"] + saw["other/end"]; got != tt.want {
				t.Errorf("target saw %q, want %q", got, tt.want)
			}
			if strings.Contains(proxy.Name(), "pw") || strings.Contains(proxy.Name(), "me") {
				t.Errorf("name %q shows credentials", proxy.Name())
			}
		})
	}
}

func TestHTTP2(t *testing.T) {
	var proto, how string
	srv, client := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		proto = r.Proto
		io.WriteString(w, "part")
		if how == "reset" {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler) // RST_STREAM with INTERNAL_ERROR
		}
	}, upstream.ClientOptions{})
	proxy := newProxy(t, srv.URL, client)
	var body string
	if err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body)); err != nil || body != "part" {
		t.Fatalf("body is %q, %v", body, err)
	}
	if proto != "HTTP/2.0" {
		t.Errorf("protocol is %s, want HTTP/2.0", proto)
	}
	how = "reset"
	err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
	if got := outcome("", err); got != "cut" {
		t.Errorf("outcome of a reset stream is %q, want cut (%v)", got, err)
	}
}

func TestDowngradeRefused(t *testing.T) {
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the http target was asked")
	}))
	defer plain.Close()
	srv, client := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/x?token=s3cret", http.StatusFound)
	}, upstream.ClientOptions{})
	var body string
	err := newProxy(t, srv.URL, client).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
	if got := outcome("", err); got != "invalid" {
		t.Errorf("outcome is %q, want invalid", got)
	}
	want := fmt.Sprintf("%s: bad answer for %s: redirect from https to %s/x refused", srv.URL, zipName, plain.URL)
	if err == nil || err.Error() != want {
		t.Errorf("error is %v, want %s", err, want)
	}
}

func TestThroughHTTPProxy(t *testing.T) {
	srv, _ := tlsServer(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "through") }, upstream.ClientOptions{})
	var connects []string
	refuse := false
	middle := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connects = append(connects, r.Method+" "+r.Host)
		if refuse {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		upstream.ServeConnect(w, r)
	}))
	defer middle.Close()
	middleURL, err := url.Parse(middle.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, client := tlsServer(t, nil, upstream.ClientOptions{ProxyFunc: http.ProxyURL(middleURL)})
	proxy := newProxy(t, srv.URL, client)
	var body string
	if err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body)); err != nil || body != "through" {
		t.Errorf("body is %q, %v", body, err)
	}
	if got, want := strings.Join(connects, " "), "CONNECT "+strings.TrimPrefix(srv.URL, "https://"); got != want {
		t.Errorf("proxy saw %q, want %q", got, want)
	}
	client.CloseIdleConnections()
	refuse = true
	connects = nil
	err = proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
	if want := "connect through HTTP proxy " + middleURL.Host + ": it answers 407 Proxy Authentication Required"; !upstream.Unreachable(err) ||
		!strings.Contains(err.Error(), want) {
		t.Errorf("error of a refused CONNECT is %v, want it unreachable and %q", err, want)
	}
	if len(connects) != 1 {
		t.Errorf("the proxy that refuses was asked %d times, want once", len(connects))
	}
	middle.Close()
	if err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body)); !upstream.Unreachable(err) {
		t.Errorf("error of a dead HTTP proxy is %v, want unreachable", err)
	}
}

func TestUnknownCA(t *testing.T) {
	srv := httptest.NewUnstartedServer(nil)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // it tells of the handshake that we want to fail
	srv.StartTLS()
	defer srv.Close()
	err := newProxy(t, srv.URL, newClient(t)).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, nil)
	if err == nil || upstream.Unreachable(err) || strings.Contains(err.Error(), "tries") {
		t.Errorf("error is %v, want one of a single try that is not unreachable", err)
	}
	var hint interface{ Hint() string }
	if !errors.As(err, &hint) || !strings.Contains(hint.Hint(), "network.ca_file") {
		t.Errorf("error %v does not hint at the CA file", err)
	}
}

func TestCAFile(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{empty, empty + ".missing"} {
		_, err := upstream.NewClient(upstream.ClientOptions{CAFile: file})
		var hint interface{ Hint() string }
		if !errors.As(err, &hint) {
			t.Errorf("%s: error is %v, want one with a hint", file, err)
		}
		if err != nil && !strings.Contains(err.Error(), file) {
			t.Errorf("error %q does not name the file", err)
		}
	}
}

func TestFileURL(t *testing.T) {
	folder := t.TempDir()
	name := filepath.Join(folder, filepath.FromSlash("example.com/m/@v/list"))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("v1.0.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fileURL := "file://" + "/" + strings.TrimPrefix(filepath.ToSlash(folder), "/")
	proxy := newProxy(t, fileURL, nil)
	var body string
	req := upstream.Request{Key: parseKey(t, "example.com/m/@v/list")}
	err := proxy.Fetch(t.Context(), req, func(key cache.Key, meta cache.Meta, r io.Reader) error {
		req.Meta = meta
		return collect(&body)(key, meta, r)
	})
	if err != nil || body != "v1.0.0\n" {
		t.Errorf("body is %q, %v", body, err)
	}
	if err := proxy.Fetch(t.Context(), req, nil); !errors.Is(err, upstream.ErrNotModified) {
		t.Errorf("error of an unchanged file is %v, want ErrNotModified", err)
	}
	err = proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
	if want := fileURL + "/" + zipName; !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), want) {
		t.Errorf("error is %v, want not found, naming %s", err, want)
	}
	if got, err := proxy.Get(t.Context(), "/example.com/m/@v/list"); err != nil || string(got) != "v1.0.0\n" {
		t.Errorf("Get = %q, %v", got, err)
	}
	// A folder is no answer.
	err = proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, "example.com/m/@latest")}, collect(&body))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want not found", err)
	}
}

func TestGet(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/sumdb/db.example/team/lookup/example.com/!m@v1.0.0":
			io.WriteString(w, "lines")
		case "/large":
			w.Write(make([]byte, 1<<20+1))
		case "/page":
			w.Header().Set("Content-Type", "text/html")
		default:
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	proxy := newProxy(t, srv.URL, newClient(t))
	got, err := proxy.Get(t.Context(), "/sumdb/db.example/team/lookup/example.com/!m@v1.0.0")
	if err != nil || string(got) != "lines" {
		t.Errorf("Get = %q, %v", got, err)
	}
	if _, err := proxy.Get(t.Context(), "sumdb/other/supported"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v, want not found", err)
	}
	for _, path := range []string{"large", "page"} {
		if got, err := proxy.Get(t.Context(), path); err == nil || !strings.Contains(err.Error(), srv.URL) {
			t.Errorf("Get(%s) = %d bytes, %v, want an error naming the upstream", path, len(got), err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := proxy.Get(ctx, "large"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}
