package sumdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/tlog"
)

// session is an x/mod client and what it needs of the world: it implements
// sumdb.ClientOps. A session lives for some lookups only.
type session struct {
	c       *client
	client  *sumdb.Client
	ctx     context.Context // x/mod takes none
	fresh   bool            // read nothing from our copy
	lookups int             // guarded by client.mu

	mu     sync.Mutex
	head   error            // why there is no tree head to start from
	faults map[string]error // of remote reads, by path; x/mod flattens errors to text
	from   map[string]bool  // remotes that gave answers
	seen   signedTree       // newest head among the answers
}

// cause returns why a lookup failed, or nil if all was read that was asked for.
func (s *session) cause(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head != nil {
		return s.head
	}
	if err := s.faults[name]; errors.Is(err, fs.ErrNotExist) {
		return &absentError{s.c.name, err}
	} else if err != nil {
		return err
	}
	for path, err := range s.faults {
		if strings.HasPrefix(path, "tile/") {
			// Not %w: a missing tile is no missing module.
			if errors.Is(err, fs.ErrNotExist) {
				return &reachError{db: s.c.name, texts: []string{err.Error()}, answered: true}
			}
			return err
		}
	}
	return nil
}

// distrust benches the remotes whose answers did not fit.
func (s *session) distrust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.c.reach.distrust(s.from)
}

// ReadRemote implements sumdb.ClientOps.
func (s *session) ReadRemote(path string) ([]byte, error) {
	path = strings.TrimPrefix(path, "/")
	data, from, err := s.c.reach.fetch(s.ctx, path, s.c.plausible(path))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.faults[path] = err
		return nil, err
	}
	delete(s.faults, path)
	s.from[from] = true
	if _, _, msg, err := tlog.ParseRecord(data); err == nil {
		if seen, err := s.c.head.open(msg); err == nil && seen.tree.N > s.seen.tree.N {
			s.seen = seen
		}
	}
	return data, nil
}

// newest returns the newest head among the answers.
func (s *session) newest() signedTree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// plausible returns the check of a remote's answer that needs no other answer: what
// fails it is not even passed to x/mod, and the next remote is asked.
func (c *client) plausible(path string) func([]byte) error {
	if t, err := tlog.ParseTilePath(path); err == nil {
		return func(data []byte) error {
			if want := t.W * tlog.HashSize; len(data) != want {
				return fmt.Errorf("tile of %d bytes, want %d", len(data), want)
			}
			return nil
		}
	}
	return func(data []byte) error {
		_, text, msg, err := tlog.ParseRecord(data)
		if err != nil {
			return err
		}
		if mod, err := parseLookup(path); err != nil || !strings.HasPrefix(string(text), mod.Path+" "+mod.Version+" ") {
			return errors.New("record of another version")
		}
		_, err = c.head.open(msg)
		return err
	}
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

// ReadConfig implements sumdb.ClientOps.
func (s *session) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(s.c.key), nil
	}
	newest, err := s.c.head.load()
	if err != nil {
		s.mu.Lock()
		s.head = err
		s.mu.Unlock()
	}
	return newest.note, err
}

// WriteConfig implements sumdb.ClientOps. x/mod has verified the step from old to next.
func (s *session) WriteConfig(_ string, old, next []byte) error { return s.c.head.swap(old, next) }

// ReadCache implements sumdb.ClientOps.
func (s *session) ReadCache(file string) ([]byte, error) {
	name := strings.TrimPrefix(file, s.c.name+"/")
	if s.fresh {
		return nil, fs.ErrNotExist
	}
	if t, err := tlog.ParseTilePath(name); err == nil {
		return s.c.copy.tile(t)
	}
	// Stamped with the head that is settled, the record needs no tile of the head that
	// it came with.
	rec, err := s.c.held(name)
	if err != nil {
		return nil, err
	}
	return s.c.stamp(rec)
}

// WriteCache implements sumdb.ClientOps. x/mod has verified data.
func (s *session) WriteCache(file string, data []byte) {
	name := strings.TrimPrefix(file, s.c.name+"/")
	if t, err := tlog.ParseTilePath(name); err == nil {
		s.c.copy.writeTile(t, data)
		return
	}
	s.c.copy.write(name, data)
}

// Log implements sumdb.ClientOps.
func (s *session) Log(msg string) { s.c.log.Debug("x/mod says", "msg", msg) }

// SecurityError implements sumdb.ClientOps.
func (s *session) SecurityError(msg string) { s.c.setFork(msg) }
