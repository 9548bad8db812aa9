package proxytest

import (
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
)

// DatabaseName is the name of the databases that [Options] makes. It resolves
// nowhere: who wants to reach the database must go through an upstream.
const DatabaseName = "sumdb.test"

// Database is a checksum database. Several upstreams may relay the same one.
type Database struct {
	Name string
	Key  string // "name+hash+key", a value for GOSUMDB

	handler http.Handler

	mu    sync.Mutex
	lines map[module.Version]string // guarded by mu
}

// NewDatabase makes an empty database. Its name may hold slashes.
func NewDatabase(tb testing.TB, name string) *Database {
	tb.Helper()
	d, err := newDatabase(name)
	if err != nil {
		tb.Fatalf("make database %s: %v", name, err)
	}
	return d
}

func newDatabase(name string) (*Database, error) {
	signer, key, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, err
	}
	d := &Database{Name: name, Key: key, lines: make(map[module.Version]string)}
	d.handler = sumdb.NewServer(sumdb.NewTestServer(signer, d.gosum))
	return d, nil
}

// vouch records the hashes of a version, unless it has some already.
func (d *Database) vouch(v module.Version, h1, modH1 string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.lines[v]; !ok {
		d.lines[v] = goSumLines(v, h1, modH1)
	}
}

// Flip makes the database vouch for bytes that nobody has. It must come before the
// first lookup of the version: what is in the log stays.
func (d *Database) Flip(modPath, version string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	other := "h1:" + strings.Repeat("A", 43) + "="
	v := module.Version{Path: modPath, Version: version}
	d.lines[v] = goSumLines(v, other, other)
}

func goSumLines(v module.Version, h1, modH1 string) string {
	return fmt.Sprintf("%s %s %s\n%s %s/go.mod %s\n", v.Path, v.Version, h1, v.Path, v.Version, modH1)
}

func (d *Database) gosum(modPath, version string) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	lines, ok := d.lines[module.Version{Path: modPath, Version: version}]
	if !ok {
		return nil, fmt.Errorf("%s@%s: unknown revision", modPath, version)
	}
	return []byte(lines), nil
}

// relay answers the paths below /sumdb/ as a proxy does.
func (d *Database) relay(w http.ResponseWriter, r *http.Request) {
	prefix := "/sumdb/" + d.Name
	rest, ok := strings.CutPrefix(r.URL.Path, prefix)
	switch {
	case !ok || !strings.HasPrefix(rest, "/"):
		http.Error(w, "not found: another database", http.StatusNotFound)
	case rest == "/supported":
		w.WriteHeader(http.StatusOK)
	default:
		http.StripPrefix(prefix, d.handler).ServeHTTP(w, r)
	}
}

// Serve puts the database itself on the loopback interface, for GOSUMDB="key url",
// and returns its URL and what stops it.
func (d *Database) Serve() (url string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	srv := &http.Server{Handler: d.handler}
	go srv.Serve(ln) // ends by stop
	return "http://" + ln.Addr().String(), func() { srv.Close() }, nil
}
