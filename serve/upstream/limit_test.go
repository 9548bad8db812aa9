package upstream

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHostLimit(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(proto, func(t *testing.T) {
			var now, most, conns atomic.Int64
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n := now.Add(1)
				defer now.Add(-1)
				for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
				}
				if r.Proto != proto {
					t.Errorf("protocol is %s, want %s", r.Proto, proto)
				}
				if n == 1 { // until others are here: there is a crowd then
					for range 200 {
						if now.Load() > 1 {
							break
						}
						<-time.After(time.Millisecond)
					}
				}
				<-time.After(2 * time.Millisecond)
				io.WriteString(w, "answer")
			}))
			srv.EnableHTTP2 = proto == "HTTP/2.0"
			srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns.Add(1)
				}
			}
			srv.StartTLS()
			defer srv.Close()
			transport := srv.Client().Transport.(*http.Transport)
			transport.MaxConnsPerHost, transport.MaxIdleConnsPerHost = hostConns, hostConns
			client := &http.Client{Transport: limitHosts(transport, nil)}
			var all sync.WaitGroup
			for range 200 {
				all.Go(func() {
					resp, err := client.Get(srv.URL)
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					io.Copy(io.Discard, resp.Body)
				})
			}
			all.Wait()
			if most.Load() > hostLimit || most.Load() < 2 {
				t.Errorf("%d in flight at most, want 2 to %d", most.Load(), hostLimit)
			}
			if conns.Load() > hostConns {
				t.Errorf("%d connections, want %d at most", conns.Load(), hostConns)
			}
			t.Logf("%d in flight, %d connections", most.Load(), conns.Load())
			if left := len(client.Transport.(*hostLimits).hosts.used); left > 0 {
				t.Errorf("%d hosts are remembered, want none", left)
			}
		})
	}
}

// trip is a transport that answers at once.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestHostLimitPlaces(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) { testHostLimitPlaces(t, 1, hostBackgroundConns) })
	t.Run("HTTP/2", func(t *testing.T) { testHostLimitPlaces(t, 2, hostBackground) })
}

func testHostLimitPlaces(t *testing.T, major, background int) {
	synctest.Test(t, func(t *testing.T) {
		fail := errors.New("reset")
		limits := limitHosts(trip(func(req *http.Request) (*http.Response, error) {
			if req.URL.Path == "/fail" {
				return nil, fail
			}
			return &http.Response{ProtoMajor: major, Body: http.NoBody}, nil
		}), nil)
		ask := func(ctx context.Context, url string) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			return limits.RoundTrip(req)
		}
		for range 2 * hostLimit {
			if _, err := ask(t.Context(), "http://a/fail"); err != fail {
				t.Fatalf("error is %v, want that of the transport", err)
			}
		}
		ahead := Background(t.Context())
		var bodies []io.Closer
		for i := range hostLimit {
			ctx := t.Context()
			if i >= hostFirst { // the rest is for what is asked again
				in, end := context.WithTimeout(ctx, time.Second)
				if _, err := ask(in, "http://a/x"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("with %d in flight: %v, want one to wait", i, err)
				}
				end()
				ctx = withSpare(ctx)
			}
			if i > 0 && i <= background { // the first tells the protocol
				ctx = ahead
			}
			resp, err := ask(ctx, "http://a/x")
			if err != nil {
				t.Fatal(err)
			}
			bodies = append(bodies, resp.Body)
			if i == background { // no more of these, but of the others
				in, end := context.WithTimeout(ahead, time.Second)
				if _, err := ask(in, "http://a/x"); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("with %d in the background: %v, want one to wait", background, err)
				}
				end()
			}
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if resp, err := ask(short, "http://b/x"); err != nil {
			t.Errorf("another host: %v", err)
		} else {
			resp.Body.Close()
		}
		if _, err := ask(withSpare(short), "http://a/x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with %d in flight: %v, want one to wait", hostLimit, err)
		}
		for _, body := range bodies {
			body.Close()
			body.Close() // gives one place back
		}
		if len(limits.hosts.used) > 0 {
			t.Errorf("%d hosts are remembered, want none", len(limits.hosts.used))
		}
	})
}

// crowdCount counts what is there at once.
type crowdCount struct{ now, most atomic.Int64 }

func (c *crowdCount) enter() {
	n := c.now.Add(1)
	for old := c.most.Load(); n > old && !c.most.CompareAndSwap(old, n); old = c.most.Load() {
	}
}

