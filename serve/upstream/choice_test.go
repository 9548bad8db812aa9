package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

const infoName = "example.com/m/@v/v1.0.0.info"

// crowd is a chain of the hosts a, b and c, whose handlers can be exchanged.
type crowd struct {
	*upstream.Chain
	mu       sync.Mutex
	handlers map[string]http.HandlerFunc
	asked    []string
	direct   int
}

// newCrowd makes a crowd in a bubble. A host without a handler swallows dials.
func newCrowd(t *testing.T, list string, handlers map[string]http.HandlerFunc) *crowd {
	t.Helper()
	var network pipes
	c := &crowd{handlers: handlers}
	for name := range handlers {
		t.Cleanup(network.host(name+":80", func(w http.ResponseWriter, r *http.Request) {
			c.mu.Lock()
			c.asked = append(c.asked, name)
			handler := c.handlers[name]
			c.mu.Unlock()
			handler(w, r)
		}))
	}
	client, err := upstream.NewClient(upstream.ClientOptions{Dial: network.Dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	t.Cleanup(func() { time.Sleep(time.Minute) }) // a dial goes on when nobody waits for it
	for _, name := range []string{"a", "b", "c"} {
		list = strings.ReplaceAll(list, "H"+name, "http://"+name)
	}
	entries, err := upstream.ParseList(list)
	if err != nil {
		t.Fatal(err)
	}
	c.Chain, err = upstream.NewChain(upstream.ChainOptions{Entries: entries, Client: client, Direct: c})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// set exchanges a handler.
func (c *crowd) set(name string, handler http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handlers[name] = handler
}

// seen returns who was asked since the last call, each once.
func (c *crowd) seen() string {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	asked := slices.Compact(c.asked)
	c.asked = nil
	return strings.Join(asked, " ")
}

// get fetches a key and tells how long that took.
func (c *crowd) get(t *testing.T, key string, held cache.Meta) (got string, took time.Duration, err error) {
	t.Helper()
	start := time.Now()
	err = c.Chain.Fetch(t.Context(), upstream.Request{Key: parseKey(t, key), Meta: held}, collect(&got))
	return got, time.Since(start), err
}

// state returns the state of an upstream.
func (c *crowd) state(name string) string {
	for _, h := range c.Health() {
		if h.Name == "http://"+name {
			return h.State
		}
	}
	return "none"
}

// fall asks for files until the breaker of each of names is open.
func (c *crowd) fall(t *testing.T, names ...string) {
	t.Helper()
	for i := range 5 {
		for _, p := range c.Proxies() {
			if slices.Contains(names, strings.TrimPrefix(p.Name(), "http://")) {
				p.Get(upstream.WithQuick(t.Context()), fmt.Sprint("x", i))
			}
		}
	}
	for _, name := range names {
		if c.state(name) != "down" {
			t.Fatalf("state of %s is %s, want down", name, c.state(name))
		}
	}
	c.seen()
}

// after answers with its text when d is over.
func after(d time.Duration, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		wait(r, d)
		io.WriteString(w, text)
	}
}

// Fetch makes crowd a source: direct.
func (c *crowd) Fetch(_ context.Context, req upstream.Request, sink upstream.Sink) error {
	c.mu.Lock()
	c.direct++
	c.mu.Unlock()
	return sink(req.Key, cache.Meta{Upstream: "direct"}, strings.NewReader("direct"))
}

func TestGroupHedge(t *testing.T) {
	second := time.Second
	cut := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "part")
	}
	tests := []struct {
		name    string
		list    string
		key     string
		a, b, c http.HandlerFunc
		took    time.Duration
		want    string
	}{
		{"the second answers for a silent first", "Ha|Hb", infoName, silent(0), after(0, "b"), nil, 2 * second, "b"},
		{"the first may still win", "Ha|Hb", infoName, after(3*second, "a"), silent(0), nil, 3 * second, "a"},
		{"a body that stands still", "Ha|Hb", infoName, silent(5), after(0, "b"), nil, 2 * second, "b"},
		{"a dial into nothing", "Ha|Hb", infoName, nil, after(0, "b"), nil, 2 * second, "b"},
		{"a third", "Ha|Hb|Hc", infoName, silent(0), silent(0), after(0, "c"), 4 * second, "c"},
		{"an error does not wait", "Ha|Hb", infoName, status(403, "", ""), after(0, "b"), nil, 0, "b"},
		{"not found does not wait, and does not win", "Ha|Hb", infoName, silent(0), status(404, "", ""), nil, 90 * second, "fetch"},
		{"not found of all", "Ha|Hb", infoName, status(404, "", ""), status(410, "", ""), nil, 0, "not found"},
		{"not for a zip", "Ha|Hb", zipName, silent(0), after(0, "b"), nil, 90 * second, "b"},
		{"not over a comma", "Ha,Hb", infoName, silent(0), after(0, "b"), nil, 90 * second, "fetch"},
		{"not over a comma behind a group", "Ha|Hb,Hc", infoName, silent(0), silent(0), after(0, "c"), 0, "fetch"},
		{"not to direct", "Ha|direct", "example.com/m/@v/v1.0.0.mod", after(80*second, "a"), nil, nil, 80 * second, "a"},
		{"cut answers are no answers", "Ha|Hb", infoName, after(5*second, "a"), cut, nil, 5 * second, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, bubbled(func(t *testing.T) {
			handlers := make(map[string]http.HandlerFunc)
			for name, h := range map[string]http.HandlerFunc{"a": tt.a, "b": tt.b, "c": tt.c} {
				if h != nil {
					handlers[name] = h
				}
			}
			c := newCrowd(t, tt.list, handlers)
			got, took, err := c.get(t, tt.key, cache.Meta{})
			if o := outcome(got, err); !strings.HasPrefix(o, tt.want) {
				t.Errorf("outcome is %q, want %q", o, tt.want)
			}
			if tt.took > 0 && took.Round(time.Second) != tt.took {
				t.Errorf("took %v, want %v", took, tt.took)
			}
			if c.direct > 0 || strings.Contains(tt.list, ",") && strings.Contains(c.seen(), strings.ToLower(tt.list[len(tt.list)-1:])) {
				t.Errorf("asked %v, and direct %d times", c.asked, c.direct)
			}
		}))
	}
}

