package sumdb

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// lateProofs has no tile answered before let is called, and all answers go through
// change, if that is not nil.
func (db *testDB) lateProofs(t *testing.T, change func(body []byte) []byte) (let func()) {
	gate := make(chan struct{})
	let = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(let)
	db.lie(func(path string, body []byte) []byte {
		if strings.HasPrefix(path, "/tile/") {
			<-gate
		}
		if change != nil {
			body = change(body)
		}
		return body
	})
	return let
}

// keepTrusted keeps a draft before its proof.
func keepTrusted(t *testing.T, d *Database, key cache.Key, draft *cache.Draft) {
	t.Helper()
	if err := errors.Join(d.Verify(waited(t.Context()), key, draft), draft.Commit(cache.Meta{Upstream: "test"})); err != nil {
		t.Fatal(err)
	}
}

// waited is the context of a file that a client waits for.
func waited(ctx context.Context) context.Context {
	now := make(chan struct{})
	close(now)
	return upstream.WithAwaited(ctx, now)
}

// TestTrust is a database whose proofs are late: only what a client waits for and its
// go.sum has goes ahead, and no other bytes than those that the database names.
func TestTrust(t *testing.T) {
	for _, test := range []struct {
		name    string
		waits   bool
		vouched bool
		body    string
		ahead   bool // it is served before the proof
		want    cache.Verdict
	}{
		{"in go.sum", true, true, testMod(mod(1).Path), true, cache.Verified},
		{"in none", true, false, testMod(mod(1).Path), false, cache.Verified},
		{"fetched ahead", false, true, testMod(mod(1).Path), false, cache.Verified},
		{"other bytes, in go.sum", true, true, testMod(mod(1).Path) + "\n", false, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := newTestDB(t, "sum.example.com")
			let := db.lateProofs(t, nil)
			s := newSetup(t, db)
			s.Vouched = func(of module.Version, _ string) bool {
				return test.vouched && of == module.Version{Path: mod(1).Path, Version: mod(1).Version + "/go.mod"}
			}
			d := s.open(t)
			store := newStore(t)
			ctx := t.Context()
			if test.waits {
				ctx = waited(ctx)
			}
			key, draft := modDraft(t, store, mod(1), test.body)
			judged := make(chan error, 1)
			go func() { judged <- d.Verify(ctx, key, draft) }()
			var err error
			select {
			case err = <-judged:
				if !test.ahead {
					t.Errorf("judged before the proof: %v", err)
				}
			case <-time.After(map[bool]time.Duration{true: 5 * time.Second, false: 300 * time.Millisecond}[test.ahead]):
				if test.ahead {
					t.Error("still waits for the proof")
				}
				let()
				err = <-judged
			}
			if contradicts := errors.As(err, new(*cache.ContradictionError)); contradicts != (test.want == "") || err != nil && !contradicts {
				t.Fatalf("got %v", err)
			}
			if err != nil {
				return
			}
			if err := draft.Commit(cache.Meta{Upstream: "test"}); err != nil {
				t.Fatal(err)
			}
			if meta, err := store.VersionMeta(mod(1)); err != nil || (meta.Verdict == cache.Unverified) != test.ahead {
				t.Errorf("kept as %q, %v", meta.Verdict, err)
			}
			let()
			d.Settle(store, key)
			d.settling.Wait()
			if meta, err := store.VersionMeta(mod(1)); err != nil || meta.Verdict != test.want {
				t.Errorf("settled as %q, %v, want %q", meta.Verdict, err, test.want)
			}
		})
	}
}

