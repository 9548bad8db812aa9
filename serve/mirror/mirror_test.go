package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// origin is a Source of byte strings; fault, if set, answers instead.
type origin struct {
	mu      sync.Mutex
	answers map[string][]byte
	asked   []string
	metas   []cache.Meta
	fault   error
	gate    chan struct{} // if not nil, Fetch waits until it is closed or ctx ends
	etag    string
}

func (o *origin) Fetch(ctx context.Context, req upstream.Request, sink upstream.Sink) error {
	o.mu.Lock()
	o.asked = append(o.asked, req.Key.String())
	o.metas = append(o.metas, req.Meta)
	body, ok := o.answers[req.Key.String()]
	fault, gate, etag := o.fault, o.gate, o.etag
	o.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	switch {
	case fault != nil:
		return fault
	case !ok:
		return &upstream.StatusError{Upstream: "test", URL: "https://test/" + req.Key.String(), Code: 404}
	case etag != "" && req.Meta.ETag == etag:
		return upstream.ErrNotModified
	}
	return sink(req.Key, cache.Meta{Upstream: "test", Status: 200, ETag: etag, Fetched: time.Now()}, bytes.NewReader(body))
}

func (o *origin) set(change func(*origin)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

func (o *origin) count(key string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := 0
	for _, k := range o.asked {
		if k == key {
			n++
		}
	}
	return n
}

const modPath = "example.com/m"

// zipOf makes a module zip whose only source file holds text.
func zipOf(tb testing.TB, version, text string) []byte {
	tb.Helper()
	body, err := zipFrom(version, text)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

func zipFrom(version, text string) ([]byte, error) {
	var b bytes.Buffer
	v := module.Version{Path: modPath, Version: version}
	err := modzip.Create(&b, v, []modzip.File{memFile{"go.mod", "module " + modPath + "\n"}, memFile{"m.go", "package m // " + text + "\n"}})
	return b.Bytes(), err
}

type memFile struct{ name, text string }

func (f memFile) Path() string                 { return f.name }
func (f memFile) Lstat() (fs.FileInfo, error)  { return memInfo{f}, nil }
func (f memFile) Open() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(f.text)), nil }

type memInfo struct{ f memFile }

func (i memInfo) Name() string       { return i.f.name }
func (i memInfo) Size() int64        { return int64(len(i.f.text)) }
func (i memInfo) Mode() fs.FileMode  { return 0o644 }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return false }
func (i memInfo) Sys() any           { return nil }

func key(tb testing.TB, name string) cache.Key {
	tb.Helper()
	k, err := cache.ParseKey(name)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func newMirror(tb testing.TB, o *origin, change ...func(*Options)) *Mirror {
	tb.Helper()
	store, err := cache.Open(cache.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { store.Close() })
	opts := Options{Store: store, Source: o, Origin: o}
	for _, c := range change {
		c(&opts)
	}
	return New(opts)
}

// get reads one answer to its end; text is its body, or empty on an error.
func get(tb testing.TB, m *Mirror, name string) (text, state string, err error) {
	tb.Helper()
	a, err := m.Get(tb.Context(), key(tb, name))
	if err != nil {
		return "", "", err
	}
	defer a.Close()
	b, err := io.ReadAll(a)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b), a.State, nil
}

func info(version string) []byte {
	return fmt.Appendf(nil, `{"Version":%q,"Time":"2024-01-02T03:04:05Z"}`, version)
}

var refused = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

const (
	listKey = "example.com/m/@v/list"
	infoKey = "example.com/m/@v/v1.0.0.info"
	modKey  = "example.com/m/@v/v1.0.0.mod"
	zipKey  = "example.com/m/@v/v1.0.0.zip"
)

func TestMirrorReadsThrough(t *testing.T) {
	o := &origin{answers: map[string][]byte{infoKey: info("v1.0.0"), modKey: []byte("module example.com/m\n"), zipKey: zipOf(t, "v1.0.0", "a")}}
	m := newMirror(t, o)
	for _, name := range []string{infoKey, modKey, zipKey} {
		for _, want := range []string{Miss, Hit, Hit} {
			text, state, err := get(t, m, name)
			if err != nil || state != want || text != string(o.answers[name]) {
				t.Errorf("%s: state %q, err %v, %d bytes; want %q, nil, %d", name, state, err, len(text), want, len(o.answers[name]))
			}
		}
		if n := o.count(name); n != 1 {
			t.Errorf("%s asked %d times, want 1", name, n)
		}
	}
	if s := m.Stats(); s.Hits != 6 || s.Misses != 3 || s.FetchedBytes == 0 {
		t.Errorf("stats %+v, want 6 hits, 3 misses and some bytes", s)
	}
}

