package sumdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/tlog"
)

// auditEvery is how often, at most, heads are compared that no record needed: each
// costs a few tiles.
const auditEvery = time.Minute

// move is a step of the head that runs. Records that only the new head has wait for it
// together, so that a burst proves one step and not one for each answer.
type move struct {
	to   signedTree
	done chan struct{} // closed after at and err are set
	at   signedTree    // the head afterwards
	err  error
}

// moveErrand keeps apart what must not wait for each other, see [errand].
type moveErrand struct {
	hops  string
	fresh bool
}

func (m *move) wait(ctx context.Context) (signedTree, error) {
	select {
	case <-m.done:
		return m.at, m.err
	case <-ctx.Done():
		return signedTree{}, context.Cause(ctx)
	}
}

// target returns the tree to prove a record in: the head, or if that does not have it
// one that the head is moving to. A move that runs already is shared.
func (c *client) target(ctx context.Context, rec record, fresh bool) (signedTree, *move, error) {
	at, err := c.head.newest()
	if err != nil || rec.id < at.tree.N {
		return at, nil, err
	}
	e := moveErrand{hopsOf(ctx), fresh}
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.moves[e]; m != nil && rec.id < m.to.tree.N {
		return m.to, m, nil
	}
	m := &move{to: rec.stamp, done: make(chan struct{})}
	c.moves[e] = m
	go func() { // ends with reach's limits
		m.at, m.err = c.moveTo(c.detached(e.hops), m.to, fresh)
		c.mu.Lock()
		if c.moves[e] == m {
			delete(c.moves, e)
		}
		c.mu.Unlock()
		close(m.done)
	}()
	return m.to, m, nil
}

// moveTo moves the head to next, unless it is there or beyond, and returns the head.
func (c *client) moveTo(ctx context.Context, next signedTree, fresh bool) (signedTree, error) {
	for {
		at, err := c.head.load()
		if err != nil || at.tree.N > next.tree.N || at.tree == next.tree {
			return at, err
		}
		if err := c.checkStep(ctx, at, next, fresh); err != nil {
			return signedTree{}, err
		}
		err = c.head.swap(at.note, next.note)
		if err == nil {
			c.prune(at.tree, next.tree)
		}
		if err != sumdb.ErrWriteConflict {
			return next, err
		}
	}
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
	return c.moveTo(ctx, next, false)
}

// checkStep verifies that next contains at, and keeps the tiles that show it.
func (c *client) checkStep(ctx context.Context, at, next signedTree, fresh bool) error {
	var hash tlog.Hash
	tiles, err := c.prove(ctx, next.tree, fresh, func(r tlog.HashReader) (err error) {
		if at.tree.N == 0 {
			// Nothing to prove, but the edge of the new tree must be kept.
			_, err = r.ReadHashes([]int64{tlog.StoredHashIndex(0, next.tree.N-1)})
		}
		if err == nil {
			hash, err = tlog.TreeHash(at.tree.N, r)
		}
		return err
	})
	if err != nil {
		return err
	}
	if at.tree.N > 0 && hash != at.tree.Hash {
		tiles.release()
		c.setFork(fmt.Sprintf("old head:\n%s\nnew head:\n%s\nthe first %d records of the new head have hash %v\n",
			at.note, next.note, at.tree.N, hash))
		return c.forkErr()
	}
	tiles.keep()
	return nil
}

// suspect looks for a fork behind an answer that did not fit. A fork is noted, anything
// else is for the next try.
func (c *client) suspect(ctx context.Context, seen signedTree) {
	at, err := c.head.load()
	if err != nil || at.tree.N == 0 || at.tree == seen.tree {
		return
	}
	if seen.tree.N < at.tree.N {
		at, seen = seen, at
	}
	_ = c.checkStep(ctx, at, seen, false)
}

// stamps are heads that came with records which did not need them.
type stamps struct {
	mu             sync.Mutex
	oldest, newest signedTree
	audited        time.Time
}

func (s *stamps) add(stamp signedTree) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest.tree.N < stamp.tree.N {
		s.newest = stamp
	}
	if s.oldest.note == nil || stamp.tree.N < s.oldest.tree.N {
		s.oldest = stamp
	}
}

// take returns the heads to compare, newest last, if it is time to.
func (s *stamps) take(now time.Time) []signedTree {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.newest.note == nil || now.Sub(s.audited) < auditEvery {
		return nil
	}
	all := []signedTree{s.oldest, s.newest}
	s.oldest, s.newest, s.audited = signedTree{}, signedTree{}, now
	return all
}

// audit compares the oldest and the newest of the heads that came with the records of a
// burst with the head that is held, and moves that on. No record depends on it: it is
// how a fork is found early, and how the head keeps up with the database.
func (c *client) audit(ctx context.Context) {
	for _, seen := range c.stamps.take(c.reach.now()) {
		at, err := c.head.newest()
		switch {
		case err != nil || at.tree == seen.tree:
		case seen.tree.N > at.tree.N:
			_, err = c.moveTo(ctx, seen, false)
		default:
			err = c.checkStep(ctx, seen, at, false)
		}
		if err != nil {
			c.log.DebugContext(ctx, "tree heads not compared", "err", err)
		}
	}
}
