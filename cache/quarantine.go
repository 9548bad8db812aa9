package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// Bounds of the quarantine: an upstream that answers wrongly all day must not fill
// the disk. What is over goes, oldest first; bytes before notes.
const (
	quarantineNotes = 100
	quarantineBytes = 1 << 30
)

// Quarantine is the note about an answer that was set aside.
type Quarantine struct {
	Module   string    `json:"module"`
	Version  string    `json:"version"`
	Key      string    `json:"key"`
	Upstream string    `json:"upstream,omitempty"`
	Reason   string    `json:"reason"`
	At       time.Time `json:"at"`
	Got      string    `json:"got,omitempty"` // h1 hashes
	Want     string    `json:"want,omitempty"`
}

// name is the same for the same wrong bytes, so that retries do not add up.
func (q Quarantine) name() string {
	sum := sha256.Sum256([]byte(q.Key + " " + q.Got))
	return quarantineDir + "/" + hex.EncodeToString(sum[:12])
}

// Quarantine ends a draft that must not be served and keeps its bytes for a look,
// with who delivered them and who contradicts. Where they can't be kept, the log
// says so: the draft is as dead.
func (d *Draft) Quarantine(m Meta, c *ContradictionError) {
	d.meta = m
	if err := d.quarantine(c.Error(), c.Want); err != nil {
		d.store.log.Warn("draft not quarantined", "err", cause(err))
	}
}

func (d *Draft) quarantine(reason, want string) error {
	d.mu.Lock()
	d.refused = true
	name := d.name
	d.mu.Unlock()
	defer d.Discard()

	q := d.store.note(d.key, reason)
	q.Upstream, q.Got, q.Want = d.meta.Upstream, d.h1, want
	if d.key.kind != Zip {
		var err error
		if name, err = d.store.disk.draft(d.body, time.Time{}, false); err != nil {
			return err
		}
	} else if d.zip != nil {
		d.zip.Close() // Windows does not move open files
	}
	err := d.store.keep(q, name)
	if err != nil && d.key.kind != Zip {
		d.store.disk.remove(name) // that of a zip goes with the draft
	}
	return err
}

func (s *Store) note(k Key, reason string) Quarantine {
	v := k.Module()
	return Quarantine{Module: v.Path, Version: v.Version, Key: k.String(), Reason: reason, At: s.now()}
}

// keep moves a file into quarantine, with its note. The note goes first: bytes without one
// are then never those of a quarantine that is under way.
func (s *Store) keep(q Quarantine, file string) error {
	note, err := json.MarshalIndent(q, "", "\t")
	if err != nil {
		return err
	}
	if err := s.disk.put(q.name()+".json", append(note, '\n')); err != nil {
		return err
	}
	if err := s.disk.place(file, q.name()+".bytes"); err != nil {
		s.disk.remove(q.name() + ".json")
		return err
	}
	return s.trimQuarantine()
}

// Quarantined returns the notes of all that was set aside, oldest first.
func (s *Store) Quarantined() ([]Quarantine, error) {
	files, err := fs.ReadDir(s.disk.root().FS(), quarantineDir)
	if ignoreMissing(err) != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	var notes []Quarantine
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".json") {
			continue
		}
		data, _, err := s.disk.read(quarantineDir + "/" + file.Name())
		var q Quarantine
		if err == nil && json.Unmarshal(data, &q) == nil { // else torn, or trimmed just now
			notes = append(notes, q)
		}
	}
	slices.SortFunc(notes, func(a, b Quarantine) int { return a.At.Compare(b.At) })
	return notes, nil
}

func (s *Store) trimQuarantine() error {
	if err := s.dropNoteless(); err != nil {
		return err
	}
	notes, err := s.Quarantined()
	if err != nil {
		return err
	}
	slices.Reverse(notes)
	var size int64
	for i, q := range notes {
		info, err := s.disk.root().Stat(q.name() + ".bytes")
		if err == nil {
			size += info.Size()
		}
		if size > quarantineBytes {
			s.disk.remove(q.name() + ".bytes")
		}
		if i >= quarantineNotes {
			s.disk.remove(q.name()+".bytes", q.name()+".json")
		}
	}
	return nil
}

// dropNoteless removes the bytes whose note was torn by a loss of power: by the notes
// alone they would never be found.
func (s *Store) dropNoteless() error {
	files, err := fs.ReadDir(s.disk.root().FS(), quarantineDir)
	if err != nil {
		return fmt.Errorf("list quarantine: %w", err)
	}
	for _, file := range files {
		name, ok := strings.CutSuffix(quarantineDir+"/"+file.Name(), ".bytes")
		if !ok {
			continue
		}
		note, _, err := s.disk.read(name + ".json")
		if errors.Is(err, fs.ErrNotExist) || err == nil && !json.Valid(note) { // else it can't be told
			s.disk.remove(name+".bytes", name+".json")
		}
	}
	return nil
}

// Evict moves the files of a version out of both trees into quarantine, and forgets
// what they hashed to: a check found that they were never right.
func (s *Store) Evict(v module.Version, reason string) error {
	k, err := versionKey(v)
	if err != nil {
		return err
	}
	unlock, err := s.lock(k.modPath)
	if err != nil {
		return err
	}
	defer unlock()
	known, err := s.lockedLedger(k)
	if ignoreMissing(err) != nil {
		return fmt.Errorf("evict %s: %w", v, err)
	}
	for _, t := range []Tree{Public, Private} {
		if err := s.evictFrom(t, k, known, reason); err != nil {
			return fmt.Errorf("evict %s: %w", v, err)
		}
	}
	// The marker goes last: a kill before this has the version checked again.
	s.disk.remove(ledgerName(k), markerName(k), movedName(k))
	return nil
}

// evictFrom moves the files of a version out of one tree. The list goes first, as it
// must not name what is gone. A full disk does not stop it.
func (s *Store) evictFrom(t Tree, k Key, known Meta, reason string) error {
	if err := s.unlist(t, k); err != nil {
		return err
	}
	for kind, got := range map[Kind]string{Info: "", Mod: known.GoModH1, Zip: known.H1} {
		name := fileName(t, k.Sibling(kind))
		if !s.disk.exists(name) {
			continue
		}
		q := s.note(k.Sibling(kind), reason)
		q.Upstream, q.Got = known.Upstream, got
		if err := s.keep(q, name); err != nil {
			// Wrong bytes go, whether or not there is space to keep them.
			if err := s.disk.root().Remove(name); ignoreMissing(err) != nil {
				return err
			}
			s.log.Warn("evicted file not quarantined", "err", cause(err))
		}
	}
	s.disk.remove(fileName(t, k.Sibling(Zip)) + "hash")
	return nil
}

// unlist takes a version out of the list of a tree.
func (s *Store) unlist(t Tree, k Key) error {
	held, err := s.versions(t, k.modPath)
	if err != nil || held[k.version] == 0 {
		return err
	}
	if err := s.writeList(t, k.modPath, k.version); err != nil {
		s.disk.remove(fileName(t, Key{modPath: k.modPath, kind: List})) // on a full disk: none names it either
	}
	return nil
}
