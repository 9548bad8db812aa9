package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// kinds is a set of the kinds of file held of a version.
type kinds uint8

const whole = kinds(1<<Info | 1<<Mod | 1<<Zip)

// Held returns the versions of which .info, .mod and .zip are held, in the order
// of semver. For the private tree the public files count too that [Store.Get] gives.
func (s *Store) Held(t Tree, modPath string) ([]string, error) {
	versions, err := s.versions(t, modPath)
	if err != nil {
		return nil, err
	}
	if t == Private {
		public, err := s.versions(Public, modPath)
		if err != nil {
			return nil, err
		}
		for version, held := range public {
			if s.vouched(module.Version{Path: modPath, Version: version}) {
				versions[version] |= held
			}
		}
	}
	return wholeVersions(versions), nil
}

// vouched reports whether the checksum database has verified a version.
func (s *Store) vouched(v module.Version) bool {
	m, err := s.VersionMeta(v)
	return err == nil && m.Verdict == Verified
}

// Known reports whether modPath was ever seen to be a module: a file of a version
// is held, or there was an answer to its list or @latest.
func (s *Store) Known(t Tree, modPath string) bool {
	for _, kind := range []Kind{List, Latest} {
		k, err := NewKey(modPath, "", kind)
		if err != nil {
			return false
		}
		if e, err := s.record(t, k); err == nil && e.Meta.Found() {
			return true
		}
	}
	versions, err := s.versions(t, modPath)
	if err == nil && len(versions) == 0 && t == Private {
		versions, err = s.versions(Public, modPath)
	}
	return err == nil && len(versions) > 0
}

// CameFrom reports whether upstream, by its name in [Meta], was the last to deliver
// a file of any version of modPath.
func (s *Store) CameFrom(upstream, modPath string) bool {
	k, err := NewKey(modPath, "", List)
	if err != nil {
		return false
	}
	folder := ledgerDir + "/" + path.Dir(k.String())
	files, err := s.disk.readDir(folder)
	if err != nil {
		return false // nothing ever came
	}
	return slices.ContainsFunc(files, func(file fs.DirEntry) bool {
		info, err := ParseKey(path.Dir(k.String()) + "/" + strings.TrimSuffix(file.Name(), ".json") + ".info")
		if err != nil {
			return false
		}
		m, err := s.ledger(info)
		return err == nil && m.Upstream == upstream
	})
}

// versions returns which files of which versions a tree holds.
func (s *Store) versions(t Tree, modPath string) (map[string]kinds, error) {
	k, err := NewKey(modPath, "", List)
	if err != nil {
		return nil, err
	}
	files, err := s.disk.readDir(path.Dir(fileName(t, k)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list held versions of %s: %w", modPath, err)
	}
	versions := make(map[string]kinds)
	for _, file := range files {
		k, err := ParseKey(strings.TrimSuffix(k.String(), "list") + file.Name())
		if err == nil && k.Immutable() { // else the list or a .ziphash
			versions[k.version] |= 1 << k.kind
		}
	}
	return versions, nil
}

func wholeVersions(versions map[string]kinds) []string {
	maps.DeleteFunc(versions, func(_ string, held kinds) bool { return held != whole })
	return slices.SortedFunc(maps.Keys(versions), func(a, b string) int {
		if c := semver.Compare(a, b); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
}

// writeList writes the @v/list of a tree, which is there for those who read the
// tree without gomirror. It names whole versions only, for the go command does not
// look further when the version it picks can't be had. The caller holds the lock.
//
// The files come before the list, also on the disk. A process killed between the
// two leaves a version out of it until the next one of the module comes in.
// leaving is a version to leave out, or "".
func (s *Store) writeList(t Tree, modPath, leaving string) error {
	versions, err := s.versions(t, modPath)
	if err != nil {
		return err
	}
	delete(versions, leaving)
	k := Key{modPath: modPath, kind: List}
	name := fileName(t, k)
	var list strings.Builder
	for _, version := range wholeVersions(versions) {
		list.WriteString(version + "\n")
	}
	draft, err := s.disk.draft([]byte(list.String()), time.Time{}, true)
	if err != nil {
		return err
	}
	// After the sync of the draft, which takes the names along on most file systems:
	// the other way round each would wait for the disk.
	err = s.disk.full(s.disk.syncFolder(path.Dir(name)))
	if err == nil {
		err = s.disk.place(draft, name)
	}
	if err != nil {
		s.disk.remove(draft)
	}
	return err
}
