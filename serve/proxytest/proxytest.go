// Package proxytest is the far side of a pull, for tests: a module proxy on
// 127.0.0.1 with a checksum database of its own, whose modules are made on the spot
// and whose link can be slow, lossy or hostile.
//
// An [Upstream] answers as the module proxy protocol wants it until [Upstream.Fault]
// tells it otherwise. Go tests start one with [New]; test scripts use the commands
// that [Cmds] adds. Nothing here leaves the loopback interface, so that a test that
// passes with it passes with the cable out.
//
// Protocol: https://go.dev/ref/mod#goproxy-protocol.
package proxytest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// Options says how an [Upstream] starts. The zero value is a plain HTTP proxy with
// a database of its own and no modules.
type Options struct {
	TLS      bool      // speak TLS and http2, by a CA of its own: see CAFile
	Dir      string    // where the CA file goes; "" means a new temporary folder
	Database *Database // relayed below /sumdb/; nil means a new one
	Fixtures bool      // start with all of [Fixtures]
	Link     Link      // how far away it seems to be
}

// Upstream is a module proxy. All its methods may be called while it serves.
type Upstream struct {
	URL    string // for GOPROXY; the same after Stop and Restart
	CAFile string // PEM; "" without TLS

	db   *Database
	addr string
	srv  *http.Server
	free func() // gives the port up
	cert *certificate
	link *clock

	trips trips

	mu     sync.Mutex
	mods   map[string]*answers // by escaped module path
	log    []string            // guarded by mu
	news   chan struct{}       // guarded by mu; closed and replaced at each request
	faults []*activeFault      // guarded by mu
	manner Manner              // guarded by mu

	answered int // guarded by mu; how many sound answers were given
}

// New starts an upstream that stops when the test ends.
func New(tb testing.TB, o Options) *Upstream {
	tb.Helper()
	if o.Dir == "" {
		o.Dir = tb.TempDir()
	}
	u, err := Start(o)
	if err != nil {
		tb.Fatalf("start upstream: %v", err)
	}
	tb.Cleanup(u.close)
	return u
}

// Start starts an upstream for callers that are no Go test; they must call Stop.
func Start(o Options) (*Upstream, error) {
	u := &Upstream{db: o.Database, link: &clock{link: o.Link}, mods: make(map[string]*answers), news: make(chan struct{})}
	var err error
	if u.db == nil {
		if u.db, err = newDatabase(DatabaseName); err != nil {
			return nil, err
		}
	}
	scheme := "http"
	if o.TLS {
		scheme = "https"
		if u.cert, err = newCertificate(); err != nil {
			return nil, err
		}
		if o.Dir == "" {
			return nil, errors.New("an upstream with TLS needs Options.Dir")
		}
		u.CAFile = path.Join(o.Dir, "upstream-ca.pem")
		if err := os.WriteFile(u.CAFile, u.cert.ca, 0o600); err != nil {
			return nil, err
		}
	}
	if o.Fixtures {
		for _, m := range Fixtures() {
			if err := u.add(m); err != nil {
				return nil, err
			}
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	u.free = func() {}
	if runtime.GOOS == "linux" { // elsewhere it might keep us from the port too
		if u.free, err = keepPort(ln); err != nil {
			return nil, errors.Join(err, ln.Close())
		}
	}
	u.addr = ln.Addr().String()
	u.URL = scheme + "://" + u.addr
	u.listen(ln)
	return u, nil
}

// Restart listens on the address of the first start again.
func (u *Upstream) Restart() error {
	ln, err := net.Listen("tcp", u.addr)
	if err != nil {
		return err
	}
	u.listen(ln)
	return nil
}

// listen serves, and returns at once.
func (u *Upstream) listen(ln net.Listener) {
	u.srv = &http.Server{Handler: u, ReadHeaderTimeout: time.Minute}
	ln = farListener{ln, u.link, u.cert != nil}
	// Serve returns when Stop closes the server.
	if u.cert != nil {
		u.srv.TLSConfig = u.cert.config()
		go u.srv.ServeTLS(ln, "", "")
	} else {
		go u.srv.Serve(ln)
	}
}

// Stop closes the listener and every connection, as a killed process would. The port
// stays ours.
func (u *Upstream) Stop() { u.srv.Close() }

// close is the last Stop.
func (u *Upstream) close() {
	u.Stop()
	u.free()
}

// SumDBKey is the database's "name+hash+key", a value for GOSUMDB.
func (u *Upstream) SumDBKey() string { return u.db.Key }

// Add makes a module version out of files, named by their path in the module, and
// serves it from now on. The database vouches for the first bytes that any upstream
// adds for a version: adding others later makes a contradiction.
func (u *Upstream) Add(tb testing.TB, modPath, version string, files map[string]string) {
	tb.Helper()
	if err := u.add(Module{modPath, version, files}); err != nil {
		tb.Fatalf("add %s@%s: %v", modPath, version, err)
	}
}

// Branch makes the upstream resolve a branch or commit name to a version it has.
func (u *Upstream) Branch(modPath, ref, version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answersFor(modPath).branches[ref] = version
}

// Requests returns one "METHOD /path" a request, in the order of arrival.
func (u *Upstream) Requests() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return append([]string(nil), u.log...)
}

// Count returns how many requests so far have a path that ends in suffix.
func (u *Upstream) Count(suffix string) int {
	n := 0
	for _, line := range u.Requests() {
		if strings.HasSuffix(line, suffix) {
			n++
		}
	}
	return n
}

// Await returns once a path that ends in suffix has been asked for.
func (u *Upstream) Await(ctx context.Context, suffix string) error {
	for {
		u.mu.Lock()
		news := u.news
		u.mu.Unlock()
		if u.Count(suffix) > 0 {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return fmt.Errorf("wait for a request of %s: %w", suffix, ctx.Err())
		}
	}
}

// Forget empties the log of requests, and starts Counts again.
func (u *Upstream) Forget() {
	u.trips.forget()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.log = nil
}

// ServeHTTP is the proxy itself.
func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	u.log = append(u.log, r.Method+" "+r.URL.Path)
	close(u.news)
	u.news = make(chan struct{})
	u.mu.Unlock()
	w, done := u.trips.begin(w, r)
	defer done()
	if !u.link.travel(r.Context()) {
		return
	}
	w = &pacedWriter{ResponseWriter: w, link: u.link, ctx: r.Context()}
	if f := u.faultFor(r.URL.Path); f != nil {
		f.serve(u, w, r)
		return
	}
	u.serve(w, r)
}

// serve answers as a healthy proxy does.
func (u *Upstream) serve(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/sumdb/") {
		u.db.relay(w, r)
		return
	}
	a, err := u.answer(r.URL.Path)
	if err != nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprintf(w, "not found: %v\n", err)
		return
	}
	u.write(w, r, a)
}
