package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/cache"
)

var (
	errBusy = &StatusError{Upstream: "https://a.example", URL: "https://a.example/x", Code: 503, Text: "too busy"}
	errDial = &noConnection{&net.OpError{Op: "dial", Err: errors.New("refused")}}
)

func TestJudge(t *testing.T) {
	code := func(code int) error { return &fetchError{"u", "p", &StatusError{Code: code}} }
	tests := []struct {
		name string
		err  error
		want verdict
	}{
		{"answer", nil, good},
		{"not modified", ErrNotModified, good},
		{"404", code(404), good}, {"410", code(410), good}, {"401", code(401), good}, {"403", code(403), good}, {"451", code(451), good},
		{"408", code(408), bad}, {"429", code(429), bad}, {"500", code(500), bad}, {"502", code(502), bad}, {"503", code(503), bad}, {"504", code(504), bad},
		{"501", code(501), odd}, {"505", code(505), odd}, {"508", code(508), odd},
		{"dial", errDial, bad},
		{"reset", &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, bad},
		{"EOF before an answer", io.EOF, bad},
		{"silence", &StallError{Got: -1}, bad},
		{"a body that stands still", &cutError{got: 7, err: &StallError{Got: 7}}, bad},
		{"cut before the first byte", &cutError{err: io.ErrUnexpectedEOF}, bad},
		{"cut later", &cutError{got: 7, err: io.ErrUnexpectedEOF}, alive},
		{"web page", &cache.InvalidError{}, odd},
		{"wrong bytes", &cache.ContradictionError{}, odd},
		{"redirect refused", &redirectError{"loop"}, odd},
		{"cancelled", fmt.Errorf("fetch: %w", context.Canceled), mute},
		{"cancelled dial", &noConnection{context.Canceled}, mute},
		{"deadline of who asks", fmt.Errorf("fetch: %w", context.DeadlineExceeded), mute},
		{"time-out of a connection", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, bad},
		{"disk full", &cache.FullError{Err: errors.New("no space")}, mute},
		{"lost folder", &ownError{fs.ErrNotExist}, mute},
		{"not asked", &blockedError{last: errBusy}, mute},
	}
	for _, tt := range tests {
		if got := judge(tt.err); got != tt.want {
			t.Errorf("%s: verdict is %d, want %d", tt.name, got, tt.want)
		}
	}
}

// busy is a bad answer at a URL of its own.
func busy(n int) error {
	return &StatusError{URL: fmt.Sprint("https://a.example/", n), Code: 503, Text: "too busy"}
}

// down makes a health whose breaker is open.
func down(t *testing.T) *health {
	t.Helper()
	h := newHealth("https://a.example")
	for i := range tripFailures {
		if err := h.allow(); err != nil {
			t.Fatalf("not allowed after %d failures: %v", h.row, err)
		}
		h.outcome(busy(i))
	}
	if err := h.allow(); err == nil {
		t.Fatalf("allowed after %d failures", tripFailures)
	}
	return h
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := down(t)
		time.Sleep(3 * time.Second)
		err := h.allow()
		want := "https://a.example failed 5 times in a row, the last time: 503 Service Unavailable: too busy; asked again in 12s"
		if err == nil || err.Error() != want {
			t.Errorf("error is\n%v, want\n%s", err, want)
		}
		var status *StatusError
		if !errors.As(err, &status) || status.Code != 503 {
			t.Errorf("error %v is not what it failed of", err)
		}
		var retry interface{ RetryAt() time.Time }
		if !errors.As(err, &retry) || time.Until(retry.RetryAt()) != 12*time.Second {
			t.Fatalf("error %v does not say when to retry", err)
		}
		time.Sleep(time.Until(retry.RetryAt()) - time.Millisecond)
		if h.allow() == nil {
			t.Error("allowed too early")
		}
		time.Sleep(time.Millisecond)
		if h.blocked() != nil || h.allow() != nil {
			t.Fatal("the probe is not allowed")
		}
		if err := h.allow(); err == nil || !strings.HasSuffix(err.Error(), "another request is trying it now") {
			t.Errorf("beside the probe: %v, want an error that tells of it", err)
		}
		h.outcome(errBusy)
		if err := h.allow(); err == nil || !strings.Contains(err.Error(), "failed 6 times") || !strings.HasSuffix(err.Error(), "in 15s") {
			t.Errorf("after a probe that failed: %v", err)
		}
		time.Sleep(openTime)
		if err := h.allow(); err != nil {
			t.Fatal(err)
		}
		h.outcome(&StatusError{Code: 404})
		for range 3 {
			if err := h.allow(); err != nil {
				t.Errorf("after a probe that was answered: %v", err)
			}
		}
	})
}

