package sumdb

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/cache"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
)

func newStore(t *testing.T) *cache.Store {
	t.Helper()
	store, err := cache.Open(cache.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// modDraft is a checked go.mod on its way into a store.
func modDraft(t *testing.T, store *cache.Store, mod module.Version, body string) (cache.Key, *cache.Draft) {
	t.Helper()
	key, err := cache.NewKey(mod.Path, mod.Version, cache.Mod)
	if err != nil {
		t.Fatal(err)
	}
	draft, err := store.Draft(cache.Public, key)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(draft.Discard)
	if _, err := draft.ReadFrom(strings.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if err := draft.Check(); err != nil {
		t.Fatal(err)
	}
	return key, draft
}

// pull verifies a go.mod as a pull would, and commits it if it may be.
func pull(t *testing.T, d *Database, store *cache.Store, mod module.Version, body string) (cache.Verdict, error) {
	t.Helper()
	key, draft := modDraft(t, store, mod, body)
	if err := d.Verify(t.Context(), key, draft); err != nil {
		return "", err
	}
	if err := draft.Commit(cache.Meta{Upstream: "test", Fetched: time.Now()}); err != nil {
		t.Fatal(err)
	}
	meta, err := store.VersionMeta(mod)
	if err != nil {
		t.Fatal(err)
	}
	return meta.Verdict, nil
}

func TestVerify(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	tools := newTestDB(t, "std.example.com")
	for _, tc := range []struct {
		name, modPath, gosumdb string
		body                   string
		want                   cache.Verdict // "" is a contradiction
		asked                  bool
	}{
		{"same bytes", "example.com/a", db.vkey, testMod("example.com/a"), cache.Verified, true},
		{"other bytes", "example.com/a", db.vkey, testMod("example.com/a") + "\n", "", true},
		{"not in the database", "example.com/absent", db.vkey, testMod("example.com/absent"), cache.Unverified, true},
		{"GONOSUMDB", "example.com/nosum/x", db.vkey, "module x\n", cache.Exempt, false},
		{"private", "github.com/acme/x", db.vkey, "module x\n", cache.Exempt, false},
		{"from its origin", "github.com/fork/x", db.vkey, "module x\n", cache.Exempt, false},
		{"off", "example.com/a", "off", "module x\n", cache.Exempt, false},
		{"toolchain", toolchainPath, db.vkey, "module x\n", "", true},
		{"toolchain with GOSUMDB=off", toolchainPath, "off", "module x\n", "", true},
		{"right toolchain with GOSUMDB=off", toolchainPath, "off", testMod(toolchainPath), cache.Verified, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSetup(t, db)
			s.Client = host{"sum.example.com": db.Listener.Addr(), "std.example.com": tools.Listener.Addr()}.client(db.Server)
			s.GOSUMDB = tc.gosumdb
			s.NoSumDB = "example.com/nosum,golang.org"
			s.Private = func(modPath string) bool { return strings.HasPrefix(modPath, "github.com/acme/") }
			s.Origin = func(modPath string) bool { return strings.HasPrefix(modPath, "github.com/fork/") }
			s.std = source{name: tools.name, key: tools.vkey}
			d := s.open(t)
			before := db.asked.Load() + tools.asked.Load()
			mod := module.Version{Path: tc.modPath, Version: "v0.0.1-go1.99.0.linux-amd64"}
			d.Announce(t.Context(), mod)
			announced := db.asked.Load() + tools.asked.Load()
			got, err := pull(t, d, newStore(t), mod, tc.body)
			if got != tc.want {
				t.Errorf("got verdict %q and %v, want %q", got, err, tc.want)
			}
			var bad *cache.ContradictionError
			if errors.As(err, &bad) != (tc.want == "") {
				t.Errorf("got error %v", err)
			}
			if bad != nil && (!strings.HasPrefix(bad.Authority, "checksum database s") || bad.Got == bad.Want) {
				t.Errorf("got %+v", bad)
			}
			if asked := announced > before; asked != tc.asked {
				t.Errorf("got questions asked %v, want %v", asked, tc.asked)
			}
			if after := db.asked.Load() + tools.asked.Load(); tc.want != cache.Unverified && after != announced {
				t.Errorf("got %d questions after Announce, want none", after-announced)
			}
		})
	}
}

// TestVerifyZip verifies a zip, and one with other bytes.
func TestVerifyZip(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	db.log = sumdb.NewTestServer(db.skey, tinySum(t))
	d := newSetup(t, db).open(t)
	store := newStore(t)
	for _, tc := range []struct {
		name, text string
		want       bool
	}{{"same bytes", tinyText, true}, {"other bytes", tinyText + "\n", false}} {
		key, err := cache.NewKey("example.com/tiny", "v1.0.0", cache.Zip)
		if err != nil {
			t.Fatal(err)
		}
		draft, err := store.Draft(cache.Public, key)
		if err != nil {
			t.Fatal(err)
		}
		defer draft.Discard()
		draft.ReadFrom(bytes.NewReader(tinyZip("example.com/tiny", "v1.0.0", tc.text)))
		if err := draft.Check(); err != nil {
			t.Fatal(err)
		}
		err = d.Verify(t.Context(), key, draft)
		var bad *cache.ContradictionError
		if got := err == nil; got != tc.want || errors.As(err, &bad) == tc.want {
			t.Errorf("%s: got %v", tc.name, err)
		}
	}
}

// TestRecheck settles what was pulled while the database was away.
func TestRecheck(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	online := s.Client
	s.cut()
	d := s.open(t)
	store := newStore(t)
	good, bad, absent := mod(1), mod(2), module.Version{Path: "example.com/absent", Version: "v1.0.0"}
	for _, m := range []module.Version{good, bad, absent} {
		body := testMod(m.Path)
		if m == bad {
			body += "\n"
		}
		if got, err := pull(t, d, store, m, body); got != cache.Unverified {
			t.Fatalf("%v: got %q, %v", m, got, err)
		}
	}
	if !d.Status().OutOfReach {
		t.Error("status does not say that the database is out of reach")
	}
	if n, err := d.Recheck(t.Context(), store); n != 0 || err == nil {
		t.Errorf("still away: got %d checked, %v", n, err)
	}
	d.Close()
	s.Client = online
	d = s.open(t)
	if n, err := d.Recheck(t.Context(), store); n != 2 || err != nil {
		t.Errorf("got %d checked, %v, want 2", n, err)
	}
	if meta, err := store.VersionMeta(good); meta.Verdict != cache.Verified {
		t.Errorf("got verdict %q of the right bytes, %v", meta.Verdict, err)
	}
	if all, err := store.Quarantined(); len(all) != 1 || all[0].Module != bad.Path {
		t.Errorf("got %+v in quarantine, %v, want %s", all, err, bad.Path)
	}
	if left, err := store.Unverified(); len(left) != 1 || left[0] != absent {
		t.Errorf("got %v left, %v, want %v", left, err, absent)
	}
}

// TestRecheckExempt keeps what was not verified unverified while a pattern exempts it:
// when that has gone the bytes are looked at.
func TestRecheckExempt(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	for _, tc := range []struct {
		name   string
		exempt func(*setup)
	}{
		{"GONOSUMDB", func(s *setup) { s.NoSumDB = "example.com" }},
		{"private", func(s *setup) { s.Private = func(string) bool { return true } }},
		{"from its origin", func(s *setup) { s.Origin = func(string) bool { return true } }},
		{"off", func(s *setup) { s.GOSUMDB = "off" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			away := newSetup(t, db)
			away.cut()
			store := newStore(t)
			if got, err := pull(t, away.open(t), store, mod(1), testMod(mod(1).Path)+"\n"); got != cache.Unverified {
				t.Fatalf("database away: got %q, %v", got, err)
			}
			s := newSetup(t, db)
			tc.exempt(s)
			if n, err := s.open(t).Recheck(t.Context(), store); n != 0 || err != nil {
				t.Errorf("exempt: got %d checked, %v", n, err)
			}
			if n, err := newSetup(t, db).open(t).Recheck(t.Context(), store); n != 1 || err != nil {
				t.Errorf("no more exempt: got %d checked, %v", n, err)
			}
			if all, err := store.Quarantined(); len(all) != 1 {
				t.Errorf("got %+v in quarantine, %v, want %s", all, err, mod(1).Path)
			}
		})
	}
}

// TestBlackHole is the database that takes connections and never answers, in real
// time: the upstream relays it, or a slow lookup waits for it once.
func TestBlackHole(t *testing.T) {
	hole, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hole.Close() }) // nobody accepts: the kernel does, and says nothing
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, tc := range []struct {
		name     string
		database net.Addr
		upstream string        // "" relays
		wait     time.Duration // of the first pull
	}{
		{"database black-holed, upstream relays", hole.Addr(), "", 0},
		{"database closed, upstream relays", closed.Addr(), "", 0},
		{"upstream closed", nil, "http://" + closed.Addr().String(), 0},
		{"upstream black-holed", nil, "http://" + hole.Addr().String(), hedgeAfter},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			db := newTestDB(t, "sum.example.com/team/db")
			s := newSetup(t, db)
			if tc.database != nil {
				s.Client = host{"sum.example.com": tc.database}.client(db.Server)
			}
			s.Remotes = via(db.Server)
			if tc.upstream != "" {
				s.Remotes = via(&httptest.Server{URL: tc.upstream})
			}
			d := s.open(t)
			store := newStore(t)
			for i, wait := range []time.Duration{tc.wait, 0, 0} {
				start := time.Now()
				if got, err := pull(t, d, store, mod(i), testMod(mod(i).Path)); got != cache.Verified {
					t.Errorf("pull %d: got %q, %v", i, got, err)
				}
				// A busy machine adds to it, but not as much as a second wait.
				if took := time.Since(start); took < wait || took >= wait+hedgeAfter {
					t.Errorf("pull %d took %v, want a little over %v", i, took, wait)
				}
			}
		})
	}
}