// Of two answers the sink sees one, and none once Fetch has returned.
func TestGroupHedgeSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, "Ha|Hb|Hc", map[string]http.HandlerFunc{
			"a": after(6*time.Second, "a"), "b": after(4*time.Second, "b"), "c": after(2*time.Second, "c"),
		})
		for range 20 {
			calls, returned := 0, false
			err := c.Chain.Fetch(t.Context(), upstream.Request{Key: parseKey(t, infoName)},
				func(_ cache.Key, _ cache.Meta, body io.Reader) error {
					calls++ // the race detector watches this
					if returned {
						t.Error("the sink is called after the end")
					}
					time.Sleep(time.Second)
					_, err := io.ReadAll(body)
					return err
				})
			returned = true
			if err != nil || calls != 1 {
				t.Errorf("%d answers, %v, want 1", calls, err)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A not-modified may win while another's answer is in the sink.
func TestGroupHedgeNotModified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, "Ha|Hb", map[string]http.HandlerFunc{
			"a": func(w http.ResponseWriter, r *http.Request) {
				wait(r, 3*time.Second)
				w.WriteHeader(http.StatusNotModified)
			},
			"b": after(0, "b"),
		})
		in := false
		err := c.Chain.Fetch(t.Context(), upstream.Request{
			Key:  parseKey(t, "example.com/m/@v/list"),
			Meta: cache.Meta{Upstream: "http://a", ETag: `"x"`},
		}, func(_ cache.Key, _ cache.Meta, body io.Reader) error {
			in = true
			time.Sleep(5 * time.Second)
			in = false
			return nil
		})
		if err != nil && !errors.Is(err, upstream.ErrNotModified) || in {
			t.Errorf("error is %v, sink at work: %v", err, in)
		}
	})
}

