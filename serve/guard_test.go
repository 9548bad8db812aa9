package serve

import (
	"bufio"
	"context"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/mirror"
)

// TestHost sends each value of the Host header over a real connection. A page of
// another site that points its own name at 127.0.0.1 sends that name.
func TestHost(t *testing.T) {
	p := run(t, Options{AllowHosts: []string{"devbox.example", "tunnel.example:8443", "::2"}})
	p.keep(infoName, []byte(infoBody))
	_, port, _ := net.SplitHostPort(p.addr)
	other := strconv.Itoa(p.opts.Port + 1)
	for _, tc := range []struct {
		host string
		want int
	}{
		{"127.0.0.1:" + port, 200},
		{"localhost:" + port, 200},
		{"[::1]:" + port, 200},
		{"devbox.example:" + port, 200},
		{"tunnel.example:8443", 200},
		{"[::2]:" + port, 200},

		{"evil.example", 421},
		{"evil.example:" + port, 421},
		{"127.0.0.1.nip.io:" + port, 421},
		{"localhost.evil.example:" + port, 421},
		{"evil.localhost:" + port, 421},
		{"gomirror.local:" + port, 421},
		{"127.0.0.1", 421},
		{"localhost", 421},
		{"[::1]", 421},
		{"127.0.0.1:", 421},
		{"127.0.0.1:80", 421},
		{"127.0.0.1:" + other, 421},
		{"localhost:" + other, 421},
		{"127.0.0.1:0" + port, 421},
		{"127.0.0.1:" + port + "0", 421},
		{"0.0.0.0:" + port, 421},
		{"127.1:" + port, 421},
		{"127.0.0.2:" + port, 421},
		{"2130706433:" + port, 421},
		{"0x7f.0.0.1:" + port, 421},
		{"0177.0.0.1:" + port, 421},
		{"127.0.0.1.:" + port, 421},
		{"localhost.:" + port, 421},
		{"LOCALHOST:" + port, 421},
		{"Localhost:" + port, 421},
		{"[::ffff:127.0.0.1]:" + port, 421},
		{"[0:0:0:0:0:0:0:1]:" + port, 421},
		{"[::]:" + port, 421},
		{"::1:" + port, 421},
		{"192.168.1.1:" + port, 421},
		{"10.0.0.1:" + port, 421},
		{"tunnel.example:" + port, 421},
		{"devbox.example", 421},
		{"devbox.example.:" + port, 421},
		{"x.devbox.example:" + port, 421},
		{"", 421},
		{"127.0.0.1:" + port + " ", 200}, // HTTP strips it
		{"evil@127.0.0.1:" + port, 400},
		{"127.0.0.1:" + port + ",evil.example", 421},
		{"127.0.0.1:" + port + "/", 400}, // as the one above, net/http's own answer
	} {
		t.Run(tc.host, func(t *testing.T) {
			got, answer := p.raw("GET /t/" + testCapability + "/" + infoName + " HTTP/1.1\r\nHost: " + tc.host + "\r\nConnection: close\r\n\r\n")
			if got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
			if leaked := strings.Contains(answer, "v1.0.0"); leaked != (tc.want == 200) {
				t.Errorf("got %q", answer)
			}
			if tc.want == 421 && (!strings.Contains(answer, strconv.Quote(tc.host)) || !strings.Contains(answer, "--allow-host")) {
				t.Errorf("want the host and the setting named, got %q", answer)
			}
		})
	}
	if got := p.Stats().RefusedHost; got != 37 {
		t.Errorf("counted %d refusals, want 37", got)
	}
}

