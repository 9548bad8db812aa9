package sumdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// maxRecords is how many records a tree may have. Package tlog has no limit and goes
	// round for ever near 2^62; an index of its hashes is twice a record's.
	maxRecords = 1 << 55
	// topLevel is the highest level that a tile can have: a level is 8 bits.
	topLevel = 55 / tileHeight
	// farTile is beyond the last tile of any tree.
	farTile = maxRecords >> tileHeight
)

// widthIn returns how much of the tile at t's place a tree of size n fills, at most
// [fullWidth] and at least 0.
func widthIn(n int64, t tlog.Tile) int {
	if t.L > topLevel || t.N < 0 || t.N >= farTile {
		return 0
	}
	return int(min(max(n>>(tileHeight*t.L)-t.N<<tileHeight, 0), fullWidth))
}

// tile returns a verified tile from our copy, or else from the remotes. The error Is
// fs.ErrNotExist if no tree that we can see has it.
func (c *client) tile(ctx context.Context, t tlog.Tile) ([]byte, error) {
	if t.L > topLevel || t.N >= farTile>>(tileHeight*t.L) {
		return nil, fs.ErrNotExist // what follows would overflow
	}
	if data, err := c.heldTile(t); err == nil {
		return data, nil
	}
	newest, err := c.head.newest()
	if err != nil {
		return nil, err
	}
	if widthIn(newest.tree.N, t) < t.W {
		// Whoever asks has seen a newer head than we have, from elsewhere.
		size := (t.N<<tileHeight + int64(t.W)) << (tileHeight * t.L)
		if newest, err = c.advance(ctx, size); err != nil {
			return nil, err
		}
	}
	// Reading any hash of the tile verifies, and keeps, all of it and of those above.
	index := tlog.StoredHashIndex(tileHeight*t.L, t.N<<tileHeight)
	tiles, err := c.prove(ctx, newest.tree, false, func(r tlog.HashReader) error {
		_, err := r.ReadHashes([]int64{index})
		return err
	})
	if err != nil {
		return nil, err
	}
	tiles.keep()
	return c.heldTile(t)
}

// heldTile returns a tile that was verified before.
func (c *client) heldTile(t tlog.Tile) ([]byte, error) {
	if data := c.hot.tile(t); data != nil {
		return data, nil
	}
	return c.copy.tile(t)
}

// prune drops the partial tiles of an old head that the new one has wider.
func (c *client) prune(old, next tlog.Tree) {
	for level := 0; old.N>>(tileHeight*level) > 0; level++ {
		t := tlog.Tile{H: tileHeight, L: level, N: old.N >> (tileHeight * (level + 1))}
		if t.W = widthIn(next.N, t); t.W > widthIn(old.N, t) {
			c.copy.prune(t)
		}
	}
}

// prove reads hashes of a tree. If what it got does not fit the tree it reads once
// more, without our copy and without the remotes that gave it.
//
// If there is no error the caller keeps the tiles, or releases them if the tree turns
// out to be one that does not contain the head: somebody who signs two histories must
// not mix the one into our copy of the other.
func (c *client) prove(ctx context.Context, tree tlog.Tree, fresh bool, read func(tlog.HashReader) error) (*tileReader, error) {
	for again := true; ; again = false {
		tiles := c.newTileReader(ctx, fresh)
		err := read(tlog.TileHashReader(tree, tiles))
		if err == nil {
			return tiles, nil
		}
		tiles.release()
		if tiles.failed {
			return tiles, err
		}
		err = &badDataError{c.name, err}
		c.reach.distrust(tiles.from)
		if !again {
			return tiles, err
		}
		fresh = true
	}
}

// tileReader reads tiles from our copy or the remotes: a tlog.TileReader.
type tileReader struct {
	ctx   context.Context // a reader serves one proof
	c     *client
	fresh bool // read nothing from our copy
	era   int  // join no fetch from before somebody fell into doubt

	mu      sync.Mutex
	from    map[string]bool    // remotes that gave tiles
	fetched map[tlog.Tile]bool // not from our copy
	failed  bool               // a tile could not be had
	proven  []provenTile
	joined  map[tileErrand]*tileFlight
}

func (c *client) newTileReader(ctx context.Context, fresh bool) *tileReader {
	return &tileReader{
		ctx: ctx, c: c, fresh: fresh, era: c.reach.era(),
		from: map[string]bool{}, fetched: map[tlog.Tile]bool{}, joined: map[tileErrand]*tileFlight{},
	}
}