func TestMutableAnswers(t *testing.T) {
	// The clock below is the bubble's: it stands still until something sleeps.
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answers: map[string][]byte{listKey: []byte("v1.0.0\n")}, etag: `"1"`}
		m := newMirror(t, o)
		step := func(after time.Duration, wantState, wantText string, wantAsked int) {
			t.Helper()
			time.Sleep(after)
			text, state, err := get(t, m, listKey)
			if err != nil || state != wantState || text != wantText || o.count(listKey) != wantAsked {
				t.Errorf("after %v: %q %q, asked %d, err %v; want %q %q, asked %d", after, state, text, o.count(listKey), err, wantState, wantText, wantAsked)
			}
		}
		step(0, Miss, "v1.0.0\n", 1)
		step(59*time.Second, Hit, "v1.0.0\n", 1)
		step(2*time.Second, Revalidated, "v1.0.0\n", 2)
		step(30*time.Second, Hit, "v1.0.0\n", 2)
		o.set(func(o *origin) { o.answers[listKey], o.etag = []byte("v1.1.0\n"), `"2"` })
		step(31*time.Second, Miss, "v1.0.0\nv1.1.0\n", 3) // merged: v1.0.0 does not vanish
		o.set(func(o *origin) { o.fault = refused })
		step(time.Hour, Stale, "v1.0.0\nv1.1.0\n", 4)
		step(6*24*time.Hour, Stale, "v1.0.0\nv1.1.0\n", 5)
		time.Sleep(24 * time.Hour)
		if _, _, err := get(t, m, listKey); !errors.Is(err, error(refused)) {
			t.Errorf("eight days on: %v, want %v", err, refused)
		}
	})
}

func TestStale(t *testing.T) {
	now := time.Now()
	held := &cache.Entry{Meta: cache.Meta{Status: 200, Fetched: now.Add(-time.Hour)}}
	old := &cache.Entry{Meta: cache.Meta{Status: 200, Fetched: now.Add(-8 * 24 * time.Hour)}}
	negative := &cache.Entry{Meta: cache.Meta{Status: 404, Fetched: now.Add(-time.Hour)}}
	status := func(code int) error {
		return fmt.Errorf("fetch: %w", &upstream.StatusError{Upstream: "u", URL: "https://u/x", Code: code})
	}
	tests := []struct {
		name string
		held *cache.Entry
		err  error
		want bool
	}{
		{"nothing held", nil, refused, false},
		{"refused dial", held, refused, true},
		{"too old", old, refused, false},
		{"negative held", negative, refused, false},
		{"cut body", held, io.ErrUnexpectedEOF, true},
		{"log-in page", held, &cache.InvalidError{Reason: "HTML"}, true},
		{"deadline", held, context.DeadlineExceeded, true},
		{"client gone", held, context.Canceled, false},
		{"408", held, status(408), true},
		{"429", held, status(429), true},
		{"500", held, status(500), true},
		{"503", held, status(503), true},
		{"401", held, status(401), false},
		{"403", held, status(403), false},
		{"404", held, status(404), false},
		{"410", held, status(410), false},
		{"git wants a password", held, needsAuth{errors.New("who is there?")}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, tree := range []cache.Tree{cache.Public, cache.Private} {
				if got := stale(tree, tt.held, tt.err, now); got != tt.want {
					t.Errorf("stale in %s = %v, want %v", tree, got, tt.want)
				}
			}
		})
	}
}

// needsAuth is what an origin says that hides its modules from strangers.
type needsAuth struct{ error }

func (needsAuth) NeedsAuth() bool { return true }