// TestPatience is a database that nobody reaches: a pull waits for it once.
func TestPatience(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	synctest.Test(t, func(t *testing.T) {
		s := newSetup(t, db)
		s.cut()
		s.Remotes = func() []Remote { return []Remote{never("hole")} }
		d := s.open(t)
		store := newStore(t)
		for i, want := range []time.Duration{verifyPatience, 0, 0} {
			start := time.Now()
			if got, err := pull(t, d, store, mod(i), testMod(mod(i).Path)); got != cache.Unverified {
				t.Errorf("pull %d: got %q, %v", i, got, err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("pull %d took %v, want %v", i, took, want)
			}
		}
		d.Close()
	})
}

// TestUserDatabase has an address of its own in GOSUMDB.
func TestUserDatabase(t *testing.T) {
	db := newTestDB(t, "sum.example.com/team/db")
	s := newSetup(t, db)
	s.cut()
	own := httptest.NewServer(http.StripPrefix("/mine", http.HandlerFunc(db.serve)))
	defer own.Close()
	s.GOSUMDB += " " + own.URL + "/mine/"
	d := s.open(t)
	if got, err := pull(t, d, newStore(t), mod(1), testMod(mod(1).Path)); got != cache.Verified {
		t.Errorf("got %q, %v", got, err)
	}
	if got := d.Status(); got.Name != db.name || got.TreeSize != 1 || len(got.Names) != 2 {
		t.Errorf("got status %+v", got)
	}
}

// TestLyingRelay passes by an upstream that relays wrong bytes.
func TestLyingRelay(t *testing.T) {
	flip := func(body []byte, at int) []byte {
		body = append([]byte(nil), body...)
		body[at%len(body)] ^= 1
		return body
	}
	for name, change := range map[string]func(string, []byte) []byte{
		"tiles": func(path string, body []byte) []byte {
			if strings.HasPrefix(path, "/tile/") {
				return flip(body, 7)
			}
			return body
		},
		"hashes": func(path string, body []byte) []byte {
			if i := strings.Index(string(body), "h1:"); strings.HasPrefix(path, "/lookup/") && i > 0 {
				return flip(body, i+5)
			}
			return body
		},
		"signature": func(_ string, body []byte) []byte { return flip(body, len(body)-3) },
		"web page":  func(string, []byte) []byte { return []byte("<html>Sign in</html>") },
		"empty":     func(string, []byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			db := newTestDB(t, "sum.example.com")
			db.grow(t, 300)
			liar := newTestDB(t, db.name)
			liar.log = db.log
			liar.lie(change)
			s := newSetup(t, db)
			s.Remotes = via(liar.Server)
			d := s.open(t)
			if got, err := pull(t, d, newStore(t), mod(1), testMod(mod(1).Path)); got != cache.Verified {
				t.Errorf("got %q, %v", got, err)
			}
			if err := newUser(db, d).lookup(mod(1), mod(2)); err != nil {
				t.Error(err)
			}
			if d.Status().Fork != "" {
				t.Errorf("got fork %q: a broken relay is none", d.Status().Fork)
			}
		})
	}
}

