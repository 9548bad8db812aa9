package upstream_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// script is a host whose nth request is answered by the nth handler, and all later
// ones by the last. It notes when each came, and which connection it came over.
type script struct {
	mu    sync.Mutex
	steps []http.HandlerFunc
	start time.Time
	at    []time.Duration
	conns []string
	left  int // requests under way

	client *http.Client
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	step := s.steps[min(len(s.at), len(s.steps)-1)]
	s.at = append(s.at, time.Since(s.start).Round(time.Second))
	s.conns = append(s.conns, fmt.Sprint(r.Context().Value(connKey{})))
	s.left++
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.left--
		s.mu.Unlock()
	}()
	step(w, r)
}

// asked returns how many requests there were.
func (s *script) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.at)
}

type connKey struct{}

// text answers with a text.
func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) }
}

// inBubble runs f with a client for the script as http://a, or over TLS and HTTP/2 as
// https://a, in a bubble: f must leave nothing running.
func inBubble(t *testing.T, scheme string, steps []http.HandlerFunc, f func(*testing.T, *script, *upstream.Proxy)) {
	t.Helper()
	tlsSrv := httptest.NewTLSServer(nil) // has a certificate
	tlsSrv.Close()
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tlsSrv.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := &script{steps: steps, start: time.Now()}
		conns := make(chan net.Conn)
		listener := &pipeListener{conns: conns, closed: make(chan struct{})}
		listener.close = sync.OnceFunc(func() { close(listener.closed) })
		made := 0
		srv := &http.Server{Handler: s, ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			made++ // one goroutine accepts
			return context.WithValue(ctx, connKey{}, made)
		}}
		if scheme == "https" {
			srv.TLSConfig = &tls.Config{Certificates: tlsSrv.TLS.Certificates}
			go srv.ServeTLS(listener, "", "") // ends with Close
		} else {
			go srv.Serve(listener) // ends with Close
		}
		defer srv.Close()
		client, err := upstream.NewClient(upstream.ClientOptions{CAFile: caFile, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			near, far := net.Pipe()
			select {
			case conns <- far:
				return near, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		s.client = client
		f(t, s, newProxy(t, scheme+"://example.com", client))
	})
}

// A silent upstream is asked again beside the first request, over another connection,
// three times at once.
func TestSilentUpstreamIsAskedAgain(t *testing.T) {
	hang := silent(0)
	after := func(d time.Duration, then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			wait(r, d)
			then(w, r)
		}
	}
	s := time.Second
	tests := []struct {
		name  string
		steps []http.HandlerFunc
		at    []time.Duration // of the requests
		took  time.Duration
		want  string // outcome
	}{
		{"it answers in time", []http.HandlerFunc{after(s, text("one"))}, []time.Duration{0}, s, "one"},
		{"the second answers", []http.HandlerFunc{hang, text("two")}, []time.Duration{0, 2 * s}, 2 * s, "two"},
		{"the third answers", []http.HandlerFunc{hang, hang, text("three")}, []time.Duration{0, 2 * s, 8 * s}, 8 * s, "three"},
		{"the first answers after all", []http.HandlerFunc{after(50*s, text("one")), hang},
			[]time.Duration{0, 2 * s, 8 * s, 20 * s, 32 * s, 44 * s}, 50 * s, "one"},
		{"the fourth answers", []http.HandlerFunc{hang, hang, hang, text("four")}, []time.Duration{0, 2 * s, 8 * s, 20 * s}, 20 * s, "four"},
		{"two faults do not leave the first alone", []http.HandlerFunc{hang, status(503, "", ""), status(503, "", ""), text("four")},
			[]time.Duration{0, 2 * s, 4 * s, 6 * s}, 6 * s, "four"},
		{"none answers", []http.HandlerFunc{hang}, []time.Duration{0, 2 * s, 8 * s, 20 * s, 32 * s, 44 * s, 56 * s, 68 * s, 80 * s}, 90 * s,
			"fetch " + zipName + " from U: U gives no answer in 1m30s"},
		{"a fault of the second does not count", []http.HandlerFunc{after(5*s, text("one")), status(503, "", "")},
			[]time.Duration{0, 2 * s, 4 * s}, 5 * s, "one"},
		{"a fault of the first does not count", []http.HandlerFunc{after(3*s, status(503, "", "")), after(4*s, text("two"))},
			[]time.Duration{0, 2 * s, 5 * s}, 6 * s, "two"},
		{"not found counts", []http.HandlerFunc{hang, status(404, "", "")}, []time.Duration{0, 2 * s}, 2 * s, "not found"},
		{"both have a fault", []http.HandlerFunc{after(3*s, status(503, "", "")), after(2*s, status(502, "", "")), text("three")},
			[]time.Duration{0, 2 * s, 4 * s}, 4 * s, "three"},
	}
	for _, tt := range tests {
		for _, scheme := range []string{"http", "https"} {
			t.Run(tt.name+" over "+scheme, func(t *testing.T) {
				inBubble(t, scheme, tt.steps, func(t *testing.T, s *script, proxy *upstream.Proxy) {
					var body string
					start := time.Now()
					err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
					if took := time.Since(start).Round(time.Second); took != tt.took {
						t.Errorf("took %v, want %v", took, tt.took)
					}
					if got := outcome(body, err); got != strings.ReplaceAll(tt.want, "U", proxy.Name()) {
						t.Errorf("outcome is %q, want %q", got, tt.want)
					}
					synctest.Wait()
					s.mu.Lock()
					defer s.mu.Unlock()
					if s.left > 0 {
						t.Errorf("%d requests go on after the answer", s.left)
					}
					if !slices.Equal(s.at, tt.at) {
						t.Errorf("asked at %v, want %v", s.at, tt.at)
					}
					if len(s.conns) > 1 && s.conns[0] == s.conns[1] {
						t.Errorf("asked over connections %v, want two", s.conns)
					}
				})
			})
		}
	}
}