func TestBreakerStaysClosed(t *testing.T) {
	many := func(h *health, errs ...error) {
		for range 3 * tripFailures {
			for _, err := range errs {
				h.outcome(err)
			}
		}
	}
	tests := []struct {
		name string
		do   func(h *health)
	}{
		{"a success between", func(h *health) {
			for i := range 5 * tripFailures {
				h.outcome(busy(i))
				h.outcome(nil)
				time.Sleep(time.Minute)
			}
		}},
		{"a success a moment ago", func(h *health) { h.outcome(nil); time.Sleep(tripCalm - 1); many(h, busy(1), busy(2)) }},
		{"bytes a moment ago", func(h *health) { h.pulse(); many(h, busy(1), busy(2)) }},
		{"all tries of one request", func(h *health) {
			for _, tenths := range []time.Duration{0, 1, 3, 7, 15, 31, 63, 113} {
				time.AfterFunc(tenths*time.Second/10, func() { h.outcome(errBusy) })
			}
			time.Sleep(time.Minute)
		}},
		{"one connection with all its requests", func(h *health) { many(h, errDial) }},
		{"answers", func(h *health) { many(h, &StatusError{Code: 404}) }},
		{"cancelled", func(h *health) { many(h, context.Canceled) }},
		{"cut bodies", func(h *health) { many(h, &cutError{got: 1, err: io.ErrUnexpectedEOF}) }},
		{"web pages", func(h *health) { many(h, &cache.InvalidError{}) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := new(health)
				tt.do(h)
				if err := h.allow(); err != nil {
					t.Errorf("not allowed: %v", err)
				}
			})
		})
	}
}

func TestBreakerOpens(t *testing.T) {
	tests := []struct {
		name string
		do   func(h *health)
	}{
		{"a success some time ago", func(h *health) {
			h.outcome(nil)
			time.Sleep(tripCalm)
			for i := range tripFailures {
				h.outcome(busy(i))
			}
		}},
		{"one answer again and again", func(h *health) {
			for range tripFailures {
				h.outcome(errBusy)
				time.Sleep(sameTime)
			}
		}},
		{"dials that fail one by one", func(h *health) {
			for range tripFailures {
				h.outcome(errDial)
				time.Sleep(burst)
			}
		}},
		{"what says nothing between", func(h *health) {
			for i := range tripFailures {
				h.outcome(busy(i))
				h.outcome(context.Canceled)
				h.outcome(&cache.InvalidError{})
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := new(health)
				tt.do(h)
				if h.allow() == nil {
					t.Error("still allowed")
				}
			})
		})
	}
}

// A probe that nobody waits for any more must not keep the breaker open for ever.
func TestProbeWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := down(t)
		time.Sleep(openTime)
		if err := h.allow(); err != nil {
			t.Fatal(err)
		}
		h.outcome(context.Canceled)
		if err := h.allow(); err != nil {
			t.Fatalf("after a probe that was cancelled: %v", err)
		}
		time.Sleep(probeLimit) // and this one never ends
		if err := h.allow(); err != nil {
			t.Fatalf("after a probe without end: %v", err)
		}
		h.outcome(nil)
		if !h.well() {
			t.Error("not well after a probe that was answered")
		}
	})
}

func TestProbeBeaten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := down(t)
		time.Sleep(openTime)
		if err := h.allow(); err != nil {
			t.Fatal(err)
		}
		h.beaten(time.Second)
		h.outcome(context.Canceled)
		if err := h.allow(); err == nil || !strings.HasSuffix(err.Error(), "asked again in 15s") {
			t.Errorf("after a probe that was beaten: %v, want it open for 15s", err)
		}
	})
}

// Who was asked before the breaker opened, and is answered after, has seen it alive.
func TestLateAnswerCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := down(t)
		h.outcome(nil)
		if err := h.allow(); err != nil {
			t.Errorf("not allowed: %v", err)
		}
	})
}

