package upstream_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// shelf serves one file. What its fields say can be changed between two requests.
type shelf struct {
	mu       sync.Mutex
	content  []byte
	etag     string
	modified string
	deaf     bool                                         // knows no Range
	place    func(n int, left []byte) int                 // where the nth answer, from 0, breaks; -1 for nowhere
	answer   func(n int, w http.ResponseWriter) (ok bool) // may give the nth answer itself
	ranges   []string                                     // of the requests
	sent     int
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	n := len(s.ranges)
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	if s.answer != nil && s.answer(n, w) {
		s.mu.Unlock()
		return
	}
	header, left, code := w.Header(), s.content, http.StatusOK
	if s.etag != "" {
		header.Set("ETag", s.etag)
	}
	if s.modified != "" {
		header.Set("Last-Modified", s.modified)
	}
	var from int
	mark := r.Header.Get("If-Range")
	same := mark != "" && (mark == s.etag && mark[0] == '"' || mark == s.modified)
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && same && !s.deaf {
		left, code = left[from:], http.StatusPartialContent
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(s.content)-1, len(s.content)))
	}
	place := -1
	if s.place != nil {
		place = s.place(n, left)
	}
	if place >= 0 {
		s.sent += place
	} else {
		s.sent += len(left)
	}
	s.mu.Unlock()
	header.Set("Content-Length", strconv.Itoa(len(left)))
	w.WriteHeader(code)
	if place < 0 {
		w.Write(left)
		return
	}
	w.Write(left[:place])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// status416 answers the first request.
func status416(n int, w http.ResponseWriter) bool {
	if n == 0 {
		w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
	}
	return n == 0
}

// noise returns n bytes without a pattern.
func noise(seed byte, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// counting is a sink that keeps the last whole body and counts its calls.
func counting(calls *int, got *[]byte) upstream.Sink {
	return func(_ cache.Key, _ cache.Meta, body io.Reader) error {
		*calls++
		b, err := io.ReadAll(body)
		*got = b
		return err
	}
}

// servers are the two ways in which an upstream speaks.
var servers = map[string]func(*testing.T, http.HandlerFunc) (string, *http.Client){
	"http1": func(t *testing.T, h http.HandlerFunc) (string, *http.Client) {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return srv.URL, newClient(t)
	},
	"http2": func(t *testing.T, h http.HandlerFunc) (string, *http.Client) {
		srv, client := tlsServer(t, h, upstream.ClientOptions{})
		return srv.URL, client
	},
}

const longAgo = "Thu, 29 Feb 2024 12:00:00 GMT"

// A body that is cut three times is put together, and costs its own bytes once if the
// upstream marks it.
func TestCutBodyGoesOn(t *testing.T) {
	tests := []struct {
		name, etag, modified string
		goesOn               bool
	}{
		{"ETag", `"a"`, "", true},
		{"Last-Modified", "", longAgo, true},
		{"weak ETag and Last-Modified", `W/"a"`, longAgo, true},
		{"weak ETag", `W/"a"`, "", false},
		{"neither", "", "", false},
	}
	for _, tt := range tests {
		for proto, start := range servers {
			t.Run(tt.name+" over "+proto, func(t *testing.T) {
				const size = 200 << 10
				dice := rand.New(rand.NewPCG(1, uint64(len(tt.name))))
				s := &shelf{content: noise(1, size), etag: tt.etag, modified: tt.modified, place: func(n int, left []byte) int {
					if n < 3 {
						return dice.IntN(len(left))
					}
					return -1
				}}
				url, client := start(t, s.ServeHTTP)
				var calls int
				var got []byte
				err := newProxy(t, url, client).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got))
				if err != nil || !bytes.Equal(got, s.content) {
					t.Fatalf("got %d bytes, %v, want the %d sent", len(got), err, size)
				}
				if goesOn := calls == 1; goesOn != tt.goesOn {
					t.Errorf("the sink was called %d times, goes on = %v", calls, tt.goesOn)
				}
				if tt.goesOn && s.sent > size+size/20 {
					t.Errorf("%d bytes were sent for %d", s.sent, size)
				}
				if len(s.ranges) != 4 {
					t.Errorf("%d requests, want 4: %q", len(s.ranges), s.ranges)
				}
			})
		}
	}
}