// TestFork is a database that signs two histories.
func TestFork(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	d := s.open(t)
	store := newStore(t)
	db.grow(t, 300)
	if err := newUser(db, d).lookup(mod(1)); err != nil {
		t.Fatal(err)
	}
	before := d.Status()
	db.restart()
	db.log.Lookup(t.Context(), mod(99))
	db.grow(t, 500)
	for i := range 2 {
		got, err := pull(t, d, store, mod(2+i), testMod(mod(2+i).Path))
		if got != cache.Unverified {
			t.Errorf("after the fork: got %q, %v", got, err)
		}
		if err := newUser(db, d).lookup(mod(1)); err == nil || !strings.Contains(err.Error(), "contradicts itself") {
			t.Errorf("got %v from the relay, want that the database contradicts itself", err)
		}
		status := d.Status()
		if !strings.Contains(status.Fork, "the first 301 records") || status.TreeSize != before.TreeSize {
			t.Errorf("got status %+v, had %+v", status, before)
		}
		d.Close()
		d = s.open(t) // a restart does not forget
	}
	d.Close()
	for _, dir := range []string{s.StateDir, s.CacheDir} {
		if err := os.RemoveAll(filepath.Join(dir, db.name)); err != nil {
			t.Error(err)
		}
	}
	if err := newUser(db, s.open(t)).lookup(mod(1), mod(2)); err != nil {
		t.Errorf("trusted afresh: %v", err)
	}
}

