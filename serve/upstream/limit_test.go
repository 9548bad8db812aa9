package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
			client := &http.Client{Transport: limitHosts(transport)}
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
			if left := len(client.Transport.(*hostLimits).hosts); left > 0 {
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
		}))
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
		if _, err := ask(short, "http://a/x"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("with %d in flight: %v, want one to wait", hostLimit, err)
		}
		for _, body := range bodies {
			body.Close()
			body.Close() // gives one place back
		}
		if len(limits.hosts) > 0 {
			t.Errorf("%d hosts are remembered, want none", len(limits.hosts))
		}
	})
}