// What comes second is the rest of what came first, or all begins anew.
func TestRestThatDoesNotFit(t *testing.T) {
	const size, at = 10_000, 4_000
	first, second := noise(1, size), noise(2, size)
	part := func(header map[string]string, code int, b []byte) func(*shelf, http.ResponseWriter) bool {
		return func(s *shelf, w http.ResponseWriter) bool {
			for name, value := range header {
				w.Header().Set(name, value)
			}
			w.WriteHeader(code)
			w.Write(b)
			return true
		}
	}
	fits := fmt.Sprintf("bytes %d-%d/%d", at, size-1, size)
	tests := []struct {
		name   string
		second func(*shelf, http.ResponseWriter) bool // answers the second request
		want   []byte
		calls  int
		asked  int
	}{
		{"it fits", part(map[string]string{"ETag": `"a"`, "Content-Range": fits}, 206, first[at:]), first, 1, 2},
		{"it fits, and there is more behind it", part(map[string]string{"ETag": `"a"`, "Content-Range": fits}, 206, slices.Concat(first[at:], second[:100])), first, 1, 2},
		{"a piece of it fits", part(map[string]string{"ETag": `"a"`, "Content-Range": fmt.Sprintf("bytes %d-%d/%d", at, at+99, size)}, 206, first[at:at+100]), first, 1, 3},
		{"the file has changed", func(s *shelf, _ http.ResponseWriter) bool {
			s.content, s.etag = second, `"b"`
			return false
		}, second, 2, 2},
		{"Range is ignored", func(s *shelf, _ http.ResponseWriter) bool {
			s.deaf = true
			return false
		}, first, 2, 2},
		{"If-Range is ignored", part(map[string]string{"ETag": `"b"`, "Content-Range": fits}, 206, second[at:]), first, 2, 3},
		{"no validator", part(map[string]string{"Content-Range": fits}, 206, second[at:]), first, 2, 3},
		{"no Content-Range", part(map[string]string{"ETag": `"a"`}, 206, second[at:]), first, 2, 3},
		{"another place", part(map[string]string{"ETag": `"a"`, "Content-Range": fmt.Sprintf("bytes %d-%d/%d", at-1, size-1, size)}, 206, second[at-1:]), first, 2, 3},
		{"another length", part(map[string]string{"ETag": `"a"`, "Content-Range": fmt.Sprintf("bytes %d-%d/%d", at, size, size+1)}, 206, second[at:]), first, 2, 3},
		{"unknown length", part(map[string]string{"ETag": `"a"`, "Content-Range": fmt.Sprintf("bytes %d-%d/*", at, size-1)}, 206, second[at:]), first, 2, 3},
		{"encoded", part(map[string]string{"ETag": `"a"`, "Content-Range": fits, "Content-Encoding": "gzip"}, 206, second[at:]), first, 2, 3},
		{"416", part(map[string]string{"Content-Range": "bytes */5"}, 416, nil), first, 2, 3},
		{"503 and then it fits", part(nil, 503, nil), first, 1, 3},
	}
	for _, tt := range tests {
		for proto, start := range servers {
			t.Run(tt.name+" over "+proto, func(t *testing.T) {
				s := &shelf{content: first, etag: `"a"`, place: func(n int, _ []byte) int {
					if n == 0 {
						return at
					}
					return -1
				}}
				s.answer = func(n int, w http.ResponseWriter) bool { return n == 1 && tt.second(s, w) }
				url, client := start(t, s.ServeHTTP)
				var calls int
				var got []byte
				err := newProxy(t, url, client).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got))
				if err != nil || !bytes.Equal(got, tt.want) {
					t.Errorf("got %d bytes, %v, want %d of one file", len(got), err, len(tt.want))
				}
				if calls != tt.calls || len(s.ranges) != tt.asked {
					t.Errorf("%d calls of the sink, requests %q, want %d and %d", calls, s.ranges, tt.calls, tt.asked)
				}
			})
		}
	}
}

// An address that the upstream has signed for one use is not asked twice: the
// upstream is, with the password that it alone may see.
func TestResumeAsksTheUpstreamAgain(t *testing.T) {
	content := noise(1, 50_000)
	var mu sync.Mutex
	var asked []string
	used := make(map[string]bool)
	s := &shelf{content: content, etag: `"a"`, place: func(n int, left []byte) int {
		if n < 3 {
			return len(left) / 2
		}
		return -1
	}}
	srv, client := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		user, _, _ := r.BasicAuth()
		sig := r.URL.Query().Get("sig")
		asked = append(asked, r.URL.Path[:2]+user)
		old := used[sig]
		used[sig] = true
		n := len(asked)
		mu.Unlock()
		switch {
		case sig == "":
			http.Redirect(w, r, fmt.Sprintf("/signed?sig=%d", n), http.StatusFound)
		case old:
			w.WriteHeader(http.StatusForbidden)
		default:
			s.ServeHTTP(w, r)
		}
		used[""] = false
	}, upstream.ClientOptions{})
	var calls int
	var got []byte
	proxy := newProxy(t, strings.Replace(srv.URL, "://", "://me:pw@", 1), client)
	if err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(content))
	}
	if calls != 1 || len(s.ranges) != 4 {
		t.Errorf("%d calls of the sink, ranges %q, want 1 and 4", calls, s.ranges)
	}
	if want := slices.Repeat([]string{"/eme", "/sme"}, 4); !slices.Equal(asked, want) {
		t.Errorf("asked %q, want %q", asked, want)
	}
}

