package sumdb

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gomirror/gomirror/serve/upstream"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/sumdb/note"
)

// testDB is a real checksum database on loopback. It is also a module proxy that
// relays itself, for its paths work with and without /sumdb/NAME before them.
type testDB struct {
	name, skey, vkey string
	*httptest.Server
	asked  atomic.Int64 // requests that arrived
	filler int

	mu     sync.Mutex
	log    *sumdb.TestServer
	change func(path string, body []byte) []byte // what a liar answers
	hops   []string                              // of all requests
}

// newTestDB starts a database over TLS as https://example.com or *.example.com.
func newTestDB(t testing.TB, name string) *testDB {
	t.Helper()
	skey, vkey, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		t.Fatal(err)
	}
	db := &testDB{name: name, skey: skey, vkey: vkey}
	db.restart()
	db.Server = httptest.NewTLSServer(http.HandlerFunc(db.serve))
	t.Cleanup(db.Close)
	return db
}

// restart replaces the log by an empty one with the same key.
func (db *testDB) restart() {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.log = sumdb.NewTestServer(db.skey, testSum)
	db.filler = 0
}

func (db *testDB) serve(w http.ResponseWriter, r *http.Request) {
	db.asked.Add(1)
	db.mu.Lock()
	log, change := db.log, db.change
	db.hops = append(db.hops, r.Header.Get(upstream.HopHeader))
	db.mu.Unlock()
	path, relayed := strings.CutPrefix(r.URL.Path, "/sumdb/"+db.name)
	if _, own, ok := strings.Cut(db.name, "/"); ok && !relayed {
		path = strings.TrimPrefix(path, "/"+own)
	}
	if path == "/supported" {
		return
	}
	defer func() {
		if recover() != nil { // TestServer's answer to what it does not have
			w.WriteHeader(http.StatusNotFound)
		}
	}()
	rec := httptest.NewRecorder()
	sumdb.NewServer(log).ServeHTTP(rec, &http.Request{Method: "GET", URL: &url.URL{Path: path}})
	body := rec.Body.Bytes()
	if change != nil {
		body = change(path, body)
	}
	w.WriteHeader(rec.Code)
	w.Write(body)
}

// grow adds n records.
func (db *testDB) grow(t testing.TB, n int) {
	t.Helper()
	for range n {
		db.filler++
		if _, err := db.log.Lookup(t.Context(), module.Version{Path: fmt.Sprintf("example.com/filler%d", db.filler), Version: "v1.0.0"}); err != nil {
			t.Fatal(err)
		}
	}
}

// lie makes the database's answers go through change.
func (db *testDB) lie(change func(path string, body []byte) []byte) {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.change = change
}

// testMod is the go.mod of every test module.
func testMod(modPath string) string { return "module " + modPath + "\n" }

func testModSum(modPath string) string {
	h1, _ := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(testMod(modPath))), nil
	})
	return h1
}

// testSum knows all modules, but for those that are absent.
func testSum(modPath, version string) ([]byte, error) {
	if strings.Contains(modPath, "absent") {
		return nil, fs.ErrNotExist
	}
	return fmt.Appendf(nil, "%s %s h1:%044d\n%s %s/go.mod %s\n", modPath, version, len(modPath), modPath, version, testModSum(modPath)), nil
}

// host maps names to loopback servers; every other name can't be dialled.
type host map[string]net.Addr

func (h host) client(certs *httptest.Server) *http.Client {
	tr := http.DefaultTransport.(*http.Transport).Clone()
	if certs != nil {
		tr = certs.Client().Transport.(*http.Transport).Clone()
	}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		name, _, _ := net.SplitHostPort(addr)
		if to, ok := h[name]; ok {
			addr = to.String()
		} else if !net.ParseIP(name).IsLoopback() {
			return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("no host %s in this test", name)}
		}
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
	tr.Proxy = nil
	return &http.Client{Transport: tr}
}

// setup is a Database in folders of the test's own.
type setup struct {
	Options
	dir string
	db  *testDB
	std source // stands in for the go command's default database
}

func newSetup(t testing.TB, db *testDB) *setup {
	t.Helper()
	dir := t.TempDir()
	hosts := host{strings.Split(db.name, "/")[0]: db.Listener.Addr()}
	return &setup{dir: dir, db: db, Options: Options{
		GOSUMDB: db.vkey, StateDir: dir + "/state", CacheDir: dir + "/cache", Client: hosts.client(db.Server),
	}}
}

// open starts a Database as a new process would.
func (s *setup) open(t testing.TB) *Database {
	t.Helper()
	if s.std.name == "" {
		s.std.name = "std.example.com"
		_, s.std.key, _ = note.GenerateKey(rand.Reader, s.std.name)
	}
	d, err := newDatabase(s.Options, s.std)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// cut takes the network away.
func (s *setup) cut() { s.Client = host{}.client(s.db.Server) }

// via makes a server the upstream that relays.
func via(servers ...*httptest.Server) func() []Remote {
	var remotes []Remote
	for _, srv := range servers {
		u, _ := url.Parse(srv.URL)
		remotes = append(remotes, upstream.NewProxy(u, cmp.Or(srv.Client(), http.DefaultClient), ""))
	}
	return func() []Remote { return remotes }
}

// user is the go command's side: a real x/mod client behind a relay, with its own
// state, which it keeps or not.
type user struct {
	db     *testDB
	relay  http.Handler
	cache  sync.Map
	latest []byte

	mu     sync.Mutex
	misses []string // tiles that were not served
	fatal  []string // security errors
}

func newUser(db *testDB, relay http.Handler) *user { return &user{db: db, relay: relay} }

// lookup asks for a version as one go command would.
func (u *user) lookup(versions ...module.Version) error {
	c := sumdb.NewClient(u)
	for _, mod := range versions {
		lines, err := c.Lookup(mod.Path, mod.Version)
		if err != nil {
			return err
		}
		if want := "h1:"; len(lines) != 1 || !strings.Contains(lines[0], want) {
			return fmt.Errorf("got lines %q of %v", lines, mod)
		}
	}
	return nil
}

// forget is go clean -modcache, and more.
func (u *user) forget() { u.cache.Clear(); u.latest = nil }

func (u *user) ReadRemote(path string) ([]byte, error) {
	rec := httptest.NewRecorder()
	u.relay.ServeHTTP(rec, httptest.NewRequest("GET", "/sumdb/"+u.db.name+path, nil))
	if rec.Code != 200 {
		u.mu.Lock()
		defer u.mu.Unlock()
		if strings.HasPrefix(path, "/tile/") {
			u.misses = append(u.misses, path)
		}
		return nil, fmt.Errorf("%s: %d: %s", path, rec.Code, rec.Body)
	}
	return rec.Body.Bytes(), nil
}

func (u *user) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(u.db.vkey), nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.latest, nil
}

func (u *user) WriteConfig(_ string, old, next []byte) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if string(u.latest) != string(old) {
		return sumdb.ErrWriteConflict
	}
	u.latest = next
	return nil
}

func (u *user) ReadCache(file string) ([]byte, error) {
	if data, ok := u.cache.Load(file); ok {
		return data.([]byte), nil
	}
	return nil, os.ErrNotExist
}
func (u *user) WriteCache(file string, data []byte) { u.cache.Store(file, data) }
func (u *user) Log(string)                          {}
func (u *user) SecurityError(msg string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.fatal = append(u.fatal, msg)
}

// mod names a version that only this test asks for.
func mod(n int) module.Version {
	return module.Version{Path: fmt.Sprintf("example.com/Mod%d", n), Version: "v1.2.3"}
}
