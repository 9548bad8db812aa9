package sumdb

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// inBubble runs a test with the bubble's clock and a Database on db.
func inBubble(t *testing.T, db *bigDB, do func(t *testing.T, d *Database)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := db.open(t, dir)
		do(t, d)
		synctest.Wait()
		d.Close()
	})
}

// TestRoundTrips counts the round trips and requests of lookups, by the clock of a
// bubble in which nothing else takes time.
func TestRoundTrips(t *testing.T) {
	const trip = 100 * time.Millisecond
	for name, stamp := range stampings() {
		t.Run(name, func(t *testing.T) {
			db := newBigDB(t, 40)
			db.trip, db.stamp = trip, stamp
			inBubble(t, db, func(t *testing.T, d *Database) {
				look := func(what string, first, n int, trips time.Duration, lookups, tiles int) {
					t.Helper()
					db.count()
					start := time.Now()
					var wg sync.WaitGroup
					for i := range n {
						wg.Go(func() { db.burst(t, d, first+i, 1, 1) })
					}
					wg.Wait()
					if got := time.Since(start); got != trips*trip {
						t.Errorf("%s: took %v, want %d round trips", what, got, trips)
					}
					if l, ti, _ := db.count(); l != lookups || ti > tiles {
						t.Errorf("%s: got %d lookups and %d tiles, want %d and at most %d", what, l, ti, lookups, tiles)
					}
				}
				// Four tiles are the edge of the tree, three are above a record, of which
				// there are four of the highest in all.
				look("first", 0, 1, 2, 1, 4+3)
				look("the same again", 0, 1, 0, 0, 0)
				synctest.Wait() // the audit
				look("second", 1, 1, 2, 1, 3)
				look("burst", 2, 16, 2, 16, 16*2+4)
				look("one by one", 20, 1, 2, 1, 3)
				look("and another", 21, 1, 2, 1, 3)
			})
		})
	}
}

// TestFirstBurst shares one head and one proof of it.
func TestFirstBurst(t *testing.T) {
	for name, stamp := range stampings() {
		t.Run(name, func(t *testing.T) {
			db := newBigDB(t, 16)
			db.trip, db.stamp = 100*time.Millisecond, stamp
			inBubble(t, db, func(t *testing.T, d *Database) {
				d.main.stamps.audited = time.Now() // not now: it asks for tiles too
				start := time.Now()
				db.burst(t, d, 0, 16, 16)
				if got, want := time.Since(start), 2*db.trip; got != want {
					t.Errorf("took %v, want %v", got, want)
				}
				if lookups, tiles, others := db.count(); lookups != 16 || tiles > 4+4+16*2 || others > 1 {
					t.Errorf("got %d lookups, %d tiles, %d others, want 16, at most 40, at most 1", lookups, tiles, others)
				}
			})
		})
	}
}

// TestAudit finds a fork in a head that no record needed.
func TestAudit(t *testing.T) {
	for _, tc := range []struct {
		name string
		size int64
	}{{"older", bigSize - 1000}, {"as old", bigSize}, {"newer", bigSize + 1000}} {
		t.Run(tc.name, func(t *testing.T) {
			db := newBigDB(t, 3)
			other := tlog.Tree{N: tc.size, Hash: tlog.RecordHash([]byte("another history"))}
			forged, err := note.Sign(&note.Note{Text: string(tlog.FormatTree(other))}, db.signer)
			if err != nil {
				t.Fatal(err)
			}
			inBubble(t, db, func(t *testing.T, d *Database) {
				db.burst(t, d, 0, 1, 1)
				time.Sleep(auditEvery)
				db.stamp = func(int64) int64 { return tc.size }
				db.notes[tc.size] = forged
				d.Announce(t.Context(), mod(1)) // the record is in the head that is held
				synctest.Wait()
				if got := d.Status().Fork; (got == "") == (tc.size <= bigSize) {
					t.Errorf("got fork %q", got)
				}
				if got := d.Status().TreeSize; got != bigSize {
					t.Errorf("got tree size %d, want %d", got, bigSize)
				}
			})
		})
	}
}

