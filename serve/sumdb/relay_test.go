package sumdb

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"
)

// TestColdOffline is the heart of the relay: lookups made at many tree sizes, then no
// network, and go commands that know nothing or that know any earlier head.
func TestColdOffline(t *testing.T) {
	for _, name := range []string{"sum.example.com", "sum.example.com/team/db"} {
		t.Run(name, func(t *testing.T) {
			db := newTestDB(t, name)
			s := newSetup(t, db)
			d := s.open(t)
			var users []*user
			var mods []module.Version
			for i, step := range []int{1, 3, 255, 1, 200, 77, 513, 2, 40, 256, 1000} {
				mods = append(mods, mod(i))
				u := newUser(db, d)
				if err := u.lookup(mods...); err != nil {
					t.Fatalf("online after step %d: %v", i, err)
				}
				users = append(users, u)
				db.grow(t, step)
				if i%4 == 3 {
					d.Close()
					d = s.open(t) // a restart
				}
			}
			d.Close()
			s.cut()
			d = s.open(t)
			asked := db.asked.Load()
			users = append(users, newUser(db, d))
			for i, u := range users {
				u.relay, u.misses = d, nil
				u.cache.Clear() // go clean -modcache keeps the head
				if err := u.lookup(mods...); err != nil {
					t.Errorf("offline user with head %d: %v", i, err)
				}
				if len(u.misses)+len(u.fatal) > 0 {
					t.Errorf("offline user with head %d: missed tiles %q, security errors %q", i, u.misses, u.fatal)
				}
			}
			if got := db.asked.Load(); got != asked {
				t.Errorf("got %d requests at the database, want none", got-asked)
			}
		})
	}
}

// TestNewerHead is a go command that has seen a newer head than we have, from
// elsewhere.
func TestNewerHead(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	d := s.open(t)
	u := newUser(db, d)
	db.grow(t, 300)
	if err := u.lookup(mod(1)); err != nil {
		t.Fatal(err)
	}
	db.grow(t, 700)
	elsewhere := newSetup(t, db).open(t)
	u.forget()
	u.relay = elsewhere
	if err := u.lookup(mod(2)); err != nil {
		t.Fatal(err)
	}
	u.relay = d
	if err := u.lookup(mod(1)); err != nil {
		t.Errorf("user with a newer head: %v", err)
	}
	if got, want := d.Status().TreeSize, elsewhere.Status().TreeSize; got < want {
		t.Errorf("got tree size %d, want %d or more", got, want)
	}
}