func TestOrderAdapts(t *testing.T) {
	handlers := func() map[string]http.HandlerFunc {
		return map[string]http.HandlerFunc{"a": after(300*time.Millisecond, "a"), "b": after(50*time.Millisecond, "b")}
	}
	warm := func(t *testing.T, c *crowd, n int) {
		for _, p := range c.Proxies() {
			for range n {
				if _, err := p.Get(t.Context(), "x"); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.seen()
	}
	tests := []struct {
		name, list, key string
		samples         int
		pause           time.Duration
		want            string
	}{
		{"the quicker first", "Ha|Hb", zipName, 20, 0, "b"},
		{"metadata too", "Ha|Hb", infoName, 20, 0, "b"},
		{"not before it is known", "Ha|Hb", zipName, 19, 0, "a"},
		{"not if it was long ago", "Ha|Hb", zipName, 20, 10 * time.Minute, "a"},
		{"not over a comma", "Ha,Hb", zipName, 50, 0, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, bubbled(func(t *testing.T) {
			c := newCrowd(t, tt.list, handlers())
			warm(t, c, tt.samples)
			time.Sleep(tt.pause)
			if got, _, err := c.get(t, tt.key, cache.Meta{}); err != nil || got != tt.want || c.seen() != tt.want {
				t.Errorf("answer is %q, %v, want %s alone to be asked", got, err, tt.want)
			}
		}))
	}
	t.Run("not if it is nearly as quick", bubbled(func(t *testing.T) {
		c := newCrowd(t, "Ha|Hb", map[string]http.HandlerFunc{
			"a": after(300*time.Millisecond, "a"), "b": after(200*time.Millisecond, "b")})
		warm(t, c, 50)
		if got, _, err := c.get(t, zipName, cache.Meta{}); err != nil || got != "a" {
			t.Errorf("answer is %q, %v, want a", got, err)
		}
	}))
	// One that never answers first has no times of its own.
	t.Run("a silent one moves back", bubbled(func(t *testing.T) {
		c := newCrowd(t, "Ha|Hb", map[string]http.HandlerFunc{"a": silent(0), "b": after(50*time.Millisecond, "b")})
		slow := 0
		for range 100 {
			if _, took, err := c.get(t, infoName, cache.Meta{}); err != nil {
				t.Fatal(err)
			} else if took > time.Second {
				slow++
			}
		}
		if slow == 0 || slow > 20 {
			t.Errorf("%d requests waited for the silent one, want 1 to 20", slow)
		}
	}))
}

// The order never lets a fault pass a comma that the user's order would not.
func TestOrderAtComma(t *testing.T) {
	tests := []struct {
		name string
		a, b int
		want string
	}{
		{"the last by the list is at fault", 404, 403, "403"},
		{"the last by the list has not found", 403, 404, "c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, bubbled(func(t *testing.T) {
			c := newCrowd(t, "Ha|Hb,Hc", map[string]http.HandlerFunc{
				"a": after(time.Second, "a"), "b": after(0, "b"), "c": after(0, "c")})
			for _, p := range c.Proxies() {
				for range 20 {
					p.Get(t.Context(), "x")
				}
			}
			c.set("a", status(tt.a, "", ""))
			c.set("b", status(tt.b, "", ""))
			c.seen()
			if got, _, err := c.get(t, zipName, cache.Meta{}); outcome(got, err) != tt.want {
				t.Errorf("outcome is %q, want %q", outcome(got, err), tt.want)
			}
			if seen := c.seen(); !strings.HasPrefix(seen, "b a") {
				t.Errorf("asked %s, want b before a", seen)
			}
		}))
	}
}

func TestBreakerInChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const list = "example.com/m/@v/list"
		held := cache.Meta{Upstream: "http://a", ETag: `"x"`}
		c := newCrowd(t, "Ha", map[string]http.HandlerFunc{"a": status(503, "", "")})
		c.fall(t, "a")
		_, took, err := c.get(t, list, held)
		if err == nil || took != 0 || !strings.Contains(err.Error(), "times in a row, the last time: 503") {
			t.Errorf("with an answer held: %v after %v, want a reason at once", err, took)
		}
		if seen := c.seen(); seen != "" {
			t.Errorf("asked %s with an open breaker", seen)
		}
		c.set("a", after(0, "v1.0.0\n"))
		got, took, err := c.get(t, list, cache.Meta{})
		if err != nil || got != "v1.0.0\n" || took == 0 || took > 15*time.Second {
			t.Errorf("with nothing held: %q, %v after %v, want the probe waited for", got, err, took)
		}
		if c.state("a") != "up" {
			t.Errorf("state is %s after the probe, want up", c.state("a"))
		}
		if _, took, err := c.get(t, list, held); err != nil || took != 0 {
			t.Errorf("after the probe: %v after %v", err, took)
		}
	})
}

func TestBreakerInGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, "Ha|Hb", map[string]http.HandlerFunc{"a": status(503, "", ""), "b": after(0, "b")})
		c.fall(t, "a")
		if _, took, err := c.get(t, zipName, cache.Meta{}); err != nil || took != 0 || c.seen() != "b" || c.state("a") != "down" {
			t.Errorf("asked %s in %v, %v, a is %s, want b alone", c.seen(), took, err, c.state("a"))
		}
		time.Sleep(15 * time.Second)
		c.set("a", silent(0))
		if _, took, err := c.get(t, zipName, cache.Meta{}); err != nil || took != 0 || c.seen() != "b" {
			t.Errorf("a zip waits %v for a probe", took)
		}
		if _, took, err := c.get(t, infoName, cache.Meta{}); err != nil || took != 2*time.Second {
			t.Errorf("took %v, %v, want 2s for the probe", took, err)
		}
		c.seen()
		if _, took, err := c.get(t, infoName, cache.Meta{}); err != nil || took != 0 || c.seen() != "b" {
			t.Errorf("took %v, %v, want no second probe", took, err)
		}
		time.Sleep(15 * time.Second)
		c.set("a", after(0, "a"))
		if got, _, err := c.get(t, infoName, cache.Meta{}); err != nil || got != "a" || c.state("a") != "up" {
			t.Errorf("answer is %q, %v, a is %s, want the probe to be answered", got, err, c.state("a"))
		}
	})
}

// While one download makes progress, what else fails opens no breaker.
func TestProgressKeepsBreakerClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, "Ha", map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
			for range 60 {
				w.Write(make([]byte, 4<<10))
				w.(http.Flusher).Flush()
				wait(r, time.Second)
			}
		}})
		done := make(chan error)
		go func() { // ends with the download
			_, _, err := c.get(t, zipName, cache.Meta{})
			done <- err
		}()
		time.Sleep(30 * time.Second)
		c.set("a", status(503, "", ""))
		for i := range 20 {
			c.Proxies()[0].Get(upstream.WithQuick(t.Context()), fmt.Sprint("x", i))
		}
		if c.state("a") != "up" {
			t.Errorf("state is %s beside a download, want up", c.state("a"))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRounds(t *testing.T) {
	busy, fine := status(503, "", ""), after(0, "fine")
	healing := func(d time.Duration) func() http.HandlerFunc {
		return func() http.HandlerFunc {
			start := time.Now()
			return func(w http.ResponseWriter, r *http.Request) {
				if time.Since(start) < d {
					busy(w, r)
					return
				}
				fine(w, r)
			}
		}
	}
	always := func(h http.HandlerFunc) func() http.HandlerFunc { return func() http.HandlerFunc { return h } }
	tests := []struct {
		name   string
		list   string
		a, b   func() http.HandlerFunc
		held   bool
		want   string
		atMost time.Duration
	}{
		{"comes back after a moment", "Ha|Hb", always(busy), healing(3 * time.Second), false, "fine", 25 * time.Second},
		{"comes back late", "Ha|Hb", healing(12 * time.Second), always(busy), false, "fine", 30 * time.Second},
		{"never", "Ha|Hb", always(busy), always(busy), false, "503", 30 * time.Second},
		{"not with something held", "Ha|Hb", always(busy), always(busy), true, "503", time.Second},
		{"a plain answer is none of it", "Ha|Hb", always(status(404, "", "")), always(status(403, "", "")), false, "403", 0},
		{"the rest is tried beside a plain answer", "Ha|Hb", always(status(401, "", "")), healing(3 * time.Second), false, "fine", 25 * time.Second},
		{"cut bodies", "Ha|Hb", always(silentCut), healing(3 * time.Second), false, "fine", 25 * time.Second},
	}
	for _, key := range []string{infoName, zipName} {
		for _, tt := range tests {
			t.Run(tt.name+" "+key[len(key)-3:], bubbled(func(t *testing.T) {
				c := newCrowd(t, tt.list, map[string]http.HandlerFunc{"a": tt.a(), "b": tt.b()})
				var held cache.Meta
				if tt.held {
					held.Upstream = "http://a"
				}
				got, took, err := c.get(t, key, held)
				if o := outcome(got, err); o != tt.want {
					t.Errorf("outcome is %q, want %q (%v)", o, tt.want, err)
				}
				if took > tt.atMost {
					t.Errorf("took %v, want %v at most", took, tt.atMost)
				}
			}))
		}
	}
}

// silentCut ends each body early.
func silentCut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
}