// TestForkKept does not forget a fork whatever has become of the file that says so.
func TestForkKept(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	for _, tc := range []struct {
		name string
		kept func(file string) error
		want bool
	}{
		{"none", func(string) error { return nil }, false},
		{"empty", func(file string) error { return os.WriteFile(file, nil, 0o600) }, true},
		{"torn", func(file string) error { return os.WriteFile(file, []byte("old he"), 0o600) }, true},
		{"unreadable", func(file string) error { return os.Mkdir(file, 0o700) }, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSetup(t, db)
			folder := filepath.Join(s.StateDir, db.name)
			if err := errors.Join(os.MkdirAll(folder, 0o700), tc.kept(filepath.Join(folder, forkFile))); err != nil {
				t.Fatal(err)
			}
			d := s.open(t)
			if got := d.Status().Fork != ""; got != tc.want {
				t.Errorf("got status %+v, want a fork %v", d.Status(), tc.want)
			}
			if err := newUser(db, d).lookup(mod(1)); (err != nil) != tc.want {
				t.Errorf("got %v from the relay, want a fork %v", err, tc.want)
			}
		})
	}
	// The disk takes no new file in place of the old one, only that one by itself.
	s := newSetup(t, db)
	d := s.open(t)
	if err := os.Mkdir(filepath.Join(s.StateDir, db.name, forkFile+".new"), 0o700); err != nil {
		t.Fatal(err)
	}
	d.main.setFork("two histories")
	d.Close()
	if got := s.open(t).Status().Fork; !strings.Contains(got, "two histories") {
		t.Errorf("full disk: got fork %q", got)
	}
}

// TestForkByLatest is a fork that shows when a user knows a newer head than we do.
func TestForkByLatest(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	d := newSetup(t, db).open(t)
	db.grow(t, 300)
	if err := newUser(db, d).lookup(mod(1)); err != nil {
		t.Fatal(err)
	}
	db.restart()
	db.log.Lookup(t.Context(), mod(99))
	db.grow(t, 900)
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, httptest.NewRequest("GET", "/sumdb/"+db.name+"/tile/8/0/002", nil))
	if rec.Code != http.StatusBadGateway || d.Status().Fork == "" {
		t.Errorf("got %d %s, fork %q", rec.Code, rec.Body, d.Status().Fork)
	}
}

