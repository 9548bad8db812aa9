package sumdb

import (
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gomirror/gomirror/cache"
	"golang.org/x/mod/sumdb/tlog"
)

// badLink fails one request in ten with a 503, one in ten with a cut body, one in
// fifty with silence. It is a [Remote]'s fault.
func badLink() func(context.Context, string) error {
	var n atomic.Int64
	return func(ctx context.Context, _ string) error {
		switch i := n.Add(1); {
		case i%50 == 11:
			<-ctx.Done()
			return context.Cause(ctx)
		case i%10 == 3:
			return status(503)("")
		case i%10 == 7:
			return fmt.Errorf("read answer: %w", io.ErrUnexpectedEOF)
		}
		return nil
	}
}

// TestBadLink asks for lookups and tiles as the go command does, and verifies as a pull
// does, over a link that fails every fifth request: none of it shows.
func TestBadLink(t *testing.T) {
	db := newBigDB(t, 200)
	db.trip, db.fault = 100*time.Millisecond, badLink()
	inBubble(t, db, func(t *testing.T, d *Database) {
		slots := make(chan struct{}, 16)
		var wg sync.WaitGroup
		var longest time.Duration
		var mu sync.Mutex
		took := func(since time.Time) {
			mu.Lock()
			defer mu.Unlock()
			longest = max(longest, time.Since(since))
		}
		get := func(path string) string {
			start := time.Now()
			rec := httptest.NewRecorder()
			d.ServeHTTP(rec, httptest.NewRequest("GET", "/sumdb/"+db.name+"/"+path, nil))
			took(start)
			if rec.Code != 200 {
				t.Errorf("%s: got %d %s", path, rec.Code, rec.Body)
			}
			return rec.Body.String()
		}
		for i := range 200 {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				if i%2 == 0 {
					name, _ := lookupName(mod(i))
					get(name)
					get(tlog.Tile{H: 8, L: 0, N: db.ids[mod(i)]>>8 + 1, W: 256}.Path()) // not the record's own
					return
				}
				start := time.Now()
				if _, err := d.main.lookupCtx(t.Context(), mod(i), true); err != nil {
					t.Errorf("%v: %v", mod(i), err)
				}
				took(start)
			})
		}
		wg.Wait()
		// Four in a row may be lost, as bad luck has it.
		if limit := 20 * time.Second; longest > limit {
			t.Errorf("one took %v, want at most %v", longest, limit)
		}
		if d.Status().OutOfReach || d.main.reach.down() {
			t.Error("the database counts as out of reach")
		}
	})
}

// TestHangOfAll is a minute in which nothing is answered, in the middle of a burst: who
// asks the relay for what it takes waits, as far as 30 s without progress.
func TestHangOfAll(t *testing.T) {
	for _, tc := range []struct {
		outage time.Duration
		code   int
	}{{20 * time.Second, 200}, {5 * time.Minute, 504}} {
		t.Run(tc.outage.String(), func(t *testing.T) {
			db := newBigDB(t, 30)
			db.trip = 100 * time.Millisecond
			inBubble(t, db, func(t *testing.T, d *Database) {
				db.burst(t, d, 0, 10, 4)
				until := time.Now().Add(tc.outage)
				db.fault = func(context.Context, string) error {
					if time.Now().Before(until) {
						return fmt.Errorf("reset: %w", io.ErrUnexpectedEOF)
					}
					return nil
				}
				start := time.Now()
				name, _ := lookupName(mod(20))
				rec := httptest.NewRecorder()
				d.ServeHTTP(rec, httptest.NewRequest("GET", "/sumdb/"+db.name+"/"+name, nil))
				if took := time.Since(start); rec.Code != tc.code || took > persistFor+time.Second {
					t.Errorf("got %d after %v: %s", rec.Code, took, rec.Body)
				}
				// Who verifies does not wait for it, and is told when to look again.
				key, _ := cache.NewKey(mod(21).Path, mod(21).Version, cache.Mod)
				store := newStore(t)
				draft, _ := store.Draft(cache.Public, key)
				defer draft.Discard()
				draft.ReadFrom(strings.NewReader(testMod(mod(21).Path)))
				draft.Check()
				start = time.Now()
				if err := d.Verify(t.Context(), key, draft); err != nil || time.Since(start) > verifyPatience {
					t.Errorf("got %v after %v", err, time.Since(start))
				}
				if tc.code == 200 {
					return
				}
				<-d.Due() // since the start
				start = time.Now()
				<-d.Due()
				if took := time.Since(start); took != dueAfter {
					t.Errorf("due after %v, want %v", took, dueAfter)
				}
			})
		})
	}
}

