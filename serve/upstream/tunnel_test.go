package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/githosttest"
)

func TestInner(t *testing.T) {
	t.Parallel()
	tests := []struct {
		addr  string
		inner bool
	}{
		{"8.8.8.8", false},
		{"203.0.113.9", false},
		{"198.18.0.7", false}, // "fake IP" proxies
		{"2606:4700::1111", false},
		{"64:ff9b::8.8.8.8", false},
		{"100.128.0.1", false},
		{"172.32.0.1", false},
		{"127.0.0.1", true},
		{"127.8.9.1", true},
		{"::1", true},
		{"::ffff:127.0.0.1", true},
		{"::127.0.0.1", true},
		{"::ffff:10.0.0.1", true},
		{"10.0.0.1", true},
		{"172.16.0.1", true},
		{"192.168.1.1", true},
		{"100.64.0.1", true},
		{"100.100.100.200", true}, // a cloud's metadata
		{"169.254.169.254", true},
		{"192.0.0.192", true}, // a cloud's metadata
		{"0.0.0.0", true},
		{"0.1.2.3", true},
		{"255.255.255.255", true},
		{"240.0.0.1", true},
		{"224.0.0.1", true},
		{"::", true},
		{"fe80::1", true},
		{"fe80::1%eth0", true},
		{"2606:4700::1111%eth0", true},
		{"fd00:ec2::254", true},
		{"fec0::1", true},
		{"ff02::1", true},
		{"64:ff9b::169.254.169.254", true},
		{"64:ff9b:1::1", true},
		{"2002:7f00:1::", true},
		{"2002:a00:1::", true},
	}
	for _, tt := range tests {
		if got := inner(netip.MustParseAddr(tt.addr)); (got != "") != tt.inner {
			t.Errorf("inner(%s) = %q, want inner: %t", tt.addr, got, tt.inner)
		}
	}
}

func TestRefuseLiteral(t *testing.T) {
	t.Parallel()
	tests := []struct {
		host   string
		refuse bool
	}{
		{"github.com", false},
		{"github.com.", false},
		{"8.8.8.8", false},
		{"localhost", true},
		{"LocalHost.", true},
		{"a.localhost", true},
		{"127.0.0.1", true},
		{"127.1", true},
		{"2130706433", true},
		{"0x7f.1", true},
		{"0x7f000001", true},
		{"::ffff:127.0.0.1", true},
		{"", true},
	}
	for _, tt := range tests {
		if err := refuseLiteral(tt.host); (err != nil) != tt.refuse {
			t.Errorf("refuseLiteral(%q) = %v, want refused: %t", tt.host, err, tt.refuse)
		}
	}
}

// through sends one CONNECT to a tunnel, and returns the status and the connection.
func through(t *testing.T, tunnel *Tunnel, user *url.Userinfo, target string) (int, string, net.Conn) {
	t.Helper()
	conn, err := net.Dial("tcp", tunnel.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: target}, Host: target, Header: make(http.Header)}
	if user != nil {
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.String())))
	}
	if err := request.Write(conn); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), request)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode == http.StatusOK {
		return response.StatusCode, "", conn
	}
	body, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(body), conn
}