// TestForkedRecord is a record proven in a newer head that does not contain the head
// that is held: it is not believed, however long the proof of that takes.
func TestForkedRecord(t *testing.T) {
	db, other := newBigDB(t, 2), newBigDB(t, 2)
	other.signer, other.vkey = db.signer, db.vkey
	other.ids[mod(1)] = bigSize + 5
	other.records[bigSize+5] = other.records[other.sorted[1]]
	delete(other.records, other.sorted[1])
	other.sorted[1] = bigSize + 5
	other.uniform[0] = tlog.RecordHash([]byte("another history\n"))
	for l := range len(other.uniform) - 1 {
		other.uniform[l+1] = tlog.NodeHash(other.uniform[l], other.uniform[l])
	}
	other.stamp = func(int64) int64 { return bigSize + 1000 }
	// The old head has a tile that only its own proof needs. That one takes longer, so
	// that the record's proof is there first.
	const held = bigSize - 100
	db.stamp = func(int64) int64 { return held }
	old := tlog.Tile{H: 8, L: 0, N: held >> 8, W: 256}.Path()
	other.fault = func(_ context.Context, path string) error {
		if path == old {
			time.Sleep(time.Second)
		}
		return nil
	}
	inBubble(t, db, func(t *testing.T, d *Database) {
		db.burst(t, d, 0, 1, 1)
		d.main.reach.proxies = func() []Remote { return []Remote{other} }
		rec, err := d.main.lookupCtx(t.Context(), mod(1), true)
		var fork *forkError
		if !errors.As(err, &fork) || d.Status().Fork == "" || d.Status().TreeSize != held {
			t.Errorf("got %q, %v and %+v, want a fork", rec.text, err, d.Status())
		}
	})
}

// TestMissingTile is no missing module, whether the record's proof or only the head's step
// needs the tile.
func TestMissingTile(t *testing.T) {
	const held = bigSize - 100
	for name, tile := range map[string]tlog.Tile{
		"of the record": {H: 8, L: 0, N: (bigSize - 1) >> 8, W: (bigSize-1)&255 + 1},
		"of the step":   {H: 8, L: 0, N: held >> 8, W: 256},
	} {
		t.Run(name, func(t *testing.T) {
			db := newBigDB(t, 2)
			id := db.ids[mod(1)]
			db.ids[mod(1)], db.records[bigSize-1] = bigSize-1, db.records[id]
			delete(db.records, id)
			db.sorted = []int64{db.ids[mod(0)], bigSize - 1}
			db.stamp = func(int64) int64 { return held }
			inBubble(t, db, func(t *testing.T, d *Database) {
				d.main.reach.proxies, d.main.reach.direct = func() []Remote { return nil }, []Remote{db}
				db.burst(t, d, 0, 1, 1)
				synctest.Wait()
				db.stamp = func(int64) int64 { return bigSize }
				db.fault = func(_ context.Context, path string) error {
					full := tile
					full.W = 256
					if path == tile.Path() || path == full.Path() {
						return status(404)("")
					}
					return nil
				}
				_, err := d.main.lookupCtx(t.Context(), mod(1), true)
				var none *reachError
				if !errors.As(err, &none) || !none.answered || errors.Is(err, fs.ErrNotExist) {
					t.Errorf("got %v, want an error of reach", err)
				}
			})
		})
	}
}

// TestUnprovenTiles is a newer head whose step fails: no tile that was proven in that
// head alone gets into our copy, or takes the place of one there.
func TestUnprovenTiles(t *testing.T) {
	const held = bigSize - 100
	step := tlog.Tile{H: 8, L: 0, N: held >> 8, W: 256}.Path() // which no record needs
	for name, fault := range map[string]error{"fork": nil, "step cut off": status(403)("")} {
		t.Run(name, func(t *testing.T) {
			db, other := newBigDB(t, 2), newBigDB(t, 2)
			other.signer, other.vkey = db.signer, db.vkey
			db.stamp = func(int64) int64 { return held }
			id := other.ids[mod(1)]
			other.ids[mod(1)], other.records[bigSize+5] = bigSize+5, other.records[id]
			delete(other.records, id)
			other.sorted = []int64{other.ids[mod(0)], bigSize + 5}
			other.uniform[0] = tlog.RecordHash([]byte("another history\n"))
			for l := range len(other.uniform) - 1 {
				other.uniform[l+1] = tlog.NodeHash(other.uniform[l], other.uniform[l])
			}
			other.stamp = func(int64) int64 { return bigSize + 1000 }
			other.fault = func(_ context.Context, path string) error {
				if path == step {
					time.Sleep(time.Second) // so that the record's proof is there first
					return fault
				}
				return nil
			}
			inBubble(t, db, func(t *testing.T, d *Database) {
				db.burst(t, d, 0, 1, 1)
				synctest.Wait()
				before, hot := tilesOf(t, d), maps.Clone(d.main.hot.tiles)
				d.main.reach.proxies = func() []Remote { return []Remote{other} }
				for range 2 {
					if _, err := d.main.lookupCtx(t.Context(), mod(1), false); err == nil {
						t.Error("got a record of a head that is not proven")
					}
				}
				synctest.Wait()
				if after := tilesOf(t, d); len(before) == 0 || !maps.Equal(before, after) {
					t.Errorf("had %d tiles, got %d or others", len(before), len(after))
				}
				if !maps.EqualFunc(hot, d.main.hot.tiles, bytes.Equal) {
					t.Errorf("had %d tiles in memory, got %d or others", len(hot), len(d.main.hot.tiles))
				}
				if len(d.main.tiles) > 0 {
					t.Errorf("%d fetches were not left", len(d.main.tiles))
				}
			})
		})
	}
}

