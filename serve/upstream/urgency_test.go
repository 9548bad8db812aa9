package upstream_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
)

// fetch has the crowd asked by ctx. It tells how long that took.
func (c *crowd) fetch(ctx context.Context, t *testing.T, key string) (got string, took time.Duration, err error) {
	t.Helper()
	start := time.Now()
	err = c.Chain.Fetch(ctx, upstream.Request{Key: parseKey(t, key)}, collect(&got))
	return got, time.Since(start), err
}

// asks counts requests since the last call.
func (c *crowd) asks() int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.asked)
	c.asked = nil
	return n
}

// TestBackgroundDoesNotInsist holds what nobody waits for against what a client does.
func TestBackgroundDoesNotInsist(t *testing.T) {
	for _, list := range []string{"Ha", "Ha|Hb", "Ha,direct"} {
		t.Run(list, bubbled(func(t *testing.T) {
			c := newCrowd(t, list, map[string]http.HandlerFunc{"a": status(503, "", "no"), "b": status(503, "", "no")})
			hosts := strings.Count(list, "H")
			_, took, err := c.fetch(upstream.Background(t.Context()), t, infoName)
			if n := c.asks(); err == nil || n > 2*hosts || took > 2*time.Second || !upstream.Forgone(err) {
				t.Errorf("in the background: %v after %v and %d requests, want two a host, and to be told", err, took, n)
			}
			time.Sleep(time.Minute)
			_, _, err = c.fetch(t.Context(), t, infoName)
			if n := c.asks(); err == nil || n < 5 || upstream.Forgone(err) {
				t.Errorf("for a client: %v after %d requests, want many", err, n)
			}
		}))
	}
}

// TestBackgroundInsistsOnceAwaited has a client come to wait for a fetch in flight.
func TestBackgroundInsistsOnceAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, "Ha,direct", map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
			wait(r, time.Second)
			w.WriteHeader(http.StatusServiceUnavailable)
		}})
		awaited := make(chan struct{})
		ctx := upstream.WithAwaited(upstream.Background(t.Context()), awaited)
		time.AfterFunc(1500*time.Millisecond, func() { close(awaited) })
		_, _, err := c.fetch(ctx, t, zipName)
		if n := c.asks(); n != 8 || upstream.Forgone(err) {
			t.Errorf("%v after %d requests, want 8", err, n)
		}
		c.set("a", status(404, "", "none"))
		got, _, err := c.fetch(ctx, t, zipName)
		if err != nil || got != "direct" {
			t.Errorf("got %q, %v; want it from direct, which a client may ask", got, err)
		}
	})
}

// TestRoom has an upstream tell the length of a zip.
func TestRoom(t *testing.T) {
	full := errors.New("full")
	tests := []struct {
		name    string
		awaited bool
		room    error
		want    error
	}{
		{"no room", false, full, full},
		{"room", false, nil, nil},
		{"a client waits", true, full, nil},
	}
	for _, test := range tests {
		t.Run(test.name, bubbled(func(t *testing.T) {
			whole := func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", "5")
				w.Write([]byte("whole"))
			}
			c := newCrowd(t, "Ha|Hb", map[string]http.HandlerFunc{"a": whole, "b": whole})
			awaited := make(chan struct{})
			if test.awaited {
				close(awaited)
			}
			told := int64(0)
			ctx := upstream.WithAwaited(upstream.Background(t.Context()), awaited)
			ctx = upstream.WithRoom(ctx, func(length int64) error { told = length; return test.room })
			got, _, err := c.fetch(ctx, t, zipName)
			if !errors.Is(err, test.want) || test.want != nil && !upstream.Forgone(err) || (got == "whole") != (test.want == nil) {
				t.Errorf("got %q, %v; want error %v", got, err, test.want)
			}
			if told != 5 && !test.awaited {
				t.Errorf("told of %d bytes, want 5", told)
			}
			if n := c.asks(); n != 1 || c.state("a") != "up" {
				t.Errorf("%d requests, a is %s; want one, and that it is up", n, c.state("a"))
			}
		}))
	}
}

// TestAReasonIsDueFromTheFirstWait has a client wait 20 s for a fetch that forwent.
func TestAReasonIsDueFromTheFirstWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, "Ha|Hb|Hc", nil)
		since := time.Now()
		time.Sleep(18 * time.Second)
		_, _, err := c.fetch(upstream.WithSince(t.Context(), since), t, zipName)
		if took := time.Since(since); err == nil || took > 30*time.Second {
			t.Errorf("%v after %v, want it within 30 s", err, took)
		}
	})
}
