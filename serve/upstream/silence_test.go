package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// pipes is a network in memory, so that the time in it is the bubble's. A host that
// nobody listens on swallows each dial.
type pipes struct {
	mu    sync.Mutex
	hosts map[string]chan net.Conn
}

func (p *pipes) Dial(ctx context.Context, _, addr string) (net.Conn, error) {
	p.mu.Lock()
	host := p.hosts[addr]
	p.mu.Unlock()
	near, far := net.Pipe()
	select {
	case host <- far: // never, for nil
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipeListener is one host of pipes.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l *pipeListener) Close() error   { l.close(); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

// host starts a server on the network. The function returned ends it.
func (p *pipes) host(addr string, handler http.HandlerFunc) (stop func()) {
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	l.close = sync.OnceFunc(func() { close(l.closed) })
	p.mu.Lock()
	if p.hosts == nil {
		p.hosts = make(map[string]chan net.Conn)
	}
	p.hosts[addr] = l.conns
	p.mu.Unlock()
	srv := &http.Server{Handler: handler}
	go srv.Serve(l) // ends with Close
	return func() { srv.Close() }
}

// silent writes n bytes of a longer body and then waits for the client to go.
func silent(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if n > 0 {
			w.Header().Set("Content-Length", "1000")
			w.Write(make([]byte, n))
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // an answer might still reach it
	}
}

// slow waits before the answer and before each byte of it.
func slow(first, each time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wait(r, first)
		for range 20 {
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			wait(r, each)
		}
	}
}

// wait sleeps, or not any longer once the client is gone.
func wait(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

func TestSilence(t *testing.T) {
	second := time.Second
	tests := []struct {
		name  string
		list  string // hosts a, b, c have the handlers below; all others swallow dials
		a, b  http.HandlerFunc
		pause time.Duration // of the sink between two reads
		took  time.Duration
		want  string // of the outcome
		text  string
	}{
		{name: "no answer", list: "http://a", a: silent(0), took: 90 * second,
			want: "fetch", text: "fetch example.com/m/@v/v1.0.0.zip from http://a: http://a gives no answer in 1m30s"},
		{name: "late answer", list: "http://a", a: slow(89*second, 0), took: 89 * second, want: "xxxx"},
		{name: "slow body", list: "http://a", a: slow(0, 19*second), took: 20 * 19 * second, want: "xxxx"},
		{name: "body stands still", list: "http://a", a: silent(5), took: 9 * 20 * second, // the first brings something new
			want: "cut", text: "fetch example.com/m/@v/v1.0.0.zip from http://a: http://a stands still for 20s after 5 bytes (9 tries)"},
		{name: "a body that stands still passes", list: "http://a,http://b", a: silent(5), b: slow(0, 0), took: 9 * 20 * second, want: "xxxx"},
		{name: "no answer stops at a comma", list: "http://a,http://b", a: silent(0), b: slow(0, 0), took: 90 * second, want: "fetch"},
		{name: "no answer passes a pipe", list: "http://a|http://b", a: silent(0), b: slow(0, 0), took: 90 * second, want: "xxxx"},
		{name: "slow disk", list: "http://a", a: slow(0, 0), pause: 60 * second, took: 20 * 60 * second, want: "xxxx"},
		{name: "an error text that trickles", list: "http://a", a: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			w.WriteHeader(403)
			slow(0, 9*second)(w, r)
		}, took: 10 * second, want: "403"},
		{name: "dial", list: "http://x", took: 30 * second, want: "fetch",
			text: "fetch example.com/m/@v/v1.0.0.zip from http://x: dial tcp: x:80: i/o timeout (3 tries)"},
		{name: "all dials", list: "http://u|http://v|http://w|http://x|http://y", took: 30 * second, want: "fetch",
			text: "no upstream accepts a connection: http://u (dial tcp: u:80: i/o timeout), http://v (dial tcp: v:80: i/o timeout), " +
				"http://w ("}, // both of its limits end at the same time; x and y are not asked any more
		{name: "a dial before one that answers late", list: "http://x|http://a", a: slow(89*second, 0), took: 99 * second, want: "xxxx"},
		{name: "a connection ends the limit", list: "http://u|http://v|http://a|http://x|http://y|http://b",
			a: slow(0, 0), b: slow(0, 0), took: 20 * second, want: "xxxx"},
		{name: "as does a fault of who was reached", list: "http://a|http://u|http://v|http://w|http://x|http://b",
			a: status(500, "", ""), b: slow(0, 0), took: 40 * second, want: "xxxx"},
		{name: "not found and dead is no not found", list: "http://a|http://x", a: status(404, "", ""), took: 30 * second,
			want: "fetch", text: "fetch example.com/m/@v/v1.0.0.zip from http://x: dial tcp: x:80: i/o timeout"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network pipes
				defer network.host("a:80", tt.a)()
				defer network.host("b:80", tt.b)()
				client, err := upstream.NewClient(upstream.ClientOptions{Dial: network.Dial})
				if err != nil {
					t.Fatal(err)
				}
				defer client.CloseIdleConnections()
				entries, err := upstream.ParseList(tt.list)
				if err != nil {
					t.Fatal(err)
				}
				chain, err := upstream.NewChain(upstream.ChainOptions{Entries: entries, Client: client})
				if err != nil {
					t.Fatal(err)
				}
				upstream.Brisk(chain.Proxies()...)
				var body string
				start := time.Now()
				err = chain.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, pausing(tt.pause, &body))
				if took := time.Since(start).Round(time.Second); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if got := outcome(body, err); !strings.HasPrefix(got, tt.want) {
					t.Errorf("outcome is %q, want %q (%v)", got, tt.want, err)
				}
				if err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Errorf("error is\n%v, want it to contain\n%s", err, tt.text)
				}
				if dials := strings.Contains(fmt.Sprint(err), "dial tcp"); upstream.Unreachable(err) != dials {
					t.Errorf("Unreachable(%v) = %v, want %v", err, !dials, dials)
				}
			})
		})
	}
}

