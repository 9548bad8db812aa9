package upstream_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// TestRetryAfterIsForAll has an upstream ask one request to come back later.
func TestRetryAfterIsForAll(t *testing.T) {
	const respite = 40 * time.Second
	for _, code := range []int{http.StatusTooManyRequests, http.StatusServiceUnavailable} {
		synctest.Test(t, func(t *testing.T) {
			busy := func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "40")
				w.WriteHeader(code)
			}
			c := newCrowd(t, "Ha", map[string]http.HandlerFunc{"a": busy})
			first := make(chan error)
			start := time.Now()
			go func() {
				_, _, err := c.get(t, infoName, cache.Meta{})
				first <- err
			}()
			time.Sleep(time.Second)
			c.asks()
			c.set("a", after(0, "answer"))
			if _, took, err := c.fetch(upstream.Background(t.Context()), t, zipName); err == nil || took > 0 || c.asks() > 0 {
				t.Errorf("in the background: %v after %v, want an error at once and no request", err, took)
			}
			if _, took, err := c.get(t, "example.com/m/@v/list", cache.Meta{Upstream: "http://a"}); err == nil || took > 0 || c.asks() > 0 {
				t.Errorf("with an answer held: %v after %v, want an error at once and no request", err, took)
			}
			got, _, err := c.get(t, zipName, cache.Meta{})
			if err != nil || got != "answer" || time.Since(start) < respite || time.Since(start) > respite+time.Second {
				t.Errorf("another file: %q, %v after %v, want it after %v", got, err, time.Since(start), respite)
			}
			if err := <-first; err != nil {
				t.Errorf("the request that was told: %v", err)
			}
		})
	}
}

// TestALongRetryAfterIsForOne has one ask for an hour, for one file.
func TestALongRetryAfterIsForOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t, "Ha", map[string]http.HandlerFunc{"a": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/"+infoName {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			w.Write([]byte("answer"))
		}})
		if _, took, err := c.get(t, infoName, cache.Meta{}); err == nil || took > 0 || c.asks() != 1 {
			t.Errorf("%v after %v, want an error at once and one request", err, took)
		}
		if got, took, err := c.get(t, zipName, cache.Meta{}); err != nil || got != "answer" || took > 0 {
			t.Errorf("another file: %q, %v after %v, want it at once", got, err, took)
		}
	})
}
