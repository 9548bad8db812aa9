package upstream_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// An upstream that redirects chooses a host for us. Only what a stranger could reach
// too is dialled: 0 connections to inner addresses, whatever their spelling.
func TestRedirectToInnerAddress(t *testing.T) {
	target := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "v1.0.0\n")
	}))
	defer target.Close()
	_, port, _ := net.SplitHostPort(target.Listener.Addr().String())

	tests := []struct {
		name, host string
		resolves   string // what the name look-up says of it
		trusted    string
		want       string // dialled address, "" for none
		mirror     string // address of the mirror, "" for a public one
	}{
		{"loopback", "127.0.0.1", "", "", "", ""},
		{"loopback by name", "localhost", "", "", "", ""},
		{"loopback in IPv6 clothes", "[::ffff:127.0.0.1]", "", "", "", ""},
		{"short form", "127.1", "", "", "", ""},
		{"hexadecimal", "0x7f.1", "", "", "", ""},
		{"metadata service", "169.254.169.254", "", "", "", ""},
		{"private address behind a name", "cdn.example.com", "10.0.0.1", "", "", ""},
		{"metadata service behind a name", "cdn.example.com", "169.254.169.254", "", "", ""},
		{"unique local address behind a name", "cdn.example.com", "fd00:ec2::254", "", "", ""},
		{"public host", "cdn.example.com", "198.51.100.7", "", "198.51.100.7", ""},
		{"inner host that the user has named", "store.corp", "10.0.0.1", "store.corp", "store.corp", ""},
		{"inner mirror, inner host", "store.corp", "10.0.0.1", "", "store.corp", "10.0.0.9"},
		{"inner mirror, metadata service", "169.254.169.254", "", "", "", "10.0.0.9"},
		{"inner mirror, metadata service behind a name", "store.corp", "169.254.169.254", "", "", "10.0.0.9"},
		{"inner mirror, metadata service in IPv6", "store.corp", "fd00:ec2::254", "", "", "10.0.0.9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "http://"+tt.host+":"+port+"/list", http.StatusFound)
			}))
			defer mirror.Close()
			var mu sync.Mutex
			var dialled []string
			client, err := upstream.NewClient(upstream.ClientOptions{
				Trusted: func(host string) bool { return host == tt.trusted },
				Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
					if host == "mirror.example.com" {
						return []netip.Addr{netip.MustParseAddr(cmp.Or(tt.mirror, "198.51.100.1"))}, nil
					}
					if tt.resolves == "" {
						return nil, fmt.Errorf("look-up of %s", host)
					}
					return []netip.Addr{netip.MustParseAddr(tt.resolves)}, nil
				},
				Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					var d net.Dialer
					if strings.HasPrefix(addr, "mirror.example.com:") {
						return d.DialContext(ctx, network, mirror.Listener.Addr().String())
					}
					mu.Lock()
					defer mu.Unlock()
					dialled = append(dialled, strings.TrimSuffix(addr, ":"+port))
					return d.DialContext(ctx, network, target.Listener.Addr().String())
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			key, err := cache.ParseKey("example.com/m/@v/list")
			if err != nil {
				t.Fatal(err)
			}
			entries, err := upstream.ParseList("http://mirror.example.com:80")
			if err != nil {
				t.Fatal(err)
			}
			chain, err := upstream.NewChain(upstream.ChainOptions{Entries: entries, Client: client})
			if err != nil {
				t.Fatal(err)
			}
			err = chain.Fetch(t.Context(), upstream.Request{Key: key}, func(_ cache.Key, _ cache.Meta, body io.Reader) error {
				_, err := io.Copy(io.Discard, body)
				return err
			})
			if got := strings.Join(dialled, " "); got != tt.want {
				t.Errorf("dialled %q, want %q", got, tt.want)
			}
			if tt.want == "" && (err == nil || !strings.Contains(err.Error(), "refuse to connect to") || upstream.Unreachable(err)) {
				t.Errorf("got error %v, want the refusal, which is not that nobody is there", err)
			}
			if tt.want != "" && err != nil {
				t.Error(err)
			}
		})
	}
}

// TestConfiguredHostIsLookedUpOnce has a mirror redirect each request to a host beside it.
func TestConfiguredHostIsLookedUpOnce(t *testing.T) {
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "v1.0.0\n") }))
	defer files.Close()
	_, port, _ := net.SplitHostPort(files.Listener.Addr().String())
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://files.corp:"+port+"/list", http.StatusFound)
	}))
	defer mirror.Close()
	var looks atomic.Int64
	client, err := upstream.NewClient(upstream.ClientOptions{
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host == "mirror.corp" && looks.Add(1) == 1 {
				return nil, errors.New("the resolver restarts") // which is no answer to keep
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		},
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			to := files
			if strings.HasPrefix(addr, "mirror.corp:") {
				to = mirror
			}
			return new(net.Dialer).DialContext(ctx, network, to.Listener.Addr().String())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		resp, err := client.Get("http://mirror.corp/list")
		if (err == nil) != (i > 0) {
			t.Errorf("request %d: %v", i, err)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
	if n := looks.Load(); n != 2 {
		t.Errorf("the mirror was looked up %d times, want once more after the fault", n)
	}
}
