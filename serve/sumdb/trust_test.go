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

	"github.com/gomirror/gomirror/cache"
	"github.com/gomirror/gomirror/serve/upstream"
)

// lateProofs has no tile answered before let is called.
func (db *testDB) lateProofs(t *testing.T) (let func()) {
	gate := make(chan struct{})
	let = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(let)
	db.lie(func(path string, body []byte) []byte {
		if strings.HasPrefix(path, "/tile/") {
			<-gate
		}
		return body
	})
	return let
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
			let := db.lateProofs(t)
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
			if err := d.Settle(t.Context(), store, key); err != nil {
				t.Error(err)
			}
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
	gate := make(chan struct{})
	liar.lie(func(path string, body []byte) []byte {
		if strings.HasPrefix(path, "/tile/") {
			<-gate
		}
		return bytes.ReplaceAll(body, []byte(testModSum(mod(1).Path)), []byte(draft.H1()))
	})
	s := newSetup(t, db)
	s.Remotes = via(liar.Server)
	s.Vouched = func(module.Version, string) bool { return true }
	d := s.open(t)
	if err := d.Verify(waited(t.Context()), key, draft); err != nil {
		t.Fatal(err)
	}
	if err := draft.Commit(cache.Meta{Upstream: "liar"}); err != nil {
		t.Fatal(err)
	}
	close(gate)
	if err := d.Settle(t.Context(), store, key); err != nil {
		t.Error(err)
	}
	if entry, err := store.Get(cache.Public, key); err == nil {
		entry.Close()
		t.Error("what the database contradicts is held yet")
	}
	held, err := store.Quarantined()
	if err != nil || len(held) != 1 {
		t.Errorf("in quarantine: %+v, %v, want the one file", held, err)
	}
}

// TestTrustOfALostProof has the database go away between its answer and the proof.
func TestTrustOfALostProof(t *testing.T) {
	db := newTestDB(t, "sum.example.com")
	let := db.lateProofs(t)
	s := newSetup(t, db)
	s.Vouched = func(module.Version, string) bool { return true }
	d := s.open(t)
	store := newStore(t)
	key, draft := modDraft(t, store, mod(1), testMod(mod(1).Path))
	if err := d.Verify(waited(t.Context()), key, draft); err != nil {
		t.Fatal(err)
	}
	if err := draft.Commit(cache.Meta{Upstream: "test"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // gomirror stops
	if err := d.Settle(ctx, store, key); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	let()
	if n, err := d.Recheck(t.Context(), store); n != 1 || err != nil {
		t.Errorf("the recheck settled %d, %v, want 1", n, err)
	}
}