// With validators, a body that trickles is given up for a new one that goes on.
func TestSlowBody(t *testing.T) {
	const size = 100 << 10
	content := noise(1, size)
	trickle := func(each int, pause time.Duration, etag string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			var from int
			fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
			if etag != "" {
				w.Header().Set("ETag", etag)
			}
			if from > 0 {
				w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, size-1, size))
				w.WriteHeader(http.StatusPartialContent)
			}
			for at := from; at < size && r.Context().Err() == nil; at += each {
				w.Write(content[at:min(at+each, size)])
				w.(http.Flusher).Flush()
				wait(r, pause)
			}
		}
	}
	s := time.Second
	tests := []struct {
		name  string
		first http.HandlerFunc
		at    []time.Duration
		took  time.Duration
	}{
		{"500 B/s", trickle(500, s, `"a"`), []time.Duration{0, 20 * s}, 20 * s},
		{"nothing for 20 s", trickle(500, 500*s, `"a"`), []time.Duration{0, 20 * s}, 20 * s},
		{"2 KiB/s", trickle(2<<10, s, `"a"`), []time.Duration{0}, 50 * s},
		{"8 KiB each 19 s", trickle(8<<10, 19*s, `"a"`), []time.Duration{0, 20 * s}, 20 * s},
		{"500 B/s that can't be continued", trickle(500, s, ""), []time.Duration{0}, 205 * s},
	}
	for _, tt := range tests {
		for _, scheme := range []string{"http", "https"} {
			t.Run(tt.name+" over "+scheme, func(t *testing.T) {
				inBubble(t, scheme, []http.HandlerFunc{tt.first, trickle(size, 0, `"a"`)}, func(t *testing.T, s *script, proxy *upstream.Proxy) {
					var calls int
					var got []byte
					start := time.Now()
					err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got))
					if err != nil || string(got) != string(content) || calls != 1 {
						t.Errorf("got %d bytes in %d calls, %v, want %d in one", len(got), calls, err, size)
					}
					if took := time.Since(start).Round(time.Second); took != tt.took || !slices.Equal(s.at, tt.at) {
						t.Errorf("took %v, asked at %v, want %v and %v", took, s.at, tt.took, tt.at)
					}
				})
			})
		}
	}
}

