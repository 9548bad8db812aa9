package upstream_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// suspended returns the beginning of a zip as an earlier process has left it.
func suspended(t *testing.T, dir string, meta cache.Meta, b []byte) *cache.Partial {
	t.Helper()
	store, err := cache.Open(cache.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	draft, err := store.Draft(cache.Public, parseKey(t, zipName))
	if err != nil {
		t.Fatal(err)
	}
	draft.Begin(meta)
	cut := io.MultiReader(bytes.NewReader(b), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := draft.ReadFrom(cut); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error is %v, want that of the reader", err)
	}
	draft.Suspend()
	partial, err := store.Partial(cache.Public, parseKey(t, zipName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { partial.Close() })
	return partial
}

// The bytes of an earlier process count if their upstream still vouches for them.
func TestPartialGoesOn(t *testing.T) {
	const size, at = 600 << 10, 400 << 10
	content, other := noise(1, size), noise(2, size)
	tests := []struct {
		name   string
		meta   cache.Meta // U is the upstream
		begin  []byte
		change func(*shelf)
		want   []byte
		calls  int
		ranges string
	}{
		{"ETag", cache.Meta{Upstream: "U", ETag: `"a"`}, content[:at], nil, content, 1, "bytes=409600-"},
		{"Last-Modified", cache.Meta{Upstream: "U", LastModified: longAgo}, content[:at],
			func(s *shelf) { s.etag, s.modified = "", longAgo }, content, 1, "bytes=409600-"},
		{"cut again", cache.Meta{Upstream: "U", ETag: `"a"`}, content[:at], func(s *shelf) {
			s.place = func(n int, _ []byte) int { return []int{102400, -1}[n] }
		}, content, 1, "bytes=409600-,bytes=512000-"},
		{"another upstream", cache.Meta{Upstream: "http://other", ETag: `"a"`}, content[:at], nil, content, 1, ""},
		{"another file now", cache.Meta{Upstream: "U", ETag: `"b"`}, other[:at], nil, content, 1, "bytes=409600-"},
		{"a shorter file now", cache.Meta{Upstream: "U", ETag: `"a"`}, content[:at], func(s *shelf) {
			s.content = other[:5000]
			s.answer = status416
		}, other[:5000], 1, "bytes=409600-,"},
		{"bytes that do not belong to it", cache.Meta{Upstream: "U", ETag: `"a"`}, other[:at], nil, content, 2, "bytes=409600-,"},
		{"and cut", cache.Meta{Upstream: "U", ETag: `"a"`}, other[:at], func(s *shelf) {
			s.place = func(n int, _ []byte) int { return []int{102400, -1, 100, -1}[n] }
		}, content, 3, "bytes=409600-,bytes=512000-,,"},
	}
	for _, tt := range tests {
		for proto, start := range servers {
			t.Run(tt.name+" over "+proto, func(t *testing.T) {
				s := &shelf{content: content, etag: `"a"`}
				if tt.change != nil {
					tt.change(s)
				}
				url, client := start(t, s.ServeHTTP)
				earlier := tt.meta
				earlier.Upstream = strings.Replace(earlier.Upstream, "U", url, 1)
				partial := suspended(t, t.TempDir(), earlier, tt.begin)
				var calls int
				var got []byte
				var meta cache.Meta
				req := upstream.Request{Key: parseKey(t, zipName), Partial: partial}
				err := newProxy(t, url, client).Fetch(t.Context(), req, func(k cache.Key, m cache.Meta, body io.Reader) error {
					meta = m
					if err := counting(&calls, &got)(k, m, body); err != nil {
						return err
					}
					if !bytes.Equal(got, tt.want) {
						return &cache.InvalidError{Key: k, Reason: "not the bytes"}
					}
					return nil
				})
				if err != nil || !bytes.Equal(got, tt.want) {
					t.Errorf("got %d bytes, %v, want %d", len(got), err, len(tt.want))
				}
				if ranges := strings.Join(s.ranges, ","); calls != tt.calls || ranges != tt.ranges {
					t.Errorf("%d calls of the sink, ranges %q, want %d, %q", calls, ranges, tt.calls, tt.ranges)
				}
				if meta.ETag != s.etag || meta.LastModified != s.modified || meta.Upstream != url {
					t.Errorf("meta is %+v, want that of the upstream", meta)
				}
			})
		}
	}
}

// A disk that lost what it held costs the whole file again, and no more.
func TestPartialThatIsLost(t *testing.T) {
	content := noise(1, 600<<10)
	for name, lose := range map[string]func(dir string, p *cache.Partial) error{
		"all of it": func(_ string, p *cache.Partial) error { return p.Close() }, // it can't be read any more
		"a part": func(dir string, _ *cache.Partial) error {
			return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
				if info, infoErr := d.Info(); err == nil && infoErr == nil && !d.IsDir() && info.Size() >= 400<<10 {
					return os.Truncate(name, 300<<10)
				}
				return err
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &shelf{content: content, etag: `"a"`}
			url, client := servers["http1"](t, s.ServeHTTP)
			dir := t.TempDir()
			partial := suspended(t, dir, cache.Meta{Upstream: url, ETag: `"a"`}, content[:400<<10])
			if err := lose(dir, partial); err != nil {
				t.Fatal(err)
			}
			var calls int
			var got []byte
			req := upstream.Request{Key: parseKey(t, zipName), Partial: partial}
			err := newProxy(t, url, client).Fetch(t.Context(), req, counting(&calls, &got))
			if err != nil || !bytes.Equal(got, content) || calls != 2 {
				t.Errorf("got %d bytes in %d calls, %v, want %d in 2", len(got), calls, err, len(content))
			}
			if ranges := strings.Join(s.ranges, ","); ranges != "bytes=409600-," {
				t.Errorf("asked for %q, want the rest and then all", ranges)
			}
		})
	}
}