// TestRollback is a remote that serves an old state of the same history.
func TestRollback(t *testing.T) {
	db, old := newTestDB(t, "sum.example.com"), newTestDB(t, "sum.example.com")
	old.skey, old.vkey = db.skey, db.vkey
	old.restart()
	db.grow(t, 100)
	old.grow(t, 100)
	db.grow(t, 400)
	s := newSetup(t, db)
	d := s.open(t)
	if _, err := pull(t, d, newStore(t), mod(1), testMod(mod(1).Path)); err != nil {
		t.Fatal(err)
	}
	want := d.Status().TreeSize
	d.Close()
	s.Remotes = via(old.Server)
	d = s.open(t)
	filler := module.Version{Path: "example.com/filler7", Version: "v1.0.0"}
	if got, err := pull(t, d, newStore(t), filler, testMod(filler.Path)); got != cache.Verified {
		t.Errorf("old record: got %q, %v", got, err)
	}
	if got := d.Status(); got.TreeSize != want || got.Fork != "" {
		t.Errorf("got status %+v, want tree size %d", got, want)
	}
	c := d.main
	newest, _ := c.head.load()
	if err := c.head.swap(newest.note, must(old.log.Signed(t.Context()))); err == nil {
		t.Error("the head moved back")
	}
	u := newUser(db, d)
	if err := u.lookup(filler, mod(1)); err != nil {
		t.Error(err)
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// TestDamagedHead says what to do about a head that nobody has signed.
func TestDamagedHead(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	d := s.open(t)
	if err := newUser(db, d).lookup(mod(1)); err != nil {
		t.Fatal(err)
	}
	d.Close()
	file := filepath.Join(s.StateDir, db.name, headFile)
	os.WriteFile(file, []byte("\x00\x00\x00"), 0o600)
	d = s.open(t)
	rec := httptest.NewRecorder()
	d.ServeHTTP(rec, httptest.NewRequest("GET", "/sumdb/"+db.name+"/lookup/example.com/a@v1.0.0", nil))
	if want := "try: remove "; rec.Code != 500 || !strings.Contains(rec.Body.String(), want) {
		t.Errorf("got %d %s, want %q", rec.Code, rec.Body, want)
	}
	if got, err := pull(t, d, newStore(t), mod(2), testMod(mod(2).Path)); got != cache.Unverified {
		t.Errorf("got %q, %v", got, err)
	}
	os.Remove(file)
	if err := newUser(db, d).lookup(mod(1)); err != nil {
		t.Errorf("after what we told to do: %v", err)
	}
}

// TestCancelled gives up with the client, and the lookup goes on for the next.
func TestCancelled(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	d := newSetup(t, db).open(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	key, _ := cache.NewKey(mod(1).Path, mod(1).Version, cache.Mod)
	draft, _ := newStore(t).Draft(cache.Public, key)
	draft.ReadFrom(strings.NewReader(testMod(mod(1).Path)))
	draft.Check()
	if err := d.Verify(ctx, key, draft); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := newUser(db, d).lookup(mod(1)); err != nil {
		t.Error(err)
	}
}

// TestUnreachableText is what the go command shows.
func TestUnreachableText(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	s := newSetup(t, db)
	s.cut()
	for _, tc := range []struct {
		name    string
		offline bool
		want    string
	}{
		{"away", false, "ask checksum database sum.example.com: https://sum.example.com: "},
		{"offline", true, "gomirror runs offline\ntry: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.Offline = tc.offline
			d := s.open(t)
			rec := httptest.NewRecorder()
			d.ServeHTTP(rec, httptest.NewRequest("GET", "/sumdb/"+db.name+"/lookup/example.com/a@v1.0.0", nil))
			if rec.Code != 504 || !strings.Contains(rec.Body.String(), tc.want) {
				t.Errorf("got %d %s, want %q", rec.Code, rec.Body, tc.want)
			}
		})
	}
}
