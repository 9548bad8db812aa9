package sumdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// topLevel is the highest level that a tile can have: a tree has fewer than 2^63
	// records, and a level is 8 bits of that.
	topLevel = 63 / tileHeight
	// farTile is beyond the last tile of any tree.
	farTile = 1 << (63 - tileHeight)
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
	if data, err := c.copy.tile(t); err == nil {
		return data, nil
	}
	newest, err := c.head.newest()
	if err != nil {
		return nil, err
	}
	if widthIn(newest.tree.N, t) < t.W {
		// Whoever asks has seen a newer head than we have, from elsewhere.
		size := (t.N<<tileHeight + int64(t.W)) << (tileHeight * t.L)
		if t.L > topLevel || t.N >= farTile {
			return nil, fs.ErrNotExist
		}
		if newest, err = c.advance(ctx, size); err != nil {
			return nil, err
		}
	}
	// Reading any hash of the tile verifies, and keeps, all of it and of those above.
	index := tlog.StoredHashIndex(tileHeight*t.L, t.N<<tileHeight)
	err = c.prove(ctx, newest.tree, func(r tlog.HashReader) error {
		_, err := r.ReadHashes([]int64{index})
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.copy.tile(t)
}

// prove reads hashes of a tree. If what it got does not fit the tree it reads once
// more, without our copy and without the remotes that gave it.
func (c *client) prove(ctx context.Context, tree tlog.Tree, read func(tlog.HashReader) error) error {
	var err error
	for try := range 2 {
		tiles := &tileReader{ctx: ctx, c: c, fresh: try > 0, from: map[string]bool{}}
		if err = read(tlog.TileHashReader(tree, tiles)); err == nil || tiles.failed {
			return err
		}
		err = &badDataError{c.name, err}
		c.reach.distrust(tiles.from)
	}
	return err
}

// advance moves the head to one of at least the given size, as the remotes' /latest
// says, and returns it. Those who want the same wait together.
func (c *client) advance(ctx context.Context, size int64) (signedTree, error) {
	hops := hopsOf(ctx)
	// Ends with the limits of reach.
	step := c.steps.DoChan(fmt.Sprint(size, " ", hops), func() (any, error) { return c.step(c.detached(hops), size) })
	select {
	case res := <-step:
		newest, _ := res.Val.(signedTree)
		return newest, res.Err
	case <-ctx.Done():
		return signedTree{}, context.Cause(ctx)
	}
}

// step does the work of advance.
func (c *client) step(ctx context.Context, size int64) (signedTree, error) {
	var next signedTree
	short := false // a remote has a tree, and it is too small
	_, _, err := c.reach.fetch(ctx, "latest", func(msg []byte) (err error) {
		if next, err = c.head.open(msg); err == nil && next.tree.N < size {
			short = true
			err = fmt.Errorf("tree of %d records, want %d", next.tree.N, size)
		}
		return err
	})
	var none *reachError
	if short && errors.As(err, &none) {
		return signedTree{}, fmt.Errorf("%w: %v", fs.ErrNotExist, err)
	}
	if err != nil {
		return signedTree{}, err
	}
	for {
		at, err := c.head.load()
		if err != nil || at.tree.N >= next.tree.N {
			return at, err
		}
		if err := c.checkStep(ctx, at, next); err != nil {
			return signedTree{}, err
		}
		if err := c.head.swap(at.note, next.note); err != sumdb.ErrWriteConflict {
			return next, err
		}
	}
}

// checkStep verifies that next contains at, and keeps the tiles that show it.
func (c *client) checkStep(ctx context.Context, at, next signedTree) error {
	var hash tlog.Hash
	err := c.prove(ctx, next.tree, func(r tlog.HashReader) (err error) {
		if at.tree.N == 0 {
			// Nothing to prove, but the edge of the new tree must be kept.
			_, err = r.ReadHashes([]int64{tlog.StoredHashIndex(0, next.tree.N-1)})
		}
		if err == nil {
			hash, err = tlog.TreeHash(at.tree.N, r)
		}
		return err
	})
	if err != nil || at.tree.N == 0 {
		return err
	}
	if hash != at.tree.Hash {
		c.setFork(fmt.Sprintf("old head:\n%s\nnew head:\n%s\nthe first %d records of the new head have hash %v\n",
			at.note, next.note, at.tree.N, hash))
		return c.forkErr()
	}
	return nil
}

// tileReader reads tiles from our copy or the remotes: a tlog.TileReader.
type tileReader struct {
	ctx   context.Context // a reader serves one request
	c     *client
	fresh bool // read nothing from our copy

	mu     sync.Mutex
	from   map[string]bool // remotes that gave tiles
	failed bool            // a tile could not be had
}

// Height implements tlog.TileReader.
func (r *tileReader) Height() int { return tileHeight }

// ReadTiles implements tlog.TileReader.
func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	errs := make([]error, len(tiles))
	var wg sync.WaitGroup
	for i, t := range tiles {
		wg.Go(func() { data[i], errs[i] = r.read(t) }) // ends with reach's limits
	}
	wg.Wait()
	return data, errors.Join(errs...)
}

func (r *tileReader) read(t tlog.Tile) ([]byte, error) {
	if data, err := r.c.copy.tile(t); err == nil && !r.fresh {
		return data, nil
	}
	data, from, err := r.c.reach.fetch(r.ctx, t.Path(), r.c.plausible(t.Path()))
	if err != nil && t.W < fullWidth {
		// Once a tile is full a database need not keep the narrower ones.
		full := t
		full.W = fullWidth
		var fullErr error
		if data, from, fullErr = r.c.reach.fetch(r.ctx, full.Path(), r.c.plausible(full.Path())); fullErr == nil {
			data, err = data[:t.W*tlog.HashSize], nil
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.from[from] = true
	r.failed = r.failed || err != nil
	return data, err
}

// SaveTiles implements tlog.TileReader.
func (r *tileReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		r.c.copy.writeTile(t, data[i])
	}
}