func TestFreshness(t *testing.T) {
	now := time.Now()
	entry := func(status int, age time.Duration) *cache.Entry {
		return &cache.Entry{Meta: cache.Meta{Status: status, Fetched: now.Add(-age)}}
	}
	tests := []struct {
		name string
		tree cache.Tree
		kind cache.Kind
		held *cache.Entry
		want verdict
	}{
		{"nothing held", cache.Public, cache.Zip, nil, fetch},
		{"zip of last year", cache.Public, cache.Zip, entry(0, 365*24*time.Hour), use},
		{"private mod", cache.Private, cache.Mod, entry(0, time.Hour), use},
		{"new list", cache.Public, cache.List, entry(200, 59*time.Second), use},
		{"list of a minute", cache.Public, cache.List, entry(200, 60*time.Second), revalidate},
		{"list from the future", cache.Public, cache.List, entry(200, -time.Hour), revalidate},
		{"branch", cache.Public, cache.Query, entry(200, time.Second), use},
		{"private list, same burst", cache.Private, cache.List, entry(200, 4*time.Second), use},
		{"private list", cache.Private, cache.List, entry(200, 5*time.Second), revalidate},
		{"new negative", cache.Public, cache.List, entry(404, time.Second), use},
		{"old negative", cache.Public, cache.List, entry(404, time.Minute), fetch},
		{"negative of a version", cache.Public, cache.Mod, entry(410, time.Second), use},
		{"private negative", cache.Private, cache.List, entry(404, time.Second), fetch},
		{"private version negative", cache.Private, cache.Info, entry(404, time.Second), fetch},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := freshness(tt.tree, tt.kind, tt.held, now); got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestNegativeIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answers: map[string][]byte{}}
		m := newMirror(t, o)
		for _, step := range []struct {
			after time.Duration
			asked int
		}{{0, 1}, {59 * time.Second, 1}, {2 * time.Second, 2}} {
			time.Sleep(step.after)
			_, _, err := get(t, m, infoKey)
			if !errors.Is(err, fs.ErrNotExist) || o.count(infoKey) != step.asked {
				t.Errorf("after %v: %v, asked %d; want not found, asked %d", step.after, err, o.count(infoKey), step.asked)
			}
		}
		o.set(func(o *origin) { o.answers[infoKey] = info("v1.0.0") })
		time.Sleep(time.Minute)
		if _, state, err := get(t, m, infoKey); state != Miss || err != nil {
			t.Errorf("once published: %q, %v; want %q", state, err, Miss)
		}
	})
}

func TestImpossiblePathsAskNobody(t *testing.T) {
	o := &origin{answers: map[string][]byte{}}
	m := newMirror(t, o)
	for _, name := range []string{"github.com/@v/list", "github.com/acme/@v/list", "bitbucket.org/acme/@latest", "github.com/acme/@v/v1.0.0.info"} {
		if _, _, err := get(t, m, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want not found", name, err)
		}
	}
	if len(o.asked) != 0 {
		t.Errorf("asked %v, want nothing", o.asked)
	}
}

func TestOffline(t *testing.T) {
	o := &origin{answers: map[string][]byte{
		listKey: []byte("v1.0.0\nv1.1.0\n"), infoKey: info("v1.0.0"), modKey: []byte("module example.com/m\n"), zipKey: zipOf(t, "v1.0.0", "a"),
	}}
	m := newMirror(t, o)
	for name := range o.answers {
		if _, _, err := get(t, m, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil { // as a restart with --offline does
		t.Fatal(err)
	}
	off := New(Options{Store: m.opts.Store, Source: o, Offline: true, Now: func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }})
	o.asked = nil
	tests := []struct {
		name, key, wantText, wantState string
		wantErr                        any
	}{
		{"held version", infoKey, string(info("v1.0.0")), Hit, nil},
		{"list has what is held whole", listKey, "v1.0.0\n", Stale, nil},
		{"latest is the highest held", "example.com/m/@latest", string(info("v1.0.0")), Stale, nil},
		{"not held", "example.com/m/@v/v1.1.0.zip", "", "", new(*OfflineError)},
		{"package of a held module", "example.com/m/pkg/@v/list", "", "", new(*NotFoundError)},
		{"unknown module", "example.com/other/@v/list", "", "", new(*OfflineError)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text, state, err := get(t, off, tt.key)
			if text != tt.wantText || state != tt.wantState {
				t.Errorf("got %q %q, %v; want %q %q", text, state, err, tt.wantText, tt.wantState)
			}
			if tt.wantErr != nil && !errors.As(err, tt.wantErr) {
				t.Errorf("error %v, want a %T", err, tt.wantErr)
			}
		})
	}
	if len(o.asked) != 0 {
		t.Errorf("asked %v, want nothing", o.asked)
	}
}

func TestOneFillForManyClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answers: map[string][]byte{zipKey: zipOf(t, "v1.0.0", "a")}, gate: make(chan struct{})}
		m := newMirror(t, o)
		first, leave := context.WithCancel(t.Context())
		errs := make(chan error, 500)
		ask := func(ctx context.Context) {
			a, err := m.Get(ctx, key(t, zipKey))
			if err == nil {
				a.Close()
			}
			errs <- err
		}
		go ask(first)
		for range 499 {
			go ask(t.Context())
		}
		synctest.Wait()
		leave() // the client that began the fill goes; the others still get theirs
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("the client that left got %v", err)
		}
		close(o.gate)
		for range 499 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if n := o.count(zipKey); n != 1 {
			t.Errorf("asked %d times, want 1", n)
		}
	})
}

func TestFillEndsWithItsLastClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answers: map[string][]byte{zipKey: nil}, gate: make(chan struct{})}
		m := newMirror(t, o)
		ctx, leave := context.WithCancel(t.Context())
		for range 2 {
			go m.Get(ctx, key(t, zipKey))
		}
		synctest.Wait()
		leave()
		synctest.Wait() // the bubble would not end with a fill left in it
		if n := len(m.flights.current); n != 0 {
			t.Errorf("%d flights left, want 0", n)
		}
	})
}

func TestPanicInSourceIsAnError(t *testing.T) {
	m := newMirror(t, &origin{})
	m.opts.Source = panicking{}
	if _, _, err := get(t, m, zipKey); err == nil || !strings.Contains(err.Error(), "panic: boom") {
		t.Errorf("got %v, want the panic as an error", err)
	}
}

type panicking struct{}

func (panicking) Fetch(context.Context, upstream.Request, upstream.Sink) error { panic("boom") }

func TestContradictionIsNeverServed(t *testing.T) {
	o := &origin{answers: map[string][]byte{zipKey: zipOf(t, "v1.0.0", "evil")}}
	m := newMirror(t, o, func(opts *Options) {
		opts.Verify = func(_ context.Context, k cache.Key, d *cache.Draft) error {
			return &cache.ContradictionError{Key: k, Got: d.H1(), Want: "h1:good", Authority: "checksum database test"}
		}
	})
	for range 2 {
		_, _, err := get(t, m, zipKey)
		if contradiction := (*cache.ContradictionError)(nil); !errors.As(err, &contradiction) {
			t.Errorf("got %v, want a contradiction", err)
		}
	}
	aside, err := m.opts.Store.Quarantined()
	if err != nil || len(aside) != 1 || aside[0].Upstream != "test" || aside[0].Want != "h1:good" {
		t.Errorf("quarantined %+v, %v; want the zip once, with who delivered and what was wanted", aside, err)
	}
}

func TestPatternMovesNothing(t *testing.T) {
	for _, tt := range []struct {
		name    string
		verdict cache.Verdict
		want    string // state of the old public file once the module is private
	}{
		{"vouched for", cache.Verified, Hit},
		{"not yet vouched for", cache.Unverified, Miss}, // it may be a stranger's who knew the name
		{"never asked about", cache.Exempt, Miss},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := &origin{answers: map[string][]byte{zipKey: zipOf(t, "v1.0.0", "a"), modKey: []byte("module example.com/m\n")}}
			private := false
			m := newMirror(t, o, func(opts *Options) {
				opts.Private = func(string) bool { return private }
				opts.Verify = func(_ context.Context, _ cache.Key, d *cache.Draft) error { d.Judge(tt.verdict); return nil }
			})
			if _, _, err := get(t, m, zipKey); err != nil {
				t.Fatal(err)
			}
			private = true
			if _, state, err := get(t, m, zipKey); state != tt.want || err != nil {
				t.Errorf("old public file of a private module: %q, %v; want %q", state, err, tt.want)
			}
			if _, _, err := get(t, m, modKey); err != nil {
				t.Fatal(err)
			}
			private = false
			if _, state, err := get(t, m, modKey); state != Miss || err != nil {
				t.Errorf("file fetched while private, read as public: %q, %v; want a miss", state, err)
			}
		})
	}
}

