package sumdb

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/sync/singleflight"
)

const (
	// forkFile keeps what is known about a fork, so that a restart does not forget it.
	forkFile = "fork"
	// knownRecords bounds the verified records in memory, of about 500 bytes each.
	knownRecords = 2048
)

// client is the client of one database.
type client struct {
	source
	log   *slog.Logger
	state *os.Root
	head  *head
	copy  *shelf
	hot   *hot
	reach *reach

	mu      sync.Mutex
	fork    string // not empty: nothing of this database is believed any more
	known   map[module.Version]record
	flights map[errand]*flight
	tiles   map[tileErrand]*tileFlight
	moves   map[moveErrand]*move
	stamps  stamps

	steps singleflight.Group // of advance, by size and hops
}

// newClient opens what is kept of a database.
func (d *Database) newClient(src source, r *reach) (*client, error) {
	state, err := subRoot(d.state, src.folder())
	if err != nil {
		return nil, err
	}
	cache, err := subRoot(d.cache, src.folder())
	if err != nil {
		state.Close()
		return nil, err
	}
	c := &client{
		source:  src,
		log:     r.log,
		state:   state,
		head:    newHead(d.opts.StateDir, state, src, r.log),
		copy:    &shelf{root: cache, log: r.log},
		hot:     newHot(),
		reach:   r,
		known:   map[module.Version]record{},
		flights: map[errand]*flight{},
		tiles:   map[tileErrand]*tileFlight{},
		moves:   map[moveErrand]*move{},
	}
	if msg, err := state.ReadFile(forkFile); !errors.Is(err, fs.ErrNotExist) {
		// It is there: a full disk or a power cut may have taken what it says.
		c.fork = cmp.Or(string(msg), "seen before; what it was is lost")
	}
	return c, nil
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

// parseLookup parses the path of a lookup.
func parseLookup(path string) (module.Version, error) {
	escPath, escVersion, _ := strings.Cut(strings.TrimPrefix(path, "lookup/"), "@")
	modPath, err := module.UnescapePath(escPath)
	if err != nil {
		return module.Version{}, err
	}
	version, err := module.UnescapeVersion(escVersion)
	return module.Version{Path: modPath, Version: version}, err
}

// holds reports whether the lookup is in our copy.
func (c *client) holds(mod module.Version) bool {
	if _, ok := c.remembered(mod); ok {
		return true
	}
	name, err := lookupName(mod)
	if err == nil {
		_, err = c.copy.lookup(name)
	}
	return err == nil
}

// remembered returns a record that was verified since the start.
func (c *client) remembered(mod module.Version) (record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fork != "" {
		return record{}, false
	}
	rec, ok := c.known[mod]
	return rec, ok
}

// remember keeps a verified record in memory: one version is asked for by its .mod, by
// its .zip and by the go command.
func (c *client) remember(mod module.Version, rec record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) >= knownRecords {
		clear(c.known) // our copy still has them
	}
	c.known[mod] = rec
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
	err := writeDurably(c.state, forkFile, []byte(msg))
	if err != nil {
		// A full disk often takes an empty file, which says enough.
		err = errors.Join(err, c.state.WriteFile(forkFile, []byte(msg), 0o600))
	}
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