// Who gives way to others does not stall.
func TestTurnIsNoStall(t *testing.T) {
	inBubble(t, "http", []http.HandlerFunc{func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"a"`)
		w.Write(make([]byte, 50<<10))
	}}, func(t *testing.T, s *script, proxy *upstream.Proxy) {
		turns := 0
		ctx := upstream.WithTurn(t.Context(), func(context.Context) {
			turns++
			time.Sleep(time.Minute)
		})
		var calls int
		var got []byte
		err := proxy.Fetch(ctx, upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got))
		if err != nil || len(got) != 50<<10 || calls != 1 || len(s.at) != 1 {
			t.Errorf("got %d bytes, %v, in %d calls and %d requests, want %d in one", len(got), err, calls, len(s.at), 50<<10)
		}
		if turns < 2 {
			t.Errorf("%d turns were awaited, want one for each read", turns)
		}
	})
}

// Whatever a pull is at, it ends with its context, and leaves nothing behind: the
// bubble would not end.
func TestPullEndsWithItsContext(t *testing.T) {
	cut := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		w.Header().Set("Content-Length", "1000")
		w.Write(make([]byte, 500))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	for name, steps := range map[string][]http.HandlerFunc{
		"in a silence":          {silent(0)},
		"in a Retry-After":      {busy("30")},
		"in a body":             {silent(5)},
		"in a silence of a cut": {cut, silent(0)},
		"in a body that is cut": {cut, cut, busy("30")},
	} {
		for _, scheme := range []string{"http", "https"} {
			t.Run(name+" over "+scheme, func(t *testing.T) {
				inBubble(t, scheme, steps, func(t *testing.T, s *script, proxy *upstream.Proxy) {
					gone := errors.New("the client is gone")
					ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, gone)
					defer cancel()
					start := time.Now()
					err := proxy.Fetch(ctx, upstream.Request{Key: parseKey(t, zipName)}, func(_ cache.Key, _ cache.Meta, body io.Reader) error {
						_, err := io.Copy(io.Discard, body)
						return err
					})
					if took := time.Since(start); took != 5*time.Second || !errors.Is(err, gone) {
						t.Errorf("ended after %v with %v, want 5s and the cause", took, err)
					}
				})
			})
		}
	}
}

// Who waits for a place among the connections of an upstream that is at work has not
// lost it.
func TestBusyUpstreamIsThere(t *testing.T) {
	inBubble(t, "http", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"a"`)
		for range 10 {
			w.Write(make([]byte, 32<<10))
			w.(http.Flusher).Flush()
			wait(r, 10*time.Second)
		}
	}}, func(t *testing.T, s *script, proxy *upstream.Proxy) {
		var all sync.WaitGroup
		for range 40 { // more than there are connections
			all.Go(func() {
				var calls int
				var got []byte
				err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got))
				if err != nil || len(got) != 320<<10 || calls != 1 {
					t.Errorf("got %d bytes in %d calls, %v, want %d in one", len(got), calls, err, 320<<10)
				}
			})
		}
		all.Wait()
		if took := time.Since(s.start); took < 200*time.Second || len(s.at) != 40 {
			t.Errorf("took %v and %d requests, want 40 that wait for each other", took, len(s.at))
		}
	})
}

// A hundred requests on a connection that died do not keep each other from asking again.
func TestDeadConnectionHoldsNobody(t *testing.T) {
	dead := ""
	inBubble(t, "https", []http.HandlerFunc{func(w http.ResponseWriter, r *http.Request) {
		if fmt.Sprint(r.Context().Value(connKey{})) == dead {
			<-r.Context().Done()
		}
		io.WriteString(w, "fine")
	}}, func(t *testing.T, s *script, proxy *upstream.Proxy) {
		var body string
		if err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body)); err != nil {
			t.Fatal(err)
		}
		dead = s.conns[0]
		start := time.Now()
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				var body string
				err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
				if err != nil || body != "fine" {
					t.Errorf("body is %q, %v", body, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v, want little more than the patience, twice", took)
		}
	})
}