func TestTunnelAnswers(t *testing.T) {
	t.Parallel()
	echo := newEcho(t)
	var mu sync.Mutex
	var dialled []string
	lookups := 0
	tunnel, err := NewTunnel(TunnelOptions{
		Trusted: func(host string) bool { return host == "ghe.corp.example" },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			switch host {
			case "public.example":
				return []netip.Addr{netip.MustParseAddr("203.0.113.1")}, nil
			case "private.example":
				return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
			case "mixed.example":
				return []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("203.0.113.2")}, nil
			case "flips.example": // inner from the second time on
				mu.Lock()
				defer mu.Unlock()
				if lookups++; lookups > 1 {
					return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
				}
				return []netip.Addr{netip.MustParseAddr("203.0.113.3")}, nil
			}
			return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			mu.Lock()
			dialled = append(dialled, addr)
			mu.Unlock()
			if strings.HasPrefix(addr, "8.8.4.4") {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
			}
			return new(net.Dialer).DialContext(ctx, network, echo)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	pass := tunnel.open()
	t.Cleanup(pass.hangUp)
	good := url.UserPassword(pass.id, pass.secret)
	tests := []struct {
		name   string
		user   *url.Userinfo
		target string
		code   int
		dial   string // address that was dialled, "" for none
		text   string // in the answer
	}{
		{"no password", nil, "public.example:443", 407, "", ""},
		{"wrong password", url.UserPassword(pass.id, "x"), "public.example:443", 407, "", ""},
		{"wrong name", url.UserPassword("x", pass.secret), "public.example:443", 407, "", ""},
		{"public host", good, "public.example:443", 200, "203.0.113.1:443", ""},
		{"another port", good, "public.example:8443", 200, "203.0.113.1:8443", ""},
		{"trusted host", good, "ghe.corp.example:443", 200, "ghe.corp.example:443", ""},
		{"private host", good, "private.example:443", 403, "", "refuse to connect to private.example"},
		{"one address is public", good, "mixed.example:443", 200, "203.0.113.2:443", ""},
		{"name that flips", good, "flips.example:443", 200, "203.0.113.3:443", ""},
		{"name that has flipped", good, "flips.example:443", 403, "", "an address of this host"},
		{"loopback", good, "127.0.0.1:443", 403, "", "an address of this host"},
		{"mapped loopback", good, "[::ffff:127.0.0.1]:443", 403, "", "an address of this host"},
		{"short loopback", good, "127.1:443", 403, "", "neither a name nor a plain address"},
		{"metadata service", good, "169.254.169.254:443", 403, "", "a link's inner address"},
		{"unknown host", good, "nowhere.example:443", 502, "", "no such host"},
		{"nothing listens", good, "8.8.4.4:443", 502, "8.8.4.4:443", "connection refused"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mu.Lock()
			dialled = nil
			mu.Unlock()
			code, text, conn := through(t, tunnel, tt.user, tt.target)
			if code != tt.code || !strings.Contains(text, tt.text) {
				t.Errorf("got %d %q, want %d with %q", code, text, tt.code, tt.text)
			}
			mu.Lock()
			if got, want := strings.Join(dialled, " "), tt.dial; got != want {
				t.Errorf("dialled %q, want %q", got, want)
			}
			mu.Unlock()
			if code != 200 {
				return
			}
			if got := say(t, conn, "hello"); got != "hello" {
				t.Errorf("through the tunnel came %q, want the echo", got)
			}
		})
	}
	if err := pass.failure(); err == nil || !strings.Contains(err.Error(), "private.example") {
		t.Errorf("first failure is %v, want that of private.example", err)
	}
	if got, want := pass.moves(), int64(4*2*len("hello")); got < want {
		t.Errorf("counted %d bytes, want %d at least", got, want)
	}
}

func TestTunnelRefusesPlainHTTP(t *testing.T) {
	t.Parallel()
	tunnel := newTestTunnel(t, githosttest.New(t))
	pass := tunnel.open()
	defer pass.hangUp()
	proxy, err := url.Parse(pass.proxyURL())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
	response, err := client.Get("http://github.com/acme/mod?go-get=1")
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("got %s, want 405", response.Status)
	}
}