// TestOneHang does not bench the only remote, whether it has answered of late or not.
func TestOneHang(t *testing.T) {
	for _, idle := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var hang atomic.Bool
			d := &fakeRemote{name: "d"}
			r := newReach(t, nil, []*fakeRemote{d})
			r.direct = []Remote{remoteFunc(func(ctx context.Context, path string) ([]byte, error) {
				if hang.CompareAndSwap(true, false) {
					<-ctx.Done()
					return nil, context.Cause(ctx)
				}
				return d.Get(ctx, path)
			})}
			ask(r)
			time.Sleep(idle)
			hang.Store(true)
			done := make(chan struct{})
			go func() {
				defer close(done)
				if _, took, err := ask(r); err != nil || took != hedgeAfter {
					t.Errorf("idle %v: got %v after %v, want an answer after %v", idle, err, took, hedgeAfter)
				}
			}()
			time.Sleep(hedgeAfter - time.Millisecond)
			if r.down() {
				t.Errorf("idle %v: down for one hang", idle)
			}
			<-done
			if r.down() || r.outOfReach() {
				t.Errorf("idle %v: down after an answer", idle)
			}
		})
	}
}

// remoteFunc is a [Remote] named d.
type remoteFunc func(ctx context.Context, path string) ([]byte, error)

func (f remoteFunc) Name() string                                         { return "d" }
func (f remoteFunc) Get(ctx context.Context, path string) ([]byte, error) { return f(ctx, path) }

// TestKnock finds out that a database is back without letting anyone wait for it.
func TestKnock(t *testing.T) {
	db := newBigDB(t, 10)
	db.trip = 100 * time.Millisecond
	var away atomic.Bool
	db.fault = func(ctx context.Context, _ string) error {
		if away.Load() {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return nil
	}
	inBubble(t, db, func(t *testing.T, d *Database) {
		away.Store(true)
		verify := func(i int) (bool, time.Duration) {
			ctx, cancel := context.WithTimeout(t.Context(), verifyPatience)
			defer cancel()
			start := time.Now()
			_, err := d.main.lookupCtx(ctx, mod(i), true)
			return err == nil, time.Since(start)
		}
		if ok, took := verify(0); ok || took != verifyPatience {
			t.Errorf("away: got %v after %v", ok, took)
		}
		if ok, took := verify(1); ok || took != 0 {
			t.Errorf("still away: got %v after %v", ok, took)
		}
		away.Store(false)
		time.Sleep(2 * knockEvery)
		verify(2) // knocks
		time.Sleep(time.Second)
		if ok, took := verify(3); !ok || took > 10*db.trip {
			t.Errorf("back: got %v after %v", ok, took)
		}
	})
}

// TestDue comes once for many failures, later while rechecks fail, and soon again after
// one that did not.
func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := newDue()
		defer u.stop()
		for _, want := range []time.Duration{dueAfter, 2 * dueAfter, 4 * dueAfter} {
			start := time.Now()
			for range 5 {
				u.arm()
			}
			<-u.now
			if got := time.Since(start); got != want {
				t.Errorf("due after %v, want %v", got, want)
			}
			u.settle(io.ErrUnexpectedEOF)
		}
		<-u.now // a failed recheck is due again by itself
		u.settle(nil)
		time.Sleep(time.Hour)
		select {
		case <-u.now:
			t.Error("due though nothing is owed")
		default:
		}
		start := time.Now()
		u.arm()
		<-u.now
		if got := time.Since(start); got != dueAfter {
			t.Errorf("due after %v, want %v", got, dueAfter)
		}
	})
}

// storeUnverified returns a store with n modules that came in while the database was away.
func storeUnverified(t *testing.T, n int) *cache.Store {
	t.Helper()
	away := newSetup(t, newTestDB(t, "sum.example.com"))
	away.cut()
	store, offline := newStore(t), away.open(t)
	for i := range n {
		if got, err := pull(t, offline, store, mod(i), testMod(mod(i).Path)); got != cache.Unverified {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	return store
}

// TestRecheckRefused goes on when all refuse to tell one version, which may be for ever.
func TestRecheckRefused(t *testing.T) {
	const n = 40
	for _, code := range []int{403, 451, 500} {
		db, store := newBigDB(t, n), storeUnverified(t, n)
		refused, _ := lookupName(mod(0))
		db.trip = 100 * time.Millisecond
		db.fault = func(_ context.Context, path string) error {
			if path == refused {
				return status(code)("")
			}
			return nil
		}
		inBubble(t, db, func(t *testing.T, d *Database) {
			checked, err := d.Recheck(t.Context(), store)
			if checked != n-1 || err == nil || !strings.Contains(err.Error(), fmt.Sprint(code)) {
				t.Errorf("got %d checked, %v, want %d and what was refused", checked, err, n-1)
			}
			if left, err := store.Unverified(); len(left) != 1 || left[0] != mod(0) {
				t.Errorf("got %v left, %v, want %v", left, err, mod(0))
			}
		})
	}
}

// TestRecheckWidth looks versions up several at a time.
func TestRecheckWidth(t *testing.T) {
	const n = 40
	db, store := newBigDB(t, n), storeUnverified(t, n)
	db.trip = 100 * time.Millisecond
	inBubble(t, db, func(t *testing.T, d *Database) {
		start := time.Now()
		checked, err := d.Recheck(t.Context(), store)
		if checked != n || err != nil {
			t.Errorf("got %d checked, %v, want %d", checked, err, n)
		}
		if got, want := time.Since(start), (n/recheckWidth)*2*db.trip; got != want {
			t.Errorf("took %v, want %v", got, want)
		}
	})
}
