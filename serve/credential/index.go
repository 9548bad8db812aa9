package credential

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

const (
	indexFile = "credentials.json" // who has a token where; no secret is in it
	plainFile = "tokens.json"      // the secrets of --insecure-storage
	lockFile  = "credentials.lock"

	lockRetry = 10 * time.Millisecond
	lockLimit = 5 * time.Second // it is held for as long as two small files take

	// maxFile is far over what the places of one user fill.
	maxFile = 1 << 20
)

// Places returns the places that have a token, sorted. It asks no keychain.
func (s *Store) Places() ([]Entry, error) {
	var list []Entry
	if err := s.load(indexFile, &list); err != nil {
		return nil, err
	}
	return list, nil
}

// entry returns the line of the index for p.
func (s *Store) entry(p Place) (Entry, error) {
	list, err := s.Places()
	if err != nil {
		return Entry{}, err
	}
	if i := indexOf(list, p); i >= 0 {
		return list[i], nil
	}
	return Entry{}, none(p)
}

func indexOf(list []Entry, p Place) int {
	return slices.IndexFunc(list, func(e Entry) bool { return e.Place == p })
}

// record puts e into the index in place of what it had about the same place.
func (s *Store) record(e Entry) error {
	list, err := s.Places()
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(old Entry) bool { return old.Place == e.Place })
	list = append(list, e)
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Place.String(), b.Place.String()) })
	return s.save(indexFile, list)
}

// strike takes p out of the index.
func (s *Store) strike(p Place) error {
	list, err := s.Places()
	if err != nil || indexOf(list, p) < 0 {
		return err
	}
	return s.save(indexFile, slices.DeleteFunc(list, func(e Entry) bool { return e.Place == p }))
}

// lock keeps two logins from losing each other's lines.
func (s *Store) lock(ctx context.Context) (unlock func(), err error) {
	if s.opts.StateDir == "" {
		return nil, errors.New("store a token: no state folder")
	}
	if err := os.MkdirAll(s.opts.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	if err := closeFolder(s.opts.StateDir); err != nil {
		return nil, err
	}
	file := flock.New(filepath.Join(s.opts.StateDir, lockFile), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(ctx, lockLimit)
	defer cancel()
	if _, err := file.TryLockContext(ctx, lockRetry); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", file.Path(), err), file.Close())
	}
	return func() { file.Close() }, nil
}

// load reads a file of the state folder into v, and leaves v alone if there is none.
func (s *Store) load(name string, v any) error {
	if s.opts.StateDir == "" {
		return nil
	}
	path := filepath.Join(s.opts.StateDir, name)
	content, err := readOwn(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if json.Unmarshal(content, v) != nil { // its error may quote the content
		return &hinted{fmt.Errorf("read %s: not what gomirror wrote there", path), "rm " + path}
	}
	return nil
}

// save writes a file of the state folder whole or not at all, for its owner alone.
func (s *Store) save(name string, v any) error {
	content, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	draft, err := os.CreateTemp(s.opts.StateDir, "."+name+"-*") // O_EXCL, 0600
	if err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	defer os.Remove(draft.Name()) // fails once it is renamed
	_, err = draft.Write(append(content, '\n'))
	if err == nil {
		err = draft.Sync()
	}
	if err := errors.Join(err, draft.Close()); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	if err := os.Rename(draft.Name(), filepath.Join(s.opts.StateDir, name)); err != nil {
		return fmt.Errorf("save %s: %w", name, err)
	}
	return nil
}