// Height implements tlog.TileReader.
func (r *tileReader) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader. What is not held is fetched all at once.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	errs := make([]error, len(tiles))
	var wg sync.WaitGroup
	for i, t := range tiles {
		if !r.fresh {
			if data[i], errs[i] = r.c.heldTile(t); errs[i] == nil {
				continue
			}
		}
		wg.Go(func() { data[i], errs[i] = r.fetch(t) }) // ends with reach's limits
	}
	wg.Wait()
	return data, errors.Join(errs...)
}

func (r *tileReader) fetch(t tlog.Tile) ([]byte, error) {
	f := r.join(tileErrand{t, hopsOf(r.ctx), r.fresh, r.era})
	var err error
	select {
	case <-f.done:
		err = f.err
	case <-r.ctx.Done():
		err = context.Cause(r.ctx)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.failed = true
		return nil, err
	}
	r.from[f.from], r.fetched[t] = true, true
	return f.data, nil
}

// join joins the fetch of a tile, once.
func (r *tileReader) join(e tileErrand) *tileFlight {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.joined[e]
	if f == nil {
		f = r.c.joinTile(e)
		r.joined[e] = f
	}
	return f
}

// provenTile is a tile that is in the tree of a proof.
type provenTile struct {
	tlog.Tile
	data []byte
}

// SaveTiles implements tlog.TileReader.
func (r *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		r.proven = append(r.proven, provenTile{t, data[i]})
	}
}

// keep puts the tiles of a proof in our copy, and leaves their fetches.
func (r *tileReader) keep() {
	for _, t := range r.proven {
		// Others may have waited for the same tile: one of them writes it.
		isNew := r.c.hot.add(t.Tile, t.data)
		if r.fetched[t.Tile] && (isNew || r.fresh) {
			r.c.copy.writeTile(t.Tile, t.data)
		}
	}
	r.release()
}

// tileErrand is a tile to fetch; hops as in [errand], era as in [reach.era].
type tileErrand struct {
	tile  tlog.Tile
	hops  string
	fresh bool
	era   int
}

// tileFlight is the fetch of a tile. Who waits for it authenticates it; it can be
// joined until the last of them has done so, for then it is in our copy.
type tileFlight struct {
	waiters int           // guarded by client.mu
	done    chan struct{} // closed after the rest is set
	data    []byte
	from    string
	err     error
}

// joinTile joins or begins the fetch of a tile: the proofs of a burst share most.
func (c *client) joinTile(e tileErrand) *tileFlight {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.tiles[e]
	if data := c.hot.tile(e.tile); f == nil && data != nil && !e.fresh {
		f = &tileFlight{done: make(chan struct{}), data: data} // came since we looked
		close(f.done)
	}
	if f == nil {
		f = &tileFlight{done: make(chan struct{})}
		c.tiles[e] = f
		go func() { // ends with reach's limits
			f.data, f.from, f.err = c.fetchTile(c.detached(e.hops), e.tile)
			c.mu.Lock()
			if f.err != nil && c.tiles[e] == f {
				delete(c.tiles, e)
			}
			c.mu.Unlock()
			close(f.done)
		}()
	}
	f.waiters++
	return f
}

// release leaves the fetches that a proof has joined.
func (r *tileReader) release() {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	for e, f := range r.joined {
		if f.waiters--; f.waiters == 0 && r.c.tiles[e] == f {
			delete(r.c.tiles, e) // one that still runs ends unheard
		}
	}
	clear(r.joined)
}

// fetchTile asks the remotes for a tile.
func (c *client) fetchTile(ctx context.Context, t tlog.Tile) (data []byte, from string, err error) {
	data, from, err = c.reach.fetch(ctx, t.Path(), sized(t))
	var none *reachError
	answered := errors.Is(err, fs.ErrNotExist) || errors.As(err, &none) && none.answered
	if answered && t.W < fullWidth {
		// Once a tile is full a database need not keep the narrower ones.
		full := t
		full.W = fullWidth
		if wide, by, fullErr := c.reach.fetch(ctx, full.Path(), sized(full)); fullErr == nil {
			return wide[:t.W*tlog.HashSize], by, nil
		}
	}
	return data, from, err
}

// sized returns the check that an answer can be the tile. What fails it is not even
// looked at, and the next remote is asked.
func sized(t tlog.Tile) func([]byte) error {
	return func(data []byte) error {
		if want := t.W * tlog.HashSize; len(data) != want {
			return fmt.Errorf("tile of %d bytes, want %d", len(data), want)
		}
		return nil
	}
}