// TestTrustInALie is a relay whose lookups name the hash of its own bytes, and a go.sum
// that has the same. The proof comes too late for who waited, and evicts the bytes.
func TestTrustInALie(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	liar := newTestDB(t, db.name)
	liar.log = db.log
	store := newStore(t)
	key, draft := modDraft(t, store, mod(1), testMod(mod(1).Path)+"\n// And more.\n")
	let := liar.lateProofs(t, func(body []byte) []byte {
		return bytes.ReplaceAll(body, []byte(testModSum(mod(1).Path)), []byte(draft.H1()))
	})
	s := newSetup(t, db)
	s.Remotes = via(liar.Server)
	s.Vouched = func(module.Version, string) bool { return true }
	d := s.open(t)
	keepTrusted(t, d, key, draft)
	let()
	d.Settle(store, key)
	d.settling.Wait()
	if entry, err := store.Get(cache.Public, key); err == nil {
		entry.Close()
		t.Error("what the database contradicts is held yet")
	}
	held, err := store.Quarantined()
	if err != nil || len(held) != 1 {
		t.Errorf("in quarantine: %+v, %v, want the one file", held, err)
	}
}

// TestTrustedBeforeAStop has gomirror stop between the answer and the proof: the next one
// looks for it soon.
func TestTrustedBeforeAStop(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	let := db.lateProofs(t, nil)
	s := newSetup(t, db)
	s.Vouched = func(module.Version, string) bool { return true }
	d := s.open(t)
	store := newStore(t)
	key, draft := modDraft(t, store, mod(1), testMod(mod(1).Path))
	keepTrusted(t, d, key, draft)
	d.Settle(store, key)
	d.Close()
	d.Settle(store, key) // as a fill may that ends late
	let()
	d = s.open(t)
	d.due.mu.Lock()
	armed := d.due.timer != nil
	d.due.mu.Unlock()
	if !armed {
		t.Error("no recheck is due")
	}
	if n, err := d.Recheck(t.Context(), store); n != 1 || err != nil {
		t.Errorf("the recheck settled %d, %v, want 1", n, err)
	}
}

// TestTrustsNoToolchain: go asks the database about those, whatever a go.sum has.
func TestTrustsNoToolchain(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	let := db.lateProofs(t, nil)
	s := newSetup(t, db)
	s.Vouched = func(module.Version, string) bool { return true }
	d := s.open(t)
	v := module.Version{Path: toolchainPath, Version: "v0.0.1-go1.99.0.linux-amd64"}
	key, draft := modDraft(t, newStore(t), v, testMod(v.Path))
	judged := make(chan error, 1)
	go func() { judged <- d.Verify(waited(t.Context()), key, draft) }()
	select {
	case err := <-judged:
		t.Errorf("judged before the proof: %v", err)
	case <-time.After(20 * proofGrace):
		let()
		<-judged
	}
}

// TestTwoFilesOneProof has the proof come while the .zip of a version waits to be settled
// and its .mod, fetched ahead, to be judged.
func TestTwoFilesOneProof(t *testing.T) {
	for range 20 {
		db := newTestDB(t, "sum.example.com")
		db.log = sumdb.NewTestServer(db.skey, tinySum(t))
		let := db.lateProofs(t, nil)
		s := newSetup(t, db)
		s.Vouched = func(module.Version, string) bool { return true }
		d := s.open(t)
		store := newStore(t)
		v := module.Version{Path: "example.com/tiny", Version: "v1.0.0"}
		modKey, modDraft := modDraft(t, store, v, testMod(v.Path))
		zipKey := modKey.Sibling(cache.Zip)
		zip, err := store.Draft(cache.Public, zipKey)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := zip.ReadFrom(bytes.NewReader(tinyZip(v.Path, v.Version, tinyText))); err != nil {
			t.Fatal(err)
		}
		if err := zip.Check(); err != nil {
			t.Fatal(err)
		}
		keepTrusted(t, d, zipKey, zip)
		d.Settle(store, zipKey)
		done := make(chan error, 1)
		go func() {
			done <- errors.Join(d.Verify(t.Context(), modKey, modDraft), modDraft.Commit(cache.Meta{Upstream: "test"}))
			d.Settle(store, modKey)
		}()
		let()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		d.settling.Wait()
		if meta, err := store.VersionMeta(v); err != nil || meta.Verdict != cache.Verified || meta.H1 == "" || meta.GoModH1 == "" {
			t.Fatalf("settled as %+v, %v", meta, err)
		}
	}
}
