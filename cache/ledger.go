package cache

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/mod/module"
)

// The ledger has a Meta for each version that ever came in: what its files must
// hash to, for both trees. It outlives the files, so that a version which comes
// again is the same one or is refused.
//
// An entry is written before the file that it describes. A process killed between
// the two leaves an entry of bytes that were checked but never served, which only
// means that the next download must bring the same. The other order could leave a
// file that is served and that nothing vouches for.

func ledgerName(k Key) string {
	return ledgerDir + "/" + strings.TrimSuffix(k.Sibling(Info).String(), ".info") + ".json"
}

func markerName(k Key) string { return markerDir + "/" + k.Sibling(Info).String() }

// VersionMeta returns what is known about a version. It Is fs.ErrNotExist if the
// version never came in.
func (s *Store) VersionMeta(v module.Version) (Meta, error) {
	k, err := versionKey(v)
	if err != nil {
		return Meta{}, err
	}
	if m, err := s.ledger(k); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	unlock, err := s.lock(k.modPath)
	if err != nil {
		return Meta{}, err
	}
	defer unlock()
	return s.lockedLedger(k)
}

// SetVerdict notes what the checksum database said about a version that is known, and
// reports whether it has. The verdict is on the hashes in judged, from
// [Store.VersionMeta]: if others have come since, nothing is noted.
func (s *Store) SetVerdict(v module.Version, judged Meta, verdict Verdict) (bool, error) {
	k, err := versionKey(v)
	if err != nil {
		return false, err
	}
	unlock, err := s.lock(k.modPath)
	if err != nil {
		return false, err
	}
	defer unlock()
	m, err := s.lockedLedger(k)
	if err != nil {
		return false, fmt.Errorf("set verdict of %s: %w", v, err)
	}
	if m.H1 != judged.H1 || m.GoModH1 != judged.GoModH1 {
		return false, nil
	}
	m.Verdict = verdict
	if err := s.writeLedger(k, m); err != nil {
		return false, fmt.Errorf("set verdict of %s: %w", v, err)
	}
	return true, nil
}

// Unverified returns the versions whose check is still to come.
func (s *Store) Unverified() ([]module.Version, error) {
	var versions []module.Version
	err := fs.WalkDir(s.disk.root().FS(), markerDir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return ignoreMissing(err)
		}
		k, err := ParseKey(strings.TrimPrefix(name, markerDir+"/"))
		if err != nil {
			return nil // not ours
		}
		// A marker is made before the entry and removed after it, so it can be early or late.
		if m, err := s.ledger(k); err == nil && m.Verdict == Unverified {
			versions = append(versions, k.Module())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list unverified versions: %w", cause(err))
	}
	return versions, nil
}

func versionKey(v module.Version) (Key, error) {
	k, err := NewKey(v.Path, v.Version, Mod)
	if err != nil {
		return Key{}, err
	}
	return k.Sibling(Info), nil
}

// ledger reads the entry of a version. One that is torn is as good as none.
func (s *Store) ledger(k Key) (Meta, error) {
	name := ledgerName(k)
	data, _, err := s.disk.read(name)
	if err != nil {
		return Meta{}, err
	}
	var m Meta
	if err := json.Unmarshal(data, &m); err != nil {
		return Meta{}, fmt.Errorf("read %s: %w: %w", name, fs.ErrNotExist, err)
	}
	return m, nil
}

// lockedLedger reads the entry of a version, or makes it anew from the held files.
// What the database said is lost then, so the version counts as unverified, unless it is
// only held as a private one: no database is asked about those.
func (s *Store) lockedLedger(k Key) (Meta, error) {
	m, err := s.ledger(k)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	m = Meta{Upstream: "cache", Fetched: s.now(), Verdict: Exempt}
	for _, t := range []Tree{Private, Public} { // the public one was open to checks: it prevails
		held, err := s.rehash(t, k, &m)
		if err != nil {
			return Meta{}, err
		}
		if held && t == Public {
			m.Verdict = Unverified
		}
	}
	if m.H1 == "" && m.GoModH1 == "" && m.OriginHash == "" {
		return Meta{}, fmt.Errorf("find %s: %w", k.Module(), fs.ErrNotExist)
	}
	if err := s.writeLedger(k, m); err != nil {
		s.log.Warn("ledger not written", "err", cause(err)) // the next reader computes it again
	}
	return m, nil
}

// rehash fills in the hashes of the files that t holds, and the commit. It reports
// whether there are any files.
func (s *Store) rehash(t Tree, k Key, m *Meta) (held bool, err error) {
	f, err := s.disk.open(fileName(t, k.Sibling(Zip)))
	if err == nil {
		held = true
		defer f.Close()
		var info fs.FileInfo
		if info, err = f.Stat(); err == nil {
			m.H1, err = s.hashZip(f, info.Size())
		}
	}
	if ignoreMissing(err) != nil {
		return held, fmt.Errorf("hash %s: %w", k.Sibling(Zip), err)
	}
	body, _, err := s.disk.read(fileName(t, k.Sibling(Mod)))
	if err == nil {
		held = true
		m.GoModH1, err = hashMod(body)
	}
	if ignoreMissing(err) != nil {
		return held, fmt.Errorf("hash %s: %w", k.Sibling(Mod), err)
	}
	body, _, err = s.disk.read(fileName(t, k.Sibling(Info)))
	if ignoreMissing(err) != nil {
		return held, fmt.Errorf("read %s: %w", k.Sibling(Info), err)
	}
	held = held || err == nil
	var info struct{ Origin struct{ Hash string } }
	if json.Unmarshal(body, &info) == nil && m.OriginHash == "" {
		m.OriginHash = info.Origin.Hash
	}
	return held, nil
}

// writeLedger stores the entry of a version. The caller holds its lock.
func (s *Store) writeLedger(k Key, m Meta) error {
	marker := markerName(k)
	if m.Verdict == Unverified && !s.disk.exists(marker) {
		if err := s.disk.put(marker, nil); err != nil {
			return err
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// Not synced: an entry torn by a loss of power is made anew from the files.
	if err := s.disk.put(ledgerName(k), data); err != nil {
		return err
	}
	if m.Verdict != Unverified {
		s.disk.remove(marker)
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