// A spliced body that turns out wrong is fetched once in one piece before the upstream
// is called a liar.
func TestSplicedAndWrong(t *testing.T) {
	content := noise(1, 9_000)
	for _, tt := range []struct {
		name   string
		fault  error
		cut    int // so many answers
		always bool
		calls  int
		ranges string
	}{
		{"invalid", &cache.InvalidError{Reason: "bad"}, 1, false, 2, ",bytes=3000-,"},
		{"contradiction", &cache.ContradictionError{Got: "x", Want: "y"}, 1, false, 2, ",bytes=3000-,"},
		{"invalid both times", &cache.InvalidError{Reason: "bad"}, 1, true, 2, ",bytes=3000-,"},
		{"cut again, and in one piece at last", &cache.InvalidError{Reason: "bad"}, 3, false, 3, ",bytes=3000-,bytes=6000-,,"},
		{"our own disk", errors.New("disk"), 1, true, 1, ",bytes=3000-"},
		{"in one piece at once", &cache.InvalidError{Reason: "bad"}, 0, true, 1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cuts := 0
			s := &shelf{content: content, etag: `"a"`, place: func(n int, left []byte) int {
				if cuts < tt.cut && (n < 2 || n == 3) {
					cuts++
					return 3000
				}
				return -1
			}}
			url, client := servers["http1"](t, s.ServeHTTP)
			calls, judged := 0, 0
			var got []byte
			err := newProxy(t, url, client).Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)},
				func(key cache.Key, meta cache.Meta, body io.Reader) error {
					if err := counting(&calls, &got)(key, meta, body); err != nil {
						return err
					}
					if judged++; judged == 1 || tt.always {
						return tt.fault
					}
					return nil
				})
			if tt.always != (err != nil) || tt.always && !errors.Is(err, tt.fault) {
				t.Errorf("error is %v, want one: %v", err, tt.always)
			}
			if ranges := strings.Join(s.ranges, ","); calls != tt.calls || ranges != tt.ranges {
				t.Errorf("%d calls of the sink, ranges %q, want %d, %q", calls, ranges, tt.calls, tt.ranges)
			}
		})
	}
}

// What is decoded on its way can't be continued, only begun again.
func TestDamagedGzip(t *testing.T) {
	for _, name := range []string{"example.com/m/@v/v1.0.0.info", zipName} {
		t.Run(name, func(t *testing.T) {
			var packed bytes.Buffer
			z := gzip.NewWriter(&packed)
			z.Write(noise(1, 5000))
			z.Close()
			var asked []string
			url, client := servers["http1"](t, func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.Header.Get("Accept-Encoding")+r.Header.Get("Range"))
				b := bytes.Clone(packed.Bytes())
				if len(asked) < 3 {
					b[len(b)-6] ^= 1 // of the checksum
				}
				w.Header().Set("ETag", `"a"`)
				w.Header().Set("Content-Encoding", "gzip")
				w.Write(b)
			})
			var calls int
			var got []byte
			err := newProxy(t, url, client).Fetch(t.Context(), upstream.Request{Key: parseKey(t, name)}, counting(&calls, &got))
			if err != nil || !bytes.Equal(got, noise(1, 5000)) {
				t.Errorf("got %d bytes, %v, want 5000", len(got), err)
			}
			coding := map[bool]string{true: "identity", false: "gzip"}[name == zipName]
			if want := slices.Repeat([]string{coding}, 3); calls != 3 || !slices.Equal(asked, want) {
				t.Errorf("%d calls of the sink, asked %q, want 3, %q", calls, asked, want)
			}
		})
	}
}