func TestPatience(t *testing.T) {
	tests := []struct {
		name  string
		bytes func(h *health)
		want  time.Duration
	}{
		{"nothing known", func(*health) {}, 2 * time.Second},
		{"too little known", func(h *health) { times(h, paceKnown-1, time.Second) }, 2 * time.Second},
		{"enough known", func(h *health) { times(h, paceKnown, time.Second/2) }, time.Second},
		{"at least", func(h *health) { times(h, paceKnown, time.Millisecond) }, 100 * time.Millisecond},
		{"at most", func(h *health) { times(h, paceKnown, time.Minute) }, 10 * time.Second},
		{"one in twenty does not count", func(h *health) { times(h, 95, time.Second); times(h, 5, time.Minute) }, 2 * time.Second},
		{"one in ten does", func(h *health) { times(h, 90, time.Second); times(h, 10, 3*time.Second) }, 6 * time.Second},
		{"old ones are forgotten", func(h *health) { times(h, 500, time.Minute); times(h, paceSamples, time.Second) }, 2 * time.Second},
		{"being beaten does not count", func(h *health) {
			times(h, paceKnown, time.Second)
			for range 100 {
				h.beaten(9 * time.Second)
			}
		}, 2 * time.Second},
	}
	for _, tt := range tests {
		h := new(health)
		tt.bytes(h)
		if got := h.patience(); got != tt.want {
			t.Errorf("%s: patience is %v, want %v", tt.name, got, tt.want)
		}
	}
}

// times notes n first bytes that took d.
func times(h *health, n int, d time.Duration) {
	for range n {
		h.firstByte(d)
	}
}

func TestNoHealth(t *testing.T) {
	var h *health
	h.outcome(errBusy)
	h.firstByte(1)
	h.beaten(1)
	h.pulse()
	if h.allow() != nil || h.blocked() != nil || !h.well() || h.patience() != patienceUnknown || h.shown().State != "unknown" {
		t.Error("a nil health knows something")
	}
}

func TestShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHealth("https://a.example")
		if got := h.shown(); got.State != "unknown" || got.Name != "https://a.example" || got.P95 != 0 {
			t.Errorf("new: %+v, want unknown", got)
		}
		h.outcome(nil)
		times(h, 1, 70*time.Millisecond)
		up := time.Now()
		if got := h.shown(); got.State != "up" || got.Since != up || got.P95 != 70*time.Millisecond || got.LastError != "" {
			t.Errorf("after an answer: %+v, want up", got)
		}
		time.Sleep(time.Minute)
		fell := time.Now()
		for range tripFailures {
			h.outcome(&fetchError{"u", "p", errors.New(`Get "https://me:s3cret@a.example/x?sig=s3cret": EOF` + "\x1b[31m")})
			time.Sleep(burst)
		}
		got := h.shown()
		if got.State != "down" || got.Tries != 6 || got.Failures != 5 || !got.Since.After(fell) {
			t.Errorf("after failures: %+v, want down", got)
		}
		if want := `Get "https://a.example/x": EOF [31m`; got.LastError != want {
			t.Errorf("last error is %q, want %q", got.LastError, want)
		}
		since := got.Since
		time.Sleep(openTime)
		if got := h.shown(); got.State != "probing" || got.Since != since {
			t.Errorf("later: %+v, want probing, down since %v", got, since)
		}
	})
}

func TestHealthConcurrently(t *testing.T) {
	h := newHealth("https://a.example")
	h.changed = func() {}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 500 {
				if h.allow() == nil {
					h.firstByte(time.Duration(n) * time.Millisecond)
					h.outcome([]error{nil, errBusy, errDial, context.Canceled}[(i+n)%4])
				}
				h.patience()
				h.pulse()
				h.shown()
				h.recent(time.Now())
			}
		})
	}
	all.Wait()
}

func BenchmarkPatience(b *testing.B) {
	h := new(health)
	for range b.N {
		h.firstByte(time.Second)
		h.patience()
		h.outcome(h.allow())
	}
}