// TestRequestLines sends what http.Client would not.
func TestRequestLines(t *testing.T) {
	p := run(t, Options{})
	p.keep(infoName, []byte(infoBody))
	path := "/t/" + testCapability + "/" + infoName
	host := "Host: " + p.addr + "\r\n"
	const end = "Connection: close\r\n\r\n"
	for _, tc := range []struct {
		name, request string
		want          int
	}{
		{"as the go command", "GET " + path + " HTTP/1.1\r\n" + host + "User-Agent: Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n" + end, 200},
		{"two hosts", "GET " + path + " HTTP/1.1\r\n" + host + "Host: evil.example\r\n" + end, 400},
		{"two hosts, ours last", "GET " + path + " HTTP/1.1\r\nHost: evil.example\r\n" + host + end, 400},
		{"no host", "GET " + path + " HTTP/1.1\r\n" + end, 400},
		{"HTTP/1.0 without host", "GET " + path + " HTTP/1.0\r\n\r\n", 421},
		{"absolute, another host", "GET http://evil.example" + path + " HTTP/1.1\r\n" + host + end, 421},
		{"absolute over another host", "GET http://" + p.addr + path + " HTTP/1.1\r\nHost: evil.example\r\n" + end, 421},
		{"absolute, all ours", "GET http://" + p.addr + path + " HTTP/1.1\r\n" + host + end, 421},
		{"two slashes", "GET //evil.example" + path + " HTTP/1.1\r\n" + host + end, 404},
		{"CONNECT", "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n" + end, 421},
		{"CONNECT to us", "CONNECT " + p.addr + " HTTP/1.1\r\n" + host + end, 421},
		{"OPTIONS of all", "OPTIONS * HTTP/1.1\r\n" + host + end, 403},
		{"HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 421},
		{"h2c", "GET " + path + " HTTP/1.1\r\n" + host + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n" + end, 403},
		{"body", "GET " + path + " HTTP/1.1\r\n" + host + "Content-Length: 4\r\n" + end + "abcd", 403},
		{"chunked body", "GET " + path + " HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n" + end + "0\r\n\r\n", 403},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, answer := p.raw(tc.request)
			if got != tc.want || strings.Contains(answer, "v1.0.0") != (tc.want == 200) {
				t.Errorf("got %d, want %d: %q", got, tc.want, answer)
			}
		})
	}
}

// TestBrowser checks what only a browser sends, or a script in one.
func TestBrowser(t *testing.T) {
	p := run(t, Options{Hello: func(string) string { return "proof" }})
	p.keep(infoName, []byte(infoBody))
	for _, tc := range []struct {
		method, name, value string
		want                int
	}{
		{"GET", "User-Agent", "Mozilla/5.0", 200},
		{"GET", "Accept", "text/html", 200},
		{"GET", "Range", "bytes=0-", 206},
		{"GET", "Authorization", "Basic x", 200},
		{"HEAD", "Accept", "*/*", 200},
		{"GET", "Origin", "http://evil.example", 403},
		{"GET", "Origin", "null", 403},
		{"GET", "Origin", "", 403},
		{"GET", "origin", "http://127.0.0.1", 403},
		{"GET", "Referer", "http://evil.example/", 403},
		{"GET", "Cookie", "a=b", 403},
		{"GET", "Upgrade", "websocket", 403},
		{"GET", "Sec-Fetch-Site", "same-origin", 403},
		{"GET", "Sec-Fetch-Mode", "no-cors", 403},
		{"GET", "sec-fetch-dest", "image", 403},
		{"GET", "Sec-WebSocket-Key", "x", 403},
		{"GET", "Access-Control-Request-Method", "GET", 403},
		{"GET", "Access-Control-Request-Private-Network", "true", 403},
		{"OPTIONS", "Accept", "*/*", 403},
		{"POST", "Content-Type", "text/plain", 403},
		{"PUT", "Accept", "*/*", 403},
		{"DELETE", "Accept", "*/*", 403},
		{"TRACE", "Accept", "*/*", 403},
		{"PATCH", "Accept", "*/*", 403},
		{"PROPFIND", "Accept", "*/*", 403},
		{"get", "Accept", "*/*", 403},
	} {
		for _, url := range []string{p.url(infoName), "http://" + p.addr + "/-/hello?n=00"} {
			t.Run(tc.method+" "+tc.name+" "+tc.value, func(t *testing.T) {
				resp, body := p.get(tc.method, url, tc.name, tc.value)
				want := tc.want
				if want == 206 && strings.Contains(url, "hello") {
					want = 200
				}
				if resp.StatusCode != want {
					t.Errorf("got %s, want %d", resp.Status, want)
				}
				if text := string(body); want == 403 && (!strings.Contains(text, "refuses browsers") || strings.Contains(text, "proof")) {
					t.Errorf("got %q", text)
				}
			})
		}
	}
	if got := p.Stats().RefusedHeader; got != 2*21 {
		t.Errorf("counted %d refusals, want 42", got)
	}
}