// A log without -v is pasted into bug reports.
// TestPrivateIsAskedOfItsOrigin holds the promise no-leak at its root: whatever the
// origin says, the public source is not asked for a private name.
func TestPrivateIsAskedOfItsOrigin(t *testing.T) {
	public := &origin{}
	for _, fault := range []error{errors.New("down"), fs.ErrNotExist, &upstream.StatusError{Code: 404}, &upstream.StatusError{Code: 503}} {
		private := &origin{fault: fault}
		m := newMirror(t, public, func(opts *Options) {
			opts.Private = func(modPath string) bool { return strings.HasPrefix(modPath, "example.com/secret") }
			opts.Origin = private
		})
		for _, name := range []string{"list", "main.info", "v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip"} {
			if _, _, err := get(t, m, "example.com/secret/@v/"+name); err == nil {
				t.Errorf("%s with %v at the origin: got an answer, want an error", name, fault)
			}
		}
	}
	if n := len(public.asked); n != 0 {
		t.Errorf("the public source was asked %d times for a private module, want never", n)
	}
}

func TestLogNamesNoPrivateModule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := &origin{answers: map[string][]byte{listKey: []byte("v1.0.0\n")}}
		m := newMirror(t, o, func(opts *Options) {
			opts.Private = func(string) bool { return true }
			opts.Log = slog.New(slog.NewTextHandler(&log, nil))
		})
		if _, _, err := get(t, m, listKey); err != nil {
			t.Fatal(err)
		}
		o.set(func(o *origin) { o.fault = fmt.Errorf("fetch example.com/m from its origin: %w", refused) })
		time.Sleep(time.Hour)
		if _, state, err := get(t, m, listKey); state != Stale || err != nil {
			t.Fatalf("got %q, %v; want it stale", state, err)
		}
		if got := log.String(); !strings.Contains(got, "served stale") || strings.Contains(got, "example.com") {
			t.Errorf("logged %q, want that it was stale and not what", got)
		}
	})
}

func TestListDoesNotGrowWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &origin{answers: map[string][]byte{}}
		m := newMirror(t, o)
		for round := range 3 {
			var list bytes.Buffer
			for i := range 8_000 {
				fmt.Fprintf(&list, "v%d.%d.0-%s\n", round, i, strings.Repeat("x", 200))
			}
			o.set(func(o *origin) { o.answers[listKey] = list.Bytes() })
			text, _, err := get(t, m, listKey)
			if err != nil || len(text) > mergedLimit || !strings.Contains(text, fmt.Sprintf("v%d.7.0-x", round)) {
				t.Errorf("round %d: %d bytes, %v; want the new versions in %d bytes at most", round, len(text), err, mergedLimit)
			}
			time.Sleep(2 * time.Minute)
		}
	})
}

func TestMergeLists(t *testing.T) {
	tests := []struct{ name, old, fresh, want string }{
		{"same", "v1.0.0\n", "v1.0.0\n", "v1.0.0\n"},
		{"backwards", "v1.0.0\nv1.10.0\n", "v1.0.0\n", "v1.0.0\nv1.10.0\n"},
		{"semver order", "v1.10.0\n", "v1.9.0\nv1.10.0-rc.1", "v1.9.0\nv1.10.0-rc.1\nv1.10.0\n"},
		{"new time counts", "v1.0.0 2020-01-01T00:00:00Z\n", "v1.0.0 2021-01-01T00:00:00Z\n", "v1.0.0 2021-01-01T00:00:00Z\n"},
		{"a third column", "", "v1.0.0 2020-01-01T00:00:00Z and more\n", "v1.0.0 2020-01-01T00:00:00Z\n"},
		{"a line longer than a scanner takes", "v1.0.0 " + strings.Repeat("x", 70<<10) + "\n", "v1.1.0\n", "v1.0.0 " + strings.Repeat("x", 70<<10) + "\nv1.1.0\n"},
		{"empty", "", "\n\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := mergeLists(strings.NewReader(tt.old), strings.NewReader(tt.fresh))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestLatest(t *testing.T) {
	tests := []struct {
		name     string
		versions []string
		want     string
	}{
		{"release", []string{"v0.0.0-20200101000000-abcdefabcdef", "v1.0.0", "v1.1.0-rc.1"}, "v1.0.0"},
		{"pre-release", []string{"v0.0.0-20200101000000-abcdefabcdef", "v1.0.0-alpha", "v1.0.0-beta"}, "v1.0.0-beta"},
		{"pseudo", []string{"v0.0.0-20200101000000-abcdefabcdef", "v0.0.0-20210101000000-abcdefabcdef"}, "v0.0.0-20210101000000-abcdefabcdef"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := latest(tt.versions); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