// TestRelayPaths is what the relay answers to which path.
func TestRelayPaths(t *testing.T) {
	db := newTestDB(t, "sum.example.com/team/db")
	s := newSetup(t, db)
	s.Private = func(modPath string) bool { return strings.HasPrefix(modPath, "github.com/acme/") }
	s.NoSumDB = "example.com/nosum,golang.org"
	d := s.open(t)
	db.grow(t, 300)
	base := "/sumdb/" + db.name
	for _, tc := range []struct {
		name, path string
		code       int
		want       string
	}{
		{"supported", base + "/supported", 200, ""},
		{"the default database, for toolchains", "/sumdb/std.example.com/supported", 200, ""},
		{"latest", base + "/latest", 200, "go.sum database tree\n300\n"},
		{"lookup", base + "/lookup/example.com/!a@v1.0.0", 200, "example.com/A v1.0.0/go.mod h1:"},
		{"toolchain, whatever GONOSUMDB says", base + "/lookup/golang.org/toolchain@v0.0.1-go1.99.0.linux-amd64", 200, "golang.org/toolchain v0.0.1-go1.99.0.linux-amd64 h1:"},
		{"unasked by GONOSUMDB", base + "/lookup/example.com/nosum@v1.0.0", 404, "example.com/nosum is in GONOSUMDB: the checksum database is not asked about it\ntry: set GONOSUMDB="},
		{"unasked by GONOSUMDB, below", base + "/lookup/example.com/nosum/!secret@v1.0.0", 404, "example.com/nosum/Secret is in GONOSUMDB"},
		{"full tile", base + "/tile/8/0/000", 200, ""},
		{"partial tile", base + "/tile/8/0/001.p/3", 200, ""},
		{"upper tile", base + "/tile/8/1/000.p/1", 200, ""},
		{"unasked private", base + "/lookup/github.com/acme/x@v1.0.0", 404, "github.com/acme/x is private: the checksum database is not asked about it\ntry: set GONOSUMDB="},
		{"unasked private with a capital", base + "/lookup/github.com/acme/!x@v1.0.0", 404, "github.com/acme/X is private: the checksum database is not asked about it\ntry: gomirror config set private PATTERNS,github.com/acme/X; eval"},
		{"absent", base + "/lookup/example.com/absent@v1.0.0", 404, "has no such version"},
		{"tile beyond the tree", base + "/tile/8/0/x123/456", 404, ""},
		{"tile of a level that no tree has", base + "/tile/8/63/000", 404, ""},
		{"tile far out", base + "/tile/8/0/x036/x028/x797/x018/x963/x968", 404, ""},
		{"tile whose end overflows", base + "/tile/8/0/x036/x028/x797/x018/x963/967", 404, ""},
		{"upper tile whose end overflows", base + "/tile/8/5/x032/767", 404, ""},
		{"last tile that a tree can have", base + "/tile/8/0/x140/x737/x488/x355/327", 404, ""},
		{"data tile", base + "/tile/8/data/000", 404, "hash tiles"},
		{"tile of another height", base + "/tile/4/0/000", 404, "hash tiles"},
		{"unknown database", "/sumdb/other.example.com/supported", 404, "not relayed here\ntry: set GOSUMDB to one of: "},
		{"half a name", "/sumdb/sum.example.com/supported", 404, "not relayed"},
		{"no name", "/sumdb/supported", 404, ""},
		{"branch", base + "/lookup/example.com/a@main", 404, ""},
		{"hostile path", base + "/lookup/../../x@v1.0.0", 404, ""},
		{"hostile version", base + "/lookup/example.com/a@../../v1.0.0", 404, ""},
		{"other", base + "/debug", 404, "want supported"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := db.asked.Load()
			rec := httptest.NewRecorder()
			r := httptest.NewRequest("GET", "/", nil)
			r.URL.Path = tc.path
			d.ServeHTTP(rec, r)
			body := rec.Body.String()
			if rec.Code != tc.code || !strings.Contains(body, tc.want) {
				t.Errorf("got %d %q, want %d %q", rec.Code, body, tc.code, tc.want)
			}
			if tc.code != 200 {
				if n := strings.Count(body, "\n"); n > 8 || n == 0 || strings.Contains(body, "\n\n") || len(body) > 648 {
					t.Errorf("got a text that go would not show: %q", body)
				}
				if got := rec.Header().Get("Content-Type"); got != "text/plain; charset=utf-8" {
					t.Errorf("got Content-Type %q", got)
				}
			}
			if strings.HasPrefix(tc.name, "unasked") && db.asked.Load() != asked {
				t.Errorf("the database was asked")
			}
		})
	}
}