// keeper returns a chain of a.example and b.example that keeps its state in file.
func keeper(t *testing.T, file string, log *slog.Logger) *Chain {
	t.Helper()
	entries, err := ParseList("https://me:s3cret@a.example/go?k=s3cret|https://b.example|https://c.example")
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewChain(ChainOptions{Entries: entries, StateFile: file, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStateFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "upstreams.json")
		c := keeper(t, file, nil)
		times(c.proxies[0].health, 200, 300*time.Millisecond)
		times(c.proxies[1].health, 30, 50*time.Millisecond)
		for range 30 {
			c.proxies[2].health.beaten(time.Second)
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("state file after an instant: %v, want none", err)
		}
		time.Sleep(recordPause)
		c.proxies[0].health.outcome(nil)
		written, err := os.ReadFile(file)
		if err != nil {
			t.Fatalf("after %v: %v", recordPause, err)
		}
		times(c.proxies[0].health, 1, time.Minute)
		if again, err := os.ReadFile(file); err != nil || string(again) != string(written) {
			t.Errorf("written twice within %v", recordPause)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(file)
		if err != nil || string(text) == string(written) || strings.Contains(string(text), "s3cret") {
			t.Errorf("after Close the file has\n%s, %v, want the newest, without secrets", text, err)
		}
		if names, _ := os.ReadDir(filepath.Dir(file)); len(names) != 1 {
			t.Errorf("%d files, want 1", len(names))
		}
		again := keeper(t, file, nil)
		for i, p := range again.proxies {
			old := c.proxies[i].health
			if got, want := p.health.patience(), old.patience(); got != want {
				t.Errorf("patience of %s is %v after a restart, want %v", p.name, got, want)
			}
			got, _ := p.health.recent(time.Now())
			if want, known := old.recent(time.Now()); got != want || !known {
				t.Errorf("pace of %s is %v after a restart, want %v", p.name, got, want)
			}
		}
		if got := again.proxies[0].health.patience(); got != 600*time.Millisecond {
			t.Errorf("patience is %v after a restart, want 600ms", got)
		}
		stat, err := os.Stat(file)
		if err != nil || (os.PathSeparator == '/' && stat.Mode().Perm() != 0o600) {
			t.Errorf("mode is %v, %v, want 0600", stat.Mode(), err)
		}
		os.Remove(file)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Close without news wrote the file: %v", err)
		}
	})
}

func TestStateFileForeign(t *testing.T) {
	future := time.Now().Add(time.Hour).Unix()
	tests := []struct {
		name, text string
		told       bool
	}{
		{"none", "", false},
		{"empty", " ", true},
		{"no JSON", "junk", true},
		{"another file", `{"name":"x"}`, true},
		{"another version", `{"version":2,"first_bytes":{}}`, true},
		{"cut", `{"version":1,"first_bytes":{"https://a.example/go":[{"at":1,"ms":1`, true},
		{"too large", strings.Repeat(" ", recordLimit+1), true},
		{"times that can't be", fmt.Sprintf(`{"version":1,"first_bytes":{"https://b.example":[%s{"at":1,"ms":-5}]}}`,
			strings.Repeat(fmt.Sprintf(`{"at":1,"ms":3600000},{"at":%d,"ms":7},`, future), 40)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "upstreams.json")
			if tt.text != "" {
				if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var log strings.Builder
			c := keeper(t, file, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
			for _, p := range c.proxies {
				if got := p.health.patience(); got != patienceUnknown || len(p.health.pace.samples) > 0 {
					t.Errorf("patience of %s is %v, want %v", p.name, got, patienceUnknown)
				}
			}
			if told := strings.Contains(log.String(), "level=DEBUG"); told != tt.told || strings.Contains(log.String(), "WARN") {
				t.Errorf("log is %q, want a debug line: %v", log.String(), tt.told)
			}
			times(c.proxies[0].health, 1, 1)
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if doc, err := readRecord(file); err != nil || len(doc.FirstBytes) != 1 {
				t.Errorf("replaced by %v, %v, want one upstream", doc, err)
			}
		})
	}
}

func TestNoStateFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := keeper(t, "", nil)
		time.Sleep(recordPause)
		times(c.proxies[0].health, 1, 1)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		c = keeper(t, filepath.Join(t.TempDir(), "gone", "f"), nil)
		time.Sleep(recordPause)
		times(c.proxies[0].health, 1, 1) // is logged, and harms nobody
		times(c.proxies[0].health, 1, 1)
		if err := c.Close(); err == nil {
			t.Error("Close says nothing of a file that can't be written")
		}
	})
}
