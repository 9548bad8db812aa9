package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// No checksum database vouches for a private version, so that the first download is
// what everybody builds with: it is frozen. Whoever moves its tag to another commit
// changes nothing here but the ledger, where it raises an alarm, until the user has
// accepted it: see [Store.Unfreeze].

// Deleted stands for the commit of a tag that is gone.
const Deleted = "deleted"

// Move is a private version whose tag does not name the commit any more that the
// version was first made from.
type Move struct {
	module.Version
	Was, Now string    // commits; Now may be Deleted
	At       time.Time // when it was noticed
}

// MovedError is a file of a moved version that is not held from before: one of another
// commit must not stand beside the files of the first one.
type MovedError struct{ Move }

func (e *MovedError) Error() string {
	return fmt.Sprintf("%s was first pulled as commit %s, and its tag names %s by now", e.Version, e.Was, e.Now)
}

// Hint tells the one thing to do.
func (e *MovedError) Hint() string {
	return "gomirror refresh " + e.Version.String() + " --accept-moved"
}

func movedName(k Key) string { return movedDir + "/" + k.Sibling(Info).String() }

func (m Meta) move(k Key) Move { return Move{k.Module(), m.OriginHash, m.Moved, m.MovedAt} }

// Moves returns the versions whose tag has moved or is gone, the first noticed first.
func (s *Store) Moves() ([]Move, error) {
	var moves []Move
	err := fs.WalkDir(s.disk.root().FS(), movedDir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreMissing(err)
		}
		k, err := ParseKey(strings.TrimPrefix(name, movedDir+"/"))
		if err != nil {
			return nil // not ours
		}
		// As with the marker of an unverified version, it may be early or late.
		if m, err := s.ledger(k); err == nil && m.Moved != "" {
			moves = append(moves, m.move(k))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list moved versions: %w", cause(err)) // the path is a private name
	}
	slices.SortFunc(moves, func(a, b Move) int { return a.At.Compare(b.At) })
	return moves, nil
}

// Tagged compares what is known of a private module with the tags that its origin has
// now, version to commit, and returns the versions that moved since the last time. A
// tag that is back where it was ends the alarm.
func (s *Store) Tagged(modPath string, commits map[string]string) ([]Move, error) {
	list, err := NewKey(modPath, "", List)
	if err != nil {
		return nil, err
	}
	unlock, err := s.lock(modPath)
	if err != nil {
		return nil, err
	}
	defer unlock()
	folder := path.Dir(list.String())
	files, err := s.disk.readDir(ledgerDir + "/" + folder)
	if ignoreMissing(err) != nil {
		return nil, fmt.Errorf("compare the tags of %s: %w", modPath, err)
	}
	var moves []Move
	for _, file := range files {
		k, err := ParseKey(folder + "/" + strings.TrimSuffix(file.Name(), ".json") + ".info")
		if err != nil || !k.Immutable() || module.IsPseudoVersion(k.version) {
			continue
		}
		known, err := s.lockedLedger(k) // a torn entry is no reason for no alarm
		if err != nil || known.OriginHash == "" {
			continue
		}
		now, ok := commits[k.version]
		if !ok {
			now, ok = commits[strings.TrimSuffix(k.version, "+incompatible")]
		}
		if !ok {
			now = Deleted
		}
		changed, err := s.setMoved(k, &known, now)
		if err != nil {
			return moves, fmt.Errorf("note where the tag of %s went: %w", k.Module(), err)
		}
		if changed && known.Moved != "" {
			moves = append(moves, known.move(k))
		}
	}
	return moves, nil
}

// setMoved notes in the ledger that the tag of a version names the commit now. The
// caller holds the lock.
func (s *Store) setMoved(k Key, known *Meta, now string) (changed bool, err error) {
	if now == known.OriginHash {
		now = ""
	}
	if known.Moved == now {
		return false, nil
	}
	known.Moved, known.MovedAt = now, s.now()
	if now == "" {
		known.MovedAt = time.Time{}
	} else if err := s.disk.put(movedName(k), nil); err != nil {
		return false, s.disk.full(err)
	}
	if err := s.writeLedger(k, *known); err != nil {
		return false, s.disk.full(err)
	}
	if now == "" {
		s.disk.remove(movedName(k))
	}
	return true, nil
}

// frozen deals with a private file whose version has moved. It is done with one that is
// held, for the first bytes stay, and refuses one that is not, unless it is proven to
// be of the first commit.
func (d *Draft) frozen(known *Meta) (done bool, err error) {
	if d.tree != Private || known.OriginHash == "" {
		return false, nil
	}
	now := d.meta.OriginHash
	if now != "" && now != known.OriginHash {
		if _, err := d.store.setMoved(d.key, known, now); err != nil {
			return false, err
		}
	}
	proven := d.key.kind == Info && now == known.OriginHash || d.h1 != "" && d.h1 == known.hash(d.key.kind)
	switch {
	case known.Moved == "", known.Moved == Deleted, proven:
		return false, nil
	case d.store.disk.exists(fileName(d.tree, d.key)):
		return true, nil
	}
	return false, &MovedError{known.move(d.key)}
}

// names looks at the version that a private @latest or query names. If that was first
// made from another commit, who asked for a branch or a commit would get the files of
// another one.
func (d *Draft) names() error {
	now := d.meta.OriginHash
	if d.tree != Private || d.named == "" || now == "" {
		return nil
	}
	k := Key{d.key.modPath, d.named, Info}
	known, err := d.store.lockedLedger(k)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (known.OriginHash == "" || known.OriginHash == now) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := d.store.setMoved(k, &known, now); err != nil {
		return err
	}
	if d.key.kind == Latest {
		return nil // the newest version, whatever it is made from
	}
	return &MovedError{known.move(k)}
}

// Unfreeze takes the files of a version out of both trees and forgets what they hashed
// to, so that the next download is its first one. What was set aside of it goes too: the
// user has decided.
func (s *Store) Unfreeze(v module.Version) error {
	k, err := versionKey(v)
	if err != nil {
		return err
	}
	unlock, err := s.lock(k.modPath)
	if err != nil {
		return err
	}
	defer unlock()
	for _, t := range []Tree{Private, Public} {
		if err := s.unlist(t, k); err != nil {
			return fmt.Errorf("unfreeze %s: %w", v, err)
		}
		for _, kind := range []Kind{Info, Mod, Zip} {
			name := fileName(t, k.Sibling(kind))
			if err := s.disk.at(name, (*os.Root).Remove); ignoreMissing(err) != nil {
				return fmt.Errorf("unfreeze %s: %w", v, cause(err))
			}
			s.recent.drop(name)
		}
		s.disk.remove(fileName(t, k.Sibling(Zip))+"hash", partialName(t, k.Sibling(Zip)))
	}
	notes, err := s.Quarantined()
	if err != nil {
		return fmt.Errorf("unfreeze %s: %w", v, err)
	}
	for _, q := range notes {
		if q.Module == v.Path && q.Version == v.Version {
			s.disk.remove(q.name()+".bytes", q.name()+".json")
		}
	}
	// Last, as in Evict: a kill before this leaves a version that still has to be accepted.
	s.disk.remove(ledgerName(k), markerName(k), movedName(k))
	return nil
}