// TestHops sends on through whom a question came, so that a circle of gomirrors ends.
func TestHops(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	db.grow(t, 300)
	for _, tc := range []struct {
		name, path string
		relayed    bool
	}{
		{"lookup at the database", "/lookup/example.com/a@v1.0.0", false},
		{"latest at the database", "/latest", false},
		{"tile at the database", "/tile/8/0/000", false},
		{"lookup at an upstream", "/lookup/example.com/b@v1.0.0", true},
		{"latest at an upstream", "/latest", true},
		{"tile at an upstream", "/tile/8/0/000", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSetup(t, db)
			s.HopID = "own"
			if tc.relayed {
				u, _ := url.Parse(db.URL)
				s.Remotes = func() []Remote { return []Remote{upstream.NewProxy(u, s.Client, "own")} }
			}
			d := s.open(t)
			db.mu.Lock()
			db.hops = nil
			db.mu.Unlock()
			r := httptest.NewRequest("GET", "/sumdb/"+db.name+tc.path, nil)
			r.Header[upstream.HopHeader] = []string{"a, b", "c"}
			rec := httptest.NewRecorder()
			d.ServeHTTP(rec, r)
			db.mu.Lock()
			defer db.mu.Unlock()
			if others := slices.DeleteFunc(slices.Clone(db.hops), func(h string) bool { return h == "a, b, c, own" }); rec.Code != 200 || len(db.hops) == 0 || len(others) > 0 {
				t.Errorf("got %d and hops %q, want all of them and ours: %s", rec.Code, db.hops, rec.Body)
			}
		})
	}
}

// TestLatestShared has many ask for the head at once.
func TestLatestShared(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	db.grow(t, 3)
	s := newSetup(t, db)
	d := s.open(t)
	const users = 20
	var asked, waiting atomic.Int64
	release := make(chan struct{})
	db.lie(func(path string, body []byte) []byte {
		if path == "/latest" {
			asked.Add(1)
			<-release
		}
		return body
	})
	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			ctx := &signalContext{t.Context(), func() {
				if waiting.Add(1) == users {
					close(release)
				}
			}, new(sync.Once)}
			if newest, err := d.main.advance(ctx, 1); err != nil || newest.tree.N != 3 {
				t.Errorf("got a tree of %d, %v", newest.tree.N, err)
			}
		})
	}
	wg.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times, want once", asked.Load())
	}
}

// signalContext tells when somebody waits for it.
type signalContext struct {
	context.Context
	tell func()
	once *sync.Once
}

func (c *signalContext) Done() <-chan struct{} {
	c.once.Do(c.tell)
	return c.Context.Done()
}

// TestCapabilityOfUpstream keeps the secret in the URL of an upstream gomirror out of
// every answer, also where a long text is cut.
func TestCapabilityOfUpstream(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	db := newTestDB(t, "sum.example.com")
	var wg sync.WaitGroup
	defer wg.Wait()
	for name, answer := range map[string]http.HandlerFunc{
		"fault": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"absent": func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasSuffix(r.URL.Path, "/supported") {
				w.WriteHeader(404)
			}
		},
		"web page": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", "text/html") },
	} {
		up := httptest.NewServer(answer)
		t.Cleanup(up.Close)
		for pad := 0; pad < 400; pad += 40 { // moves the place of the cut
			s := newSetup(t, db)
			s.cut()
			u, _ := url.Parse(up.URL + "/" + strings.Repeat("p", pad) + "/t/" + secret)
			s.Remotes = func() []Remote { return []Remote{upstream.NewProxy(u, up.Client(), "")} }
			d := s.open(t)
			d.main.reach.persist = 0
			for _, path := range []string{"latest", "tile/8/0/000", "lookup/example.com/a@v1.0.0"} {
				wg.Go(func() { // a 503 is asked for again, which takes its time
					rec := httptest.NewRecorder()
					d.ServeHTTP(rec, httptest.NewRequest("GET", "/sumdb/"+db.name+"/"+path, nil))
					if body := rec.Body.String(); rec.Code == 200 || strings.Contains(body, secret[:8]) {
						t.Errorf("%s, %s: got %d %s", name, path, rec.Code, body)
					}
				})
			}
		}
	}
}

