package sumdb

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/tlog"
	"golang.org/x/sync/singleflight"
)

const (
	// forkFile keeps what is known about a fork, so that a restart does not forget it.
	forkFile = "fork"
	// lookupsEach is after how many lookups an x/mod client is replaced: it keeps in
	// memory all that it has read.
	lookupsEach = 256
)

// client is the client of one database.
type client struct {
	source
	log   *slog.Logger
	state *os.Root
	head  *head
	copy  *shelf
	reach *reach

	mu      sync.Mutex
	fork    string // not empty: nothing of this database is believed any more
	current *session
	flights map[errand]*flight

	steps singleflight.Group // of advance, by size and hops
}

// record is a verified lookup.
type record struct {
	id   int64
	text []byte // go.sum lines
	note []byte // a tree head that has the record
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

// lookupName returns the path of a lookup below the database's address.
func lookupName(mod module.Version) (string, error) {
	escPath, err := module.EscapePath(mod.Path)
	if err != nil {
		return "", err
	}
	escVersion, err := module.EscapeVersion(mod.Version)
	if err != nil {
		return "", err
	}
	return "lookup/" + escPath + "@" + escVersion, nil
}

// holds reports whether the lookup is in our copy.
func (c *client) holds(mod module.Version) bool {
	name, err := lookupName(mod)
	if err == nil {
		_, err = c.copy.read(name)
	}
	return err == nil
}

// lookup returns the record of a version, verified against a tree head that contains
// all heads that we have seen. It has no context, as x/mod has none; reach limits it.
func (c *client) lookup(e errand) (record, error) {
	if err := c.forkErr(); err != nil {
		return record{}, err
	}
	mod := e.mod
	name, err := lookupName(mod)
	if err != nil {
		return record{}, err
	}
	// The second try does without our copy and without the remotes that gave the wrong
	// answer, if there was one; so damage heals and a broken relay is passed by.
	for try := range 2 {
		s := c.session(e.hops, try > 0)
		if _, err = s.client.Lookup(mod.Path, mod.Version); err == nil {
			var rec record
			if rec, err = c.held(name); err == nil {
				return rec, nil
			}
		} else if cause := s.cause(name); cause != nil {
			err = cause
		} else {
			err = &badDataError{c.name, err}
		}
		// x/mod keeps an error for ever, so that the session ends here.
		c.retire(s)
		if err := c.forkErr(); err != nil {
			return record{}, err
		}
		var bad *badDataError
		if !errors.As(err, &bad) && !errors.Is(err, errGone) {
			return record{}, err
		}
		s.distrust()
		c.suspect(s)
		if err := c.forkErr(); err != nil {
			return record{}, err
		}
	}
	return record{}, err
}

// suspect looks for a fork where x/mod can't see one: our copy's tiles do not fit the
// new head, so that it calls them inconsistent. A fork is noted, anything else is for
// the next try.
func (c *client) suspect(s *session) {
	newest, err := c.head.load()
	if err != nil {
		return
	}
	if seen := s.newest(); seen.tree.N > newest.tree.N {
		_ = c.checkStep(s.ctx, newest, seen)
	}
}

// errGone is a lookup that was verified and is not in our copy: somebody has emptied
// the cache while we run.
var errGone = errors.New("verified lookup is not in the cache")

// held returns a lookup from our copy.
func (c *client) held(name string) (record, error) {
	data, err := c.copy.read(name)
	if err != nil {
		return record{}, errGone
	}
	id, text, msg, err := tlog.ParseRecord(data)
	return record{id, text, msg}, err
}

// stamp formats a record as the answer to a lookup, with the newest head.
func (c *client) stamp(rec record) ([]byte, error) {
	msg, err := tlog.FormatRecord(rec.id, rec.text)
	if err != nil {
		return nil, err
	}
	newest, err := c.head.newest()
	if err != nil {
		return nil, err
	}
	// Another lookup may be about to move the head to the one that came with rec.
	if newest.tree.N > rec.id {
		return append(msg, newest.note...), nil
	}
	return append(msg, rec.note...), nil
}

// session returns the x/mod client to use: the current one, or one of its own that
// reads nothing from our copy or that came through others: x/mod shares questions.
func (c *client) session(hops string, fresh bool) *session {
	s := &session{c: c, ctx: c.detached(hops), fresh: fresh, faults: map[string]error{}, from: map[string]bool{}}
	s.client = sumdb.NewClient(s)
	if fresh || hops != "" {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil || c.current.lookups >= lookupsEach {
		c.current = s
	}
	c.current.lookups++
	return c.current
}

// retire lets no new lookup use the session.
func (c *client) retire(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == s {
		c.current = nil
	}
}

// forked returns what is known about a fork of the database, or "".
func (c *client) forked() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fork
}

// forkErr returns the error of a database that has forked, or nil.
func (c *client) forkErr() error {
	if c.forked() == "" {
		return nil
	}
	return &forkError{c.name, c.forkPath(), c.state.Name() + " and " + c.copy.root.Name()}
}

func (c *client) forkPath() string { return c.state.Name() + string(os.PathSeparator) + forkFile }

// setFork stops the database for good.
func (c *client) setFork(msg string) {
	c.mu.Lock()
	first := c.fork == ""
	if first {
		c.fork = msg
	}
	c.mu.Unlock()
	if !first {
		return
	}
	err := c.state.WriteFile(forkFile, []byte(msg), 0o600)
	c.log.Error("checksum database contradicts itself", "kept", c.forkPath(), "err", err)
}

// forkError says that the database was seen to tell different things to different
// people, and that nothing of it is used.
type forkError struct{ db, file, folders string }

func (e *forkError) Error() string {
	return "checksum database " + e.db + " contradicts itself, so nothing of it is used; the proof is in " + e.file
}

// Hint tells the one thing to do.
func (e *forkError) Hint() string {
	return "report it to those who run the database; only to trust it afresh, remove " + e.folders + " and restart gomirror"
}

// badDataError is an answer that does not fit the signed tree.
type badDataError struct {
	db  string
	err error
}

func (e *badDataError) Error() string {
	return fmt.Sprintf("verify answer of checksum database %s: %v", e.db, e.err)
}

// Hint tells the one thing to do.
func (e *badDataError) Hint() string { return "gomirror status" }

// absentError says that the database does not know the version.
type absentError struct {
	db  string
	err error
}

func (e *absentError) Error() string {
	return fmt.Sprintf("checksum database %s has no such version: %v", e.db, e.err)
}
func (e *absentError) Unwrap() error { return e.err }

// Hint tells the one thing to do.
func (e *absentError) Hint() string {
	return "check the version; for a private module: gomirror config set private PATTERN"
}