// A connection that goes away takes an answer with it, and not the pull.
func TestConnectionGoesAway(t *testing.T) {
	content := noise(1, 300<<10)
	for _, tt := range []struct {
		name  string
		fault func(*httptest.Server, http.ResponseWriter)
	}{
		{"all connections close in the body", func(srv *httptest.Server, _ http.ResponseWriter) { srv.CloseClientConnections() }},
		{"GOAWAY and then a reset", func(_ *httptest.Server, w http.ResponseWriter) {
			w.Header().Set("Connection", "close")
			panic(http.ErrAbortHandler)
		}},
		{"reset stream before the answer", func(*httptest.Server, http.ResponseWriter) { panic(http.ErrAbortHandler) }},
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, http2 %v", tt.name, h2), func(t *testing.T) {
				var srv *httptest.Server
				s := &shelf{content: content, etag: `"a"`}
				var n atomic.Int64
				handler := func(w http.ResponseWriter, r *http.Request) {
					if n := n.Add(1); n%2 == 1 && n < 6 {
						if tt.name[0] == 'a' {
							w.Header().Set("ETag", `"a"`)
							w.Header().Set("Content-Length", fmt.Sprint(len(content)))
							w.Write(content[:100])
							w.(http.Flusher).Flush()
						}
						tt.fault(srv, w)
						return
					}
					s.ServeHTTP(w, r)
				}
				var client *http.Client
				if h2 {
					srv, client = tlsServer(t, handler, upstream.ClientOptions{})
				} else {
					srv = httptest.NewServer(http.HandlerFunc(handler))
					defer srv.Close()
					client = newClient(t)
				}
				proxy := newProxy(t, srv.URL, client)
				for range 3 {
					var calls int
					var got []byte
					err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got))
					if err != nil || !bytes.Equal(got, content) {
						t.Errorf("got %d bytes, %v, want %d", len(got), err, len(content))
					}
				}
			})
		}
	}
}

// With one byte an answer, each is progress, and the pull comes to its end.
func TestProgressHasNoEnd(t *testing.T) {
	s := &shelf{content: noise(1, 40), etag: `"a"`, place: func(_ int, left []byte) int { return min(1, len(left)-1) }}
	url, client := servers["http1"](t, s.ServeHTTP)
	var calls int
	var got []byte
	proxy := newProxy(t, url, client)
	// The last byte is never sent: eight answers without one end it.
	err := proxy.Fetch(t.Context(), upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got))
	want := fmt.Sprintf("fetch %s from %s: body from %s cut after 39 bytes: ", zipName, url, strings.TrimPrefix(url, "http://"))
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "(47 tries)") {
		t.Errorf("error is\n%v, want\n%s… (47 tries)", err, want)
	}
	if calls != 1 || len(s.ranges) != 47 {
		t.Errorf("%d calls of the sink, %d requests, want 1 and 47", calls, len(s.ranges))
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v is not that of a cut body, which passes on to the next upstream", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.place = func(n int, left []byte) int { cancel(); return 1 }
	if err := proxy.Fetch(ctx, upstream.Request{Key: parseKey(t, zipName)}, counting(&calls, &got)); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestContentRange(t *testing.T) {
	for _, tt := range []struct {
		s           string
		from, total int64
		ok          bool
	}{
		{"bytes 0-0/1", 0, 1, true},
		{"bytes 5-9/10", 5, 10, true},
		{"Bytes 5-8/10", 5, 10, true},
		{"bytes 5-9223372036854775806/9223372036854775807", 5, 9223372036854775807, true},
		{"", 0, 0, false},
		{"bytes", 0, 0, false},
		{"bytes */10", 0, 0, false},
		{"bytes 5-9/*", 0, 0, false},
		{"bytes 5-10/10", 0, 0, false},
		{"bytes 9-5/10", 0, 0, false},
		{"bytes -5-9/10", 0, 0, false},
		{"bytes +5-9/10", 0, 0, false},
		{"bytes 5-/10", 0, 0, false},
		{"bytes=5-9/10", 0, 0, false},
		{"lines 5-9/10", 0, 0, false},
		{"bytes 5-9/10 ", 0, 0, false},
		{"bytes 5-9/9223372036854775808", 0, 0, false},
	} {
		if from, total, ok := upstream.ContentRange(tt.s); from != tt.from || total != tt.total || ok != tt.ok {
			t.Errorf("%q: got %d, %d, %v, want %d, %d, %v", tt.s, from, total, ok, tt.from, tt.total, tt.ok)
		}
	}
}

// What is read is what can be written.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 5-9/10", "bytes */10", "bytes 5-9/*", "bytes +5-9/10", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		from, total, ok := upstream.ContentRange(s)
		if !ok {
			return
		}
		if from < 0 || from >= total {
			t.Errorf("%q: %d of %d", s, from, total)
		}
		if !strings.HasPrefix(strings.ToLower(s), "bytes ") || strings.Count(s, "-") != 1 {
			t.Errorf("%q is no range", s)
		}
	})
}