// leavingConn is a connection that leaves a crowd.
type leavingConn struct {
	net.Conn
	leave func()
}

func (c *leavingConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// tunnelTo starts an HTTP proxy.
func tunnelTo(t *testing.T) *url.URL {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(ServeConnect))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// ServeConnect is what an HTTP proxy does. It is the tests' alone.
func ServeConnect(w http.ResponseWriter, r *http.Request) {
	out, err := net.Dial("tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway) // a dial may outlive its request, and the host
		return
	}
	defer out.Close()
	w.WriteHeader(http.StatusOK)
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return // the client has left
	}
	defer in.Close()
	go func() { // ends with out
		io.Copy(out, buffered)
		out.Close()
	}()
	io.Copy(in, out)
}

// TestClientLimits holds the whole client to what the README says of it: requests that are
// asked again and an HTTP proxy before several hosts change nothing about it.
func TestClientLimits(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		for _, through := range []bool{false, true} {
			t.Run(fmt.Sprintf("h2=%v/proxy=%v", h2, through), func(t *testing.T) {
				var requests, conns crowdCount
				hosts := 1
				opts := ClientOptions{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := new(net.Dialer).DialContext(ctx, network, addr)
					if err != nil {
						return nil, err
					}
					conns.enter()
					return &leavingConn{conn, sync.OnceFunc(func() { conns.now.Add(-1) })}, nil
				}}
				if through {
					hosts, opts.ProxyFunc = 3, http.ProxyURL(tunnelTo(t))
				}
				var urls []string
				var roots []byte
				for range hosts {
					srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						requests.enter()
						defer requests.now.Add(-1)
						time.Sleep(2 * time.Millisecond)
						io.WriteString(w, "answer")
					}))
					srv.EnableHTTP2 = h2
					srv.StartTLS()
					t.Cleanup(srv.Close)
					urls = append(urls, srv.URL)
					roots = append(roots, encodeCertificate(srv.Certificate())...)
				}
				opts.CAFile = filepath.Join(t.TempDir(), "ca.pem")
				if err := os.WriteFile(opts.CAFile, roots, 0o600); err != nil {
					t.Fatal(err)
				}
				client, err := NewClient(opts)
				if err != nil {
					t.Fatal(err)
				}
				defer client.CloseIdleConnections()
				var all sync.WaitGroup
				for i := range 600 {
					all.Go(func() {
						ctx := t.Context()
						if i%2 == 1 { // asked again
							ctx = withSpare(ctx)
						}
						req, err := http.NewRequestWithContext(ctx, http.MethodGet, urls[i%len(urls)], nil)
						if err != nil {
							t.Error(err)
							return
						}
						resp, err := client.Do(req)
						if err != nil {
							t.Error(err)
							return
						}
						defer resp.Body.Close()
						io.Copy(io.Discard, resp.Body)
					})
				}
				all.Wait()
				if n := requests.most.Load(); n > 64 || n < 2 {
					t.Errorf("%d requests in flight at most, want 2 to 64", n)
				}
				if n := conns.most.Load(); n > 12 || n < 2 {
					t.Errorf("%d connections at most, want 2 to 12", n)
				}
				t.Logf("%d in flight, %d connections", requests.most.Load(), conns.most.Load())
			})
		}
	}
}

func encodeCertificate(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}

// TestConnLimit has connections that nobody uses make room for one to another target.
func TestConnLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var idle []net.Conn
		limits := limitConns(2)
		limits.idle = func() {
			for _, conn := range idle {
				conn.Close()
			}
			idle = nil
		}
		dial := limits.wrap(func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			t.Cleanup(func() { far.Close() })
			return near, nil
		})
		var conns []net.Conn
		for range 2 {
			conn, err := dial(t.Context(), "tcp", "proxy:3128")
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := dial(short, "tcp", "proxy:3128"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a third connection: %v, want it to wait", err)
		}
		if conn, err := dial(t.Context(), "tcp", "other:3128"); err != nil {
			t.Errorf("another address: %v", err)
		} else {
			conn.Close()
		}
		idle = conns[:1]
		conn, err := dial(t.Context(), "tcp", "proxy:3128")
		if err != nil {
			t.Fatalf("with one idle: %v", err)
		}
		conn.Close()
		conn.Close() // gives one place back
		conns[1].Close()
		if len(limits.addrs.used) > 0 {
			t.Errorf("%d addresses are remembered, want none", len(limits.addrs.used))
		}
	})
}