// With all down the reason is there in 30 s, and names who was asked.
func TestAllDown(t *testing.T) {
	for _, key := range []string{infoName, zipName} {
		t.Run(key, bubbled(func(t *testing.T) {
			c := newCrowd(t, "Ha|Hb|Hc", nil)
			_, took, err := c.get(t, key, cache.Meta{})
			if err == nil || took > 30*time.Second || !upstream.Unreachable(err) {
				t.Fatalf("error is %v after %v, want one in 30s", err, took)
			}
			for _, name := range []string{"http://a (dial tcp", "http://b (", "http://c ("} {
				if !strings.Contains(err.Error(), name) {
					t.Errorf("error is\n%v, want it to contain\n%s", err, name)
				}
			}
		}))
	}
}

// The breaker of each opens; who has something held is told at once.
func TestAllDownHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, "Ha|Hb", map[string]http.HandlerFunc{"a": status(503, "", "no"), "b": status(502, "", "no")})
		c.fall(t, "a", "b")
		_, took, err := c.get(t, "example.com/m/@v/list", cache.Meta{Upstream: "http://a"})
		if err == nil || took != 0 {
			t.Errorf("error is %v after %v, want one at once", err, took)
		}
		for _, text := range []string{"http://a (failed ", "http://b failed ", "; asked again in "} {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("error is\n%v, want it to contain\n%s", err, text)
			}
		}
	})
}

// Who has something held is told at once when a probe is due, too: it goes on beside.
func TestAllDownHeldWhileProbing(t *testing.T) {
	for _, list := range []string{"Ha", "Ha|Hb"} {
		t.Run(list, bubbled(func(t *testing.T) {
			c := newCrowd(t, list, map[string]http.HandlerFunc{"a": status(503, "", "no"), "b": status(503, "", "no")})
			held := cache.Meta{Upstream: "http://a"}
			c.fall(t, "a")
			if list != "Ha" {
				c.fall(t, "b")
			}
			hung := make(chan struct{})
			t.Cleanup(func() { close(hung) })
			for _, name := range []string{"a", "b"} {
				c.set(name, func(_ http.ResponseWriter, r *http.Request) {
					select {
					case <-hung:
					case <-r.Context().Done():
					}
				})
			}
			time.Sleep(15 * time.Second)
			for range 3 {
				if _, took, err := c.get(t, "example.com/m/@v/list", held); err == nil || took != 0 {
					t.Errorf("error is %v after %v, want one at once", err, took)
				}
			}
			if n := c.asks(); n == 0 || n > strings.Count(list, "H") {
				t.Errorf("%d probes, want one a host", n)
			}
			time.Sleep(time.Minute) // the probes have failed, and others are due
			for _, name := range []string{"a", "b"} {
				c.set(name, after(0, "answer"))
			}
			c.get(t, "example.com/m/@v/list", held)
			synctest.Wait()
			if got, took, err := c.get(t, "example.com/m/@v/list", held); err != nil || took != 0 {
				t.Errorf("once it is back: %q, %v after %v, want the answer", got, err, took)
			}
		}))
	}
}

// A fetch that nobody waits for asks no origin, and says so as no "not found".
func TestBackgroundAsksNoOrigin(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	for _, list := range []string{srv.URL + ",direct", srv.URL + "|direct", "direct"} {
		t.Run(strings.ReplaceAll(list, srv.URL, "PROXY"), func(t *testing.T) {
			entries, err := upstream.ParseList(list)
			if err != nil {
				t.Fatal(err)
			}
			asked := 0
			chain, err := upstream.NewChain(upstream.ChainOptions{Entries: entries, Client: srv.Client(), Direct: origin(func() { asked++ })})
			if err != nil {
				t.Fatal(err)
			}
			req := upstream.Request{Key: parseKey(t, "example.com/m/@v/v1.0.0.mod")}
			ignore := func(cache.Key, cache.Meta, io.Reader) error { return nil }
			if err := chain.Fetch(upstream.Background(t.Context()), req, ignore); err == nil || asked != 0 {
				t.Errorf("in the background: %v, the origin was asked %d times", err, asked)
			}
			if err := chain.Fetch(t.Context(), req, ignore); err != nil || asked != 1 {
				t.Errorf("for a client: %v, the origin was asked %d times, want once", err, asked)
			}
		})
	}
}

// origin is a direct source that has everything.
type origin func()

func (o origin) Fetch(context.Context, upstream.Request, upstream.Sink) error {
	o()
	return nil
}