// pausing is collect with a slow disk.
func pausing(pause time.Duration, got *string) upstream.Sink {
	return func(_ cache.Key, _ cache.Meta, body io.Reader) error {
		var b strings.Builder
		for {
			n, err := io.CopyN(&b, body, 1)
			if n > 0 {
				time.Sleep(pause)
			}
			if err == io.EOF {
				*got = b.String()
				return nil
			}
			if err != nil {
				return err
			}
		}
	}
}

func TestStallError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network pipes
		defer network.host("a:80", silent(5))()
		client, err := upstream.NewClient(upstream.ClientOptions{Dial: network.Dial})
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		var body string
		err = newProxy(t, "http://a", client).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
		var stall *upstream.StallError
		if !errors.As(err, &stall) || stall.Upstream != "http://a" || stall.Got != 5 {
			t.Errorf("error is %#v, want a stall of http://a after 5 bytes", err)
		}
		if _, err := newProxy(t, "http://a", client).Get(t.Context(), "sumdb/x/supported"); !errors.As(err, &stall) {
			t.Errorf("error of Get is %v, want a stall", err)
		}
	})
}

// The go command can be stopped at any time: nothing waits any longer then.
func TestCancelWhileSilent(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{"before the answer": silent(0), "in the body": silent(5), "while dialling": nil} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var network pipes
				if handler != nil {
					defer network.host("a:80", handler)()
				}
				client, err := upstream.NewClient(upstream.ClientOptions{Dial: network.Dial})
				if err != nil {
					t.Fatal(err)
				}
				defer client.CloseIdleConnections()
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				start := time.Now()
				var body string
				err = newProxy(t, "http://a", client).Fetch(ctx, upstream.Request{Key: parseKey(t, zipName)}, collect(&body))
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error is %v, want context.DeadlineExceeded", err)
				}
				if took := time.Since(start); took != 3*time.Second {
					t.Errorf("took %v, want 3s", took)
				}
				// net/http lets a dial go on for the next who asks, to its own limit.
				time.Sleep(10 * time.Second)
			})
		})
	}
}
