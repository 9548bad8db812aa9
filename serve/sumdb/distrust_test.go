package sumdb

import (
	"bytes"
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// liar relays a database, with other hashes in the lookups.
type liar struct {
	*bigDB
	name  string
	asked atomic.Int64 // lookups
}

func (l *liar) Name() string { return l.name }

func (l *liar) Get(ctx context.Context, path string) ([]byte, error) {
	data, err := l.bigDB.Get(ctx, path)
	if strings.Contains(path, "lookup/") {
		l.asked.Add(1)
		data = bytes.Replace(data, []byte("h1:0"), []byte("h1:1"), 1)
	}
	return data, err
}

// slow is a database itself that takes its time.
type slow struct {
	*bigDB
	after time.Duration
}

func (s *slow) Name() string { return "https://" + s.name }

func (s *slow) Get(ctx context.Context, path string) ([]byte, error) {
	select {
	case <-time.After(s.after):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	return s.bigDB.Get(ctx, path)
}

// TestQuickLiar has a relay that lies at once beside a database that is right, and slow:
// it does not get ahead of that.
func TestQuickLiar(t *testing.T) {
	db := newBigDB(t, 10)
	inBubble(t, db, func(t *testing.T, d *Database) {
		relay, own := &liar{bigDB: db, name: "p"}, &slow{bigDB: db}
		d.main.reach.proxies, d.main.reach.direct = func() []Remote { return []Remote{relay} }, []Remote{own}
		for i, tc := range []struct {
			after, sleep time.Duration
			asked        bool // the liar
		}{
			{3 * time.Second, 0, true},
			{3 * time.Second, time.Minute, false},
			{0, 0, false},
			{7 * time.Second, time.Minute, false},
			{3 * time.Second, benchFor, true}, // it may tell the truth by now
		} {
			time.Sleep(tc.sleep)
			own.after = tc.after
			before := relay.asked.Load()
			_, err := d.main.lookupCtx(t.Context(), mod(i), false)
			if got := relay.asked.Load() > before; err != nil || got != tc.asked {
				t.Errorf("lookup %d: got %v, liar asked %v, want %v", i, err, got, tc.asked)
			}
			synctest.Wait()
		}
	})
}

// TestLiarAlone is asked again when nobody else answers: it may have been an accident.
func TestLiarAlone(t *testing.T) {
	for name, own := range map[string]Remote{
		"database away":         &fakeRemote{name: "d", do: func(string) error { return noSuchHost() }},
		"database black-holed":  never("d"),
		"database answers 503s": &fakeRemote{name: "d", do: status(503)},
	} {
		t.Run(name, func(t *testing.T) {
			db := newBigDB(t, 2)
			inBubble(t, db, func(t *testing.T, d *Database) {
				d.main.reach.direct = []Remote{own}
				db.burst(t, d, 0, 1, 1)
				d.main.reach.distrust(map[string]bool{db.Name(): true})
				start := time.Now()
				_, err := d.main.lookupCtx(t.Context(), mod(1), true)
				if took := time.Since(start); err != nil || took > 20*time.Second {
					t.Errorf("got %v after %v", err, took)
				}
			})
		})
	}
}

// TestDoubtedTile is not taken from a fetch that others still wait for.
func TestDoubtedTile(t *testing.T) {
	db := newBigDB(t, 1)
	inBubble(t, db, func(t *testing.T, d *Database) {
		own := &slow{bigDB: db}
		d.main.reach.proxies, d.main.reach.direct = func() []Remote { return []Remote{&liar{bigDB: db, name: "p"}} }, []Remote{own}
		for _, want := range []string{"p", own.Name()} {
			tiles := d.main.newTileReader(t.Context(), true)
			if _, err := tiles.ReadTiles([]tlog.Tile{{H: 8, L: 1, N: 7, W: 256}}); err != nil || !tiles.from[want] {
				t.Errorf("got %v from %v, want it from %s", err, tiles.from, want)
			}
			d.main.reach.distrust(tiles.from) // and is not released
		}
	})
}