// TestRelayDead has no remote left: who waits for a black hole waits once.
func TestRelayDead(t *testing.T) {
	const dial = 10 * time.Second
	unreachable := func(string) error { return noSuchHost() }
	closed := func(name string) *fakeRemote { return &fakeRemote{name: name, do: unreachable} }
	dropped := func(name string) *fakeRemote { return &fakeRemote{name: name, after: dial, do: unreachable} }
	db := newTestDB(t, "sum.example.com")
	for _, tc := range []struct {
		name            string
		upstream, owned *fakeRemote
		wait            time.Duration // at most, of the first
	}{
		{"all closed", closed("p"), closed("d"), 0},
		{"all packets dropped", dropped("p"), dropped("d"), hedgeAfter + dial},
		{"upstream takes connections and is silent", never("p"), closed("d"), probeLimit},
		{"upstream closed", closed("p"), dropped("d"), dial},
		{"upstream dropped", dropped("p"), closed("d"), dial},
	} {
		for _, path := range []string{"lookup/example.com/a@v1.0.0", "latest", "tile/8/0/000"} {
			t.Run(tc.name+"/"+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newSetup(t, db)
					s.Remotes = func() []Remote { return []Remote{tc.upstream} }
					d := s.open(t)
					defer d.Close()
					d.main.reach.direct = []Remote{tc.owned}
					get := func(want time.Duration) {
						t.Helper()
						start := time.Now()
						rec := httptest.NewRecorder()
						d.ServeHTTP(rec, httptest.NewRequest("GET", "/sumdb/"+db.name+"/"+path, nil))
						if took := time.Since(start); rec.Code != 504 || took > want {
							t.Errorf("got %d after %v, want 504 within %v: %s", rec.Code, took, want, rec.Body)
						}
					}
					get(tc.wait)
					get(0)
					get(0)
					time.Sleep(darkFor) // the bubble's clock
					asked := tc.upstream.count() + tc.owned.count()
					get(tc.wait)
					if got := tc.upstream.count() + tc.owned.count(); got < asked+2 {
						t.Errorf("got %d questions after the dark, want both asked", got-asked)
					}
					get(0)
				})
			})
		}
	}
}

// TestPartialTile cuts tiles from wider ones and keeps no narrower ones.
func TestPartialTile(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	d := newSetup(t, db).open(t)
	c := d.main
	wide := tlog.Tile{H: 8, L: 0, N: 7, W: 200}
	data := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef"), 256)
	for _, w := range []int{10, 200, 150} {
		narrow := wide
		narrow.W = w
		c.copy.writeTile(narrow, data[:w*tlog.HashSize])
		c.copy.prune(narrow)
	}
	for _, tc := range []struct{ w, want int }{{1, 32}, {10, 320}, {199, 199 * 32}, {200, 6400}, {201, 0}, {256, 0}} {
		tile := wide
		tile.W = tc.w
		if got, err := c.copy.tile(tile); len(got) != tc.want {
			t.Errorf("width %d: got %d bytes and %v, want %d", tc.w, len(got), err, tc.want)
		}
	}
	full := wide
	full.W = 256
	c.copy.writeTile(full, data)
	c.copy.prune(full)
	if got, err := c.copy.tile(wide); len(got) != 6400 {
		t.Errorf("cut from full: got %d bytes and %v", len(got), err)
	}
	if got := c.copy.partial(wide); len(got) != 0 {
		t.Errorf("got partial tiles of widths %d beside the full one, want none", got)
	}
}

// TestDamage flips a bit in every file of our copy: each is fetched again.
func TestDamage(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	d := s.open(t)
	db.grow(t, 700)
	for i := range 3 {
		if err := newUser(db, d).lookup(mod(i)); err != nil {
			t.Fatal(err)
		}
	}
	d.Close()
	n := 0
	err := filepath.WalkDir(s.CacheDir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[len(data)/3] ^= 1
		n++
		return os.WriteFile(path, data, 0o600)
	})
	if err != nil || n < 5 {
		t.Fatalf("damaged %d files: %v", n, err)
	}
	d = s.open(t)
	u := newUser(db, d)
	if err := u.lookup(mod(0), mod(1), mod(2)); err != nil || len(u.misses) > 0 {
		t.Errorf("after damage: %v, missed tiles %q", err, u.misses)
	}
	d.Close()
	s.cut()
	if err := newUser(db, s.open(t)).lookup(mod(0), mod(1), mod(2)); err != nil {
		t.Errorf("healed copy offline: %v", err)
	}
}

