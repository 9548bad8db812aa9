package sumdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// record is a lookup.
type record struct {
	id    int64
	text  []byte     // go.sum lines
	stamp signedTree // the tree head that it came with
}

// sum returns the h1 hash that the record has for a version, or for VERSION/go.mod.
func (r record) sum(modPath, version string) string {
	for line := range strings.Lines(string(r.text)) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == modPath && f[1] == version && strings.HasPrefix(f[2], "h1:") {
			return f[2]
		}
	}
	return ""
}

// lookup returns the record of a version, proven to be in a tree that contains all
// heads that we have trusted.
//
// It takes two round trips: the record, and then all tiles at once. x/mod's client
// takes more, for it proves the head of every answer before it looks at the record.
// Here a record is proven in the head that is held; only one that this head does not
// have needs the head that came with it, and then the tiles of both proofs are fetched
// at once. See [client.audit] for the heads that no record needed.
func (c *client) lookup(ctx context.Context, e errand, say func(record)) (record, error) {
	name, err := lookupName(e.mod)
	if err != nil {
		return record{}, err
	}
	// The second try does without our copy and without the remotes that gave the wrong
	// answer, if there was one; so damage heals and a broken relay is passed by.
	for try := range 2 {
		if err := c.forkErr(); err != nil {
			return record{}, err
		}
		var rec record
		var from string
		if rec, from, err = c.ask(ctx, name, try > 0); err != nil {
			return record{}, err
		}
		say(rec)
		if err = c.include(ctx, rec, try > 0); err == nil {
			if from != "" {
				c.copy.writeLookup(name, rec.format())
				c.stamps.add(rec.stamp)
			}
			c.remember(e.mod, rec)
			return rec, c.forkErr()
		}
		var bad *badDataError
		if !errors.As(err, &bad) {
			return record{}, err
		}
		c.reach.distrust(map[string]bool{from: true})
		c.suspect(ctx, rec.stamp)
	}
	return record{}, cmpErr(c.forkErr(), err)
}

// cmpErr returns the first error that is one.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// ask returns a record that is not proven yet: from our copy, unless fresh is set, or
// from a remote, which is named then.
func (c *client) ask(ctx context.Context, name string, fresh bool) (rec record, from string, err error) {
	if !fresh {
		if data, err := c.copy.lookup(name); err == nil {
			if rec, err := c.parse(name, data); err == nil {
				return rec, "", nil
			}
		}
	}
	_, from, err = c.reach.fetch(ctx, name, func(data []byte) (err error) {
		rec, err = c.parse(name, data)
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = &absentError{c.name, err}
	}
	return rec, from, err
}

// parse checks what can be checked of a lookup alone. What fails is passed by, and the
// next remote is asked.
func (c *client) parse(name string, data []byte) (record, error) {
	id, text, msg, err := tlog.ParseRecord(data)
	if err != nil {
		return record{}, err
	}
	if mod, err := parseLookup(name); err != nil || !strings.HasPrefix(string(text), mod.Path+" "+mod.Version+" ") {
		return record{}, errors.New("record of another version")
	}
	stamp, err := c.head.open(msg)
	if err == nil && id >= stamp.tree.N {
		err = fmt.Errorf("record %d with the head of a tree of %d", id, stamp.tree.N)
	}
	return record{id, bytes.Clone(text), stamp}, err // not the whole answer, however long
}

// format returns the record as it came.
func (r record) format() []byte {
	msg, err := tlog.FormatRecord(r.id, r.text)
	if err != nil {
		return nil // can't be: it was parsed
	}
	return append(msg, r.stamp.note...)
}

// include proves that a record is in the head, which it may move.
func (c *client) include(ctx context.Context, rec record, fresh bool) error {
	for {
		to, step, err := c.target(ctx, rec, fresh)
		if err != nil {
			return err
		}
		tiles, err := c.contains(ctx, to.tree, rec, fresh) // beside the step
		at := to
		if step != nil {
			var stepErr error
			at, stepErr = step.wait(ctx)
			err = cmpErr(c.missing(stepErr), err)
		}
		if err != nil {
			tiles.release()
			return err
		}
		if at.tree == to.tree {
			tiles.keep()
			return nil
		}
		// Another process has moved the head further than we meant to. That one is
		// trusted, the one that we have proven the record in is not.
		tiles.release()
	}
}

// contains proves that a record is in a tree, as [client.prove] does.
func (c *client) contains(ctx context.Context, tree tlog.Tree, rec record, fresh bool) (*tileReader, error) {
	var hashes []tlog.Hash
	tiles, err := c.prove(ctx, tree, fresh, func(r tlog.HashReader) (err error) {
		hashes, err = r.ReadHashes([]int64{tlog.StoredHashIndex(0, rec.id)})
		return err
	})
	if err == nil && hashes[0] != tlog.RecordHash(rec.text) {
		err = &badDataError{c.name, fmt.Errorf("record %d is not the one in the tree", rec.id)}
	}
	return tiles, c.missing(err)
}

// missing returns the error of a proof as one of a lookup: a missing tile is no missing
// module.
func (c *client) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return &reachError{db: c.name, texts: []string{err.Error()}, answered: true}
	}
	return err
}

// stamped formats a record as the answer to a lookup, with the newest head.
func (c *client) stamped(rec record) ([]byte, error) {
	msg, err := tlog.FormatRecord(rec.id, rec.text)
	if err != nil {
		return nil, err
	}
	newest, err := c.head.newest()
	if err != nil {
		return nil, err
	}
	return append(msg, newest.note...), nil
}