// tilesOf returns the tiles of the main database's copy, by file.
func tilesOf(t *testing.T, d *Database) map[string]string {
	t.Helper()
	tiles := map[string]string{}
	for _, folder := range []string{"tile", edgeFolder} {
		entries, err := fs.ReadDir(d.main.copy.root.FS(), folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			file := folder + "/" + entry.Name()
			data, err := d.main.copy.root.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			tiles[file] = string(data)
		}
	}
	return tiles
}

// TestAuditMoves lets the head keep up with the database, once a burst.
func TestAuditMoves(t *testing.T) {
	db := newBigDB(t, 30)
	db.stamp = func(n int64) int64 { return bigSize + n }
	inBubble(t, db, func(t *testing.T, d *Database) {
		for i := range 3 {
			db.burst(t, d, 10*i, 10, 5)
			synctest.Wait()
			if got, atLeast := d.Status().TreeSize, int64(bigSize+10*i); got < atLeast || got > atLeast+9 {
				t.Errorf("burst %d: got tree size %d, want %d to %d", i, got, atLeast, atLeast+9)
			}
			time.Sleep(auditEvery)
		}
	})
}

// TestJoinedTile asks once for what many proofs need.
func TestJoinedTile(t *testing.T) {
	db := newBigDB(t, 1)
	db.trip = time.Second
	inBubble(t, db, func(t *testing.T, d *Database) {
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				tiles := d.main.newTileReader(t.Context(), false)
				if data, err := tiles.ReadTiles([]tlog.Tile{{H: 8, L: 1, N: 7, W: 256}}); err != nil || len(data[0]) != 8192 {
					t.Errorf("got %v", err)
				}
			})
		}
		wg.Wait()
		if _, tiles, _ := db.count(); tiles != 1 {
			t.Errorf("got %d requests, want 1", tiles)
		}
		if len(d.main.tiles) != 1 {
			t.Errorf("got %d fetches to join before any proof is over, want 1", len(d.main.tiles))
		}
	})
}

// TestHotTiles keeps to its bound, and the tiles near the root.
func TestHotTiles(t *testing.T) {
	h := newHot()
	data := make([]byte, fullWidth*tlog.HashSize)
	root := tlog.Tile{H: 8, L: 3, N: 0, W: 4}
	if !h.add(root, data[:4*tlog.HashSize]) || h.add(root, data[:4*tlog.HashSize]) {
		t.Error("a tile is new once")
	}
	for n := range int64(3 * hotTiles) {
		h.add(tlog.Tile{H: 8, L: 0, N: n, W: 256}, data)
	}
	if len(h.tiles) != hotTiles || len(h.tile(root)) != 4*tlog.HashSize {
		t.Errorf("got %d tiles, root of %d bytes", len(h.tiles), len(h.tile(root)))
	}
	root.W = 2
	if got := h.tile(root); len(got) != 2*tlog.HashSize {
		t.Errorf("cut: got %d bytes", len(got))
	}
	root.W = 5
	if got := h.tile(root); got != nil {
		t.Errorf("wider than held: got %d bytes", len(got))
	}
}

// TestLongName keeps lookups whose path is longer than a file name may be.
func TestLongName(t *testing.T) {
	seen := map[string]bool{}
	for _, name := range []string{"lookup/example.com/a@v1.0.0", "lookup/example.com/" + strings.Repeat("a", 300) + "@v1.0.0", "lookup/example.com/" + strings.Repeat("a", 300) + "@v1.0.1"} {
		file := lookupFile(name)
		if seen[file] || len(file) > 255 || strings.Count(file, "/") != 1 {
			t.Errorf("got %q for %q", file, name)
		}
		seen[file] = true
	}
}
