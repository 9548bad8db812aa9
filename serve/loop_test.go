package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gomirror/gomirror/serve/sumdb"
	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/mod/sumdb/note"
)

// TestRelayLoop has an upstream that sends everything back to us.
func TestRelayLoop(t *testing.T) {
	for _, tc := range []struct {
		path   string
		status int
		hops   int64
	}{
		{"supported", 200, 0},
		{"latest", 502, 1},
		{"tile/8/0/000", 502, 1},
		{"lookup/example.com/a@v1.0.0", 502, 1},
	} {
		t.Run(tc.path, func(t *testing.T) {
			const hopID = "abc"
			var forwarded atomic.Int64
			var back *url.URL
			forwarder := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				forwarded.Add(1)
				r.SetURL(back) // and its Host
				r.Out.Header.Del("X-Forwarded-For")
			}})
			t.Cleanup(forwarder.Close)
			u, err := url.Parse(forwarder.URL)
			if err != nil {
				t.Fatal(err)
			}
			_, key, err := note.GenerateKey(rand.Reader, "sum.example.com")
			if err != nil {
				t.Fatal(err)
			}
			alone := &http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: errors.New("no network in this test")}
			}}}
			d, err := sumdb.New(sumdb.Options{
				GOSUMDB: key, StateDir: t.TempDir(), CacheDir: t.TempDir(), Client: alone, HopID: hopID,
				Remotes: func() []sumdb.Remote { return []sumdb.Remote{upstream.NewProxy(u, forwarder.Client(), hopID)} },
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { d.Close() })
			p := run(t, Options{HopID: hopID, SumDB: d})
			if back, err = url.Parse(p.url("")); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			resp, body := p.get("GET", p.url("sumdb/sum.example.com/"+tc.path))
			if resp.StatusCode != tc.status || forwarded.Load() != tc.hops {
				t.Errorf("got %s after %d hops, want %d after %d: %s", resp.Status, forwarded.Load(), tc.status, tc.hops, body)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