// TestSecurityHeaders checks every kind of answer there is.
func TestSecurityHeaders(t *testing.T) {
	p := run(t, Options{HopID: "abc", Hello: func(string) string { return "proof" }})
	p.keep(infoName, []byte(infoBody))
	for _, tc := range []struct {
		name, method, url string
		header            []string
		want              int
	}{
		{"answer", "GET", p.url(infoName), nil, 200},
		{"part", "GET", p.url(infoName), []string{"Range", "bytes=0-1"}, 206},
		{"bad part", "GET", p.url(infoName), []string{"Range", "bytes=999-"}, 416},
		{"head", "HEAD", p.url(infoName), nil, 200},
		{"no such module", "GET", p.url(modName), nil, 404},
		{"unknown path", "GET", "http://" + p.addr + "/", nil, 404},
		{"hello", "GET", "http://" + p.addr + "/-/hello?n=00", nil, 200},
		{"another host", "GET", strings.Replace(p.url(infoName), "127.0.0.1", "127.0.0.1", 1), []string{"Origin", "null"}, 403},
		{"preflight", "OPTIONS", p.url(infoName), []string{"Access-Control-Request-Method", "GET", "Origin", "http://evil.example"}, 403},
		{"loop", "GET", p.url(infoName), []string{"Gomirror-Hop", "abc"}, 508},
	} {
		t.Run(tc.name, func(t *testing.T) {
			resp, _ := p.get(tc.method, tc.url, tc.header...)
			if resp.StatusCode != tc.want {
				t.Errorf("got %s, want %d", resp.Status, tc.want)
			}
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'", "Cross-Origin-Resource-Policy": "same-origin",
			} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") || name == "Location" || name == "Set-Cookie" || name == "Server" {
					t.Errorf("got the header %s", name)
				}
			}
		})
	}
}

// FuzzGuard reads random requests as net/http does. Whatever they are, nothing is
// looked up without an exact host, the capability and the looks of the go command.
func FuzzGuard(f *testing.F) {
	const path = "/t/" + testCapability + "/" + infoName
	f.Add("GET", path, "127.0.0.1:24000", "Accept", "*/*")
	f.Add("HEAD", path, "[::1]:24000", "Gomirror-Hop", "x")
	f.Add("GET", path, "evil.example", "Accept", "*/*")
	f.Add("GET", path, "localhost:24000", "Origin", "null")
	f.Add("GET", "http://127.0.0.1:24000"+path, "evil.example", "A", "b")
	f.Add("GET", "/t/"+strings.Repeat("0", 32)+"/"+infoName, "localhost:24000", "A", "b")
	f.Add("GET", "/t%2f"+testCapability+"/example.com%2fm/@v/list", "localhost:24000", "A", "b")
	f.Add("POST", path, "127.0.0.1:24000", "Content-Length", "0")
	f.Add("GET", path, "127.0.0.1:24000\r\nHost: x", "Transfer-Encoding", "chunked")
	f.Add("GET", "/-/hello?n=00", "127.0.0.1:24000", "Sec-Fetch-Site", "none")
	hosts := []string{"127.0.0.1:24000", "localhost:24000", "[::1]:24000"}
	f.Fuzz(func(t *testing.T, method, target, host, name, value string) {
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(
			method + " " + target + " HTTP/1.1\r\nHost: " + host + "\r\n" + name + ": " + value + "\r\n\r\n")))
		if err != nil {
			return
		}
		var looked, proved bool
		s, err := New(Options{Capability: testCapability, Port: testPort,
			Get: func(_ context.Context, key cache.Key) (*mirror.Answer, error) {
				looked = true
				if again, err := cache.ParseKey(key.String()); err != nil || again != key {
					t.Errorf("looked up %q, which is not a key: %v", key, err)
				}
				return nil, fs.ErrNotExist
			},
			SumDB: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { looked = true }),
			Hello: func(string) string { proved = true; return "" },
		})
		if err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.ServeHTTP(w, req)
		exact := slices.Contains(hosts, req.Host) && strings.HasPrefix(req.RequestURI, "/")
		browser := req.Method != "GET" && req.Method != "HEAD"
		for header := range req.Header {
			lower := strings.ToLower(header)
			browser = browser || slices.Contains([]string{"origin", "referer", "cookie", "upgrade"}, lower) ||
				strings.HasPrefix(lower, "sec-fetch-") || strings.HasPrefix(lower, "access-control-")
		}
		if (looked || proved) && (!exact || browser) {
			t.Errorf("let %s %q of %q through with %q", req.Method, req.RequestURI, req.Host, req.Header)
		}
		if looked && !strings.HasPrefix(req.URL.Path, "/t/"+testCapability+"/") {
			t.Errorf("looked up %q without the capability", req.RequestURI)
		}
		if !looked && !proved && w.Code < 400 {
			t.Errorf("got %d for %q", w.Code, req.RequestURI)
		}
		if w.Header().Get("X-Content-Type-Options") == "" {
			t.Errorf("got %d without security headers", w.Code)
		}
	})
}