func TestTunnelHangUp(t *testing.T) {
	t.Parallel()
	echo := newEcho(t)
	tunnel, err := NewTunnel(TunnelOptions{
		Trusted: func(string) bool { return true },
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, echo)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]func(p *pass){
		"pass":   (*pass).hangUp,
		"tunnel": func(*pass) { tunnel.Close() },
	}
	for _, name := range []string{"pass", "tunnel"} { // the tunnel last
		t.Run(name, func(t *testing.T) {
			pass := tunnel.open()
			user := url.UserPassword(pass.id, pass.secret)
			_, _, conn := through(t, tunnel, user, "host.example:443")
			if got := say(t, conn, "hello"); got != "hello" {
				t.Fatalf("got %q, want the echo", got)
			}
			ends[name](pass)
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("connection goes on: %v, want it closed", err)
			}
			if tunnel.admit("Basic "+base64.StdEncoding.EncodeToString([]byte(user.String()))) != nil {
				t.Error("pass is still good, want it gone")
			}
		})
	}
}

func TestTunnelThroughParent(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	var mu sync.Mutex
	var seen []string
	parent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
		mu.Lock()
		seen = append(seen, fmt.Sprintf("%s %s %s:%s", r.Method, r.Host, user, password))
		mu.Unlock()
		if r.Host == "blocked.example.org:443" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		far, err := host.Dial(r.Context(), "tcp", r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { // ends with either side
			_, _ = io.Copy(far, near)
			far.Close()
		}()
		_, _ = io.Copy(near, far)
		near.Close()
	}))
	t.Cleanup(parent.Close)
	u, err := url.Parse(parent.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("me", "pw")
	tunnel, err := NewTunnel(TunnelOptions{ProxyFunc: func(*http.Request) (*url.URL, error) { return u, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tunnel.Close() })
	d := newTestDirect(t, host, func(o *DirectOptions) { o.Tunnel = tunnel })
	if err := d.Fetch(t.Context(), Request{Key: directKey(t, "github.com/acme/mod/@v/v1.0.0.mod")}, new(basket).sink); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	if !slices.Contains(seen, "CONNECT github.com:443 me:pw") {
		t.Errorf("parent saw %v, want CONNECT github.com:443 with the password", seen)
	}
	seen = nil
	mu.Unlock()

	err = d.Fetch(t.Context(), Request{Key: directKey(t, "blocked.example.org/mod/@latest")}, new(basket).sink)
	if err == nil || !strings.Contains(err.Error(), "it answers 403") || strings.Contains(err.Error(), "pw") {
		t.Errorf("got %v, want the parent's 403 and no password", err)
	}
	mu.Lock()
	seen = nil
	mu.Unlock()
	pass := tunnel.open()
	defer pass.hangUp()
	if code, _, _ := through(t, tunnel, url.UserPassword(pass.id, pass.secret), "169.254.169.254:443"); code != http.StatusForbidden {
		t.Errorf("metadata service through the parent: got %d, want 403", code)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(seen) != 0 {
		t.Errorf("parent saw %v, want nothing", seen)
	}
}

// TestTunnelCarriesTLS uses the tunnel as the go command does.
func TestTunnelCarriesTLS(t *testing.T) {
	t.Parallel()
	host := githosttest.New(t)
	modules(t, host)
	tunnel := newTestTunnel(t, host)
	pass := tunnel.open()
	defer pass.hangUp()
	ca, err := os.ReadFile(host.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	proxy, _ := url.Parse(pass.proxyURL())
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}}
	response, err := client.Get("https://github.com/acme/mod/info/refs?service=git-upload-pack")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || !strings.Contains(string(body), "refs/tags/v1.0.0") {
		t.Errorf("got %q (%v), want the refs", body, err)
	}
	if at, byGo := pass.progress(); !byGo || time.Since(at) > time.Minute {
		t.Errorf("progress is %v by go: %t, want now, by go", at, byGo)
	}
}

// newEcho starts a server that says back what it hears.
func newEcho(t *testing.T) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() { // ends with the test
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() { // ends with its connection
				_, _ = io.Copy(conn, conn)
				conn.Close()
			}()
		}
	}()
	return listener.Addr().String()
}

// say writes text to an echo and returns what comes back.
func say(t *testing.T, conn net.Conn, text string) string {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		t.Fatal(err)
	}
	return string(got)
}