// TestCacheLost empties the cache under a running Database, and after.
func TestCacheLost(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	d := s.open(t)
	db.grow(t, 300)
	for range 2 {
		if err := newUser(db, d).lookup(mod(1), mod(2)); err != nil {
			t.Error(err)
		}
		dir := filepath.Join(s.CacheDir, "sum.example.com")
		os.RemoveAll(filepath.Join(dir, "tile"))
		os.RemoveAll(filepath.Join(dir, "lookup"))
		db.grow(t, 300)
	}
}

// TestDiskFull keeps verifying and relaying when nothing can be written.
func TestDiskFull(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	d := s.open(t)
	// Tests may run as root, whom no mode stops: files stand where folders are needed.
	for _, name := range []string{"cache/sum.example.com/tile", "cache/sum.example.com/lookup"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "state/sum.example.com/latest.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	u := newUser(db, d)
	for i := range 3 {
		db.grow(t, 300)
		if err := u.lookup(mod(i)); err != nil {
			t.Errorf("lookup %d: %v", i, err)
		}
	}
	u.forget()
	asked := db.asked.Load()
	if err := u.lookup(mod(0), mod(1), mod(2)); err != nil || db.asked.Load() != asked {
		t.Errorf("again: %v, %d requests", err, db.asked.Load()-asked)
	}
}

// TestConcurrent has many users of two Databases on the same folders, while the tree
// grows.
func TestConcurrent(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	relays := []*Database{s.open(t), s.open(t)}
	const users, lookups = 6, 8
	var wg sync.WaitGroup
	for i := range users {
		wg.Go(func() {
			u := newUser(db, relays[i%2])
			for j := range lookups {
				if err := u.lookup(mod(j), mod(100*i+j)); err != nil {
					t.Errorf("user %d, lookup %d: %v", i, j, err)
				}
				if len(u.misses) > 0 {
					t.Errorf("user %d, lookup %d: missed tiles %q", i, j, u.misses)
				}
			}
		})
	}
	for i := range 30 {
		for j := range 17 {
			db.log.Lookup(t.Context(), module.Version{Path: fmt.Sprintf("example.com/more%d", 100*i+j), Version: "v1.0.0"})
		}
	}
	wg.Wait()
	relays[0].Close()
	relays[1].Close()
	s.cut()
	d := s.open(t)
	for i := range users {
		u := newUser(db, d)
		for j := range lookups {
			if err := u.lookup(mod(100*i + j)); err != nil {
				t.Errorf("offline lookup of %v: %v", mod(100*i+j), err)
			}
		}
	}
}

// TestModes keeps all files and folders from other users.
func TestModes(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	if err := newUser(db, s.open(t)).lookup(mod(1)); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{s.StateDir, s.CacheDir} {
		filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
			if info, _ := e.Info(); !ownerOnly(info) {
				t.Errorf("%s has mode %v", path, info.Mode())
			}
			return nil
		})
	}
}

func FuzzParseQuestion(f *testing.F) {
	for _, seed := range []string{"supported", "latest", "lookup/example.com/!a@v1.0.0", "tile/8/0/x001/234.p/5", "tile/8/data/000", "lookup/@", "tile//", "/", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		q, err := parseQuestion(path)
		if err != nil {
			return
		}
		switch q.kind {
		case "lookup":
			if name, err := lookupName(q.lookup); err != nil || name != path {
				t.Errorf("lookup %q is %v, which is %q, %v", path, q.lookup, name, err)
			}
		case "tile":
			if q.tile.Path() != path {
				t.Errorf("tile %q is %q", path, q.tile.Path())
			}
			if w := widthIn(1<<40, q.tile); w < 0 || w > fullWidth {
				t.Errorf("tile %q has width %d", path, w)
			}
		case path:
		default:
			t.Errorf("%q has kind %q", path, q.kind)
		}
	})
}
