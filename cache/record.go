package cache

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// record is the file of an answer that may change: a list, an @latest, a branch, or
// a "not found". As a JSON document it shows by itself when it is torn: neither a
// cut nor a NUL parses. It is then a miss, so that it need not be synced to disk.
type record struct {
	Meta Meta   `json:"meta"`
	Body string `json:"body,omitempty"` // checked to be UTF-8, so that JSON keeps its bytes
}

func recordName(t Tree, k Key) string {
	if t == Private {
		return recordDir + "/private/" + k.String() + ".json"
	}
	return recordDir + "/public/" + k.String() + ".json"
}

// record opens the answer to a key that may change.
func (s *Store) record(t Tree, k Key) (*Entry, error) {
	name := recordName(t, k)
	if h := s.recent.get(name, s.disk.stat); h != nil {
		return newEntry(h.meta, h.tag, h.body), nil
	}
	rec, info, err := s.readRecord(name)
	if err != nil {
		return nil, err
	}
	h := &held{info: info, meta: rec.Meta, body: []byte(rec.Body)}
	h.tag = bodyTag(h.body)
	s.recent.add(name, h)
	return newEntry(h.meta, h.tag, h.body), nil
}

func (s *Store) readRecord(name string) (record, fs.FileInfo, error) {
	data, info, err := s.disk.read(name)
	if err != nil {
		return record{}, nil, err
	}
	var rec record
	if err := json.Unmarshal(data, &rec); err != nil {
		return record{}, nil, fmt.Errorf("read %s: %w: %w", name, fs.ErrNotExist, err)
	}
	return rec, info, nil
}

// writeRecord stores a record. The caller holds the lock of the module path.
func (s *Store) writeRecord(t Tree, k Key, rec record) error {
	data, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	name := recordName(t, k)
	defer s.recent.drop(name)
	return s.disk.put(name, data)
}

// Negative stores that k does not exist. Nothing private is ever stored so: it may
// appear with the next push, and a token may open it.
func (s *Store) Negative(t Tree, k Key, m Meta) error {
	if t == Private {
		return nil
	}
	unlock, err := s.lock(k.modPath)
	if err != nil {
		return err
	}
	defer unlock()
	if k.Immutable() && s.disk.exists(fileName(t, k)) {
		return nil
	}
	if m.Found() {
		m.Status = 404
	}
	if m.Fetched.IsZero() {
		m.Fetched = s.now()
	}
	if err := s.writeRecord(t, k, record{Meta: m}); err != nil {
		return fmt.Errorf("store that %s does not exist: %w", k, err)
	}
	return nil
}

// Touch notes that the answer to k was found to still stand. Immutable answers
// stand for ever.
func (s *Store) Touch(t Tree, k Key, at time.Time) error {
	if k.Immutable() && s.disk.exists(fileName(t, k)) {
		return nil
	}
	unlock, err := s.lock(k.modPath)
	if err != nil {
		return err
	}
	defer unlock()
	rec, _, err := s.readRecord(recordName(t, k))
	if err != nil {
		return fmt.Errorf("touch %s: %w", k, err)
	}
	rec.Meta.Fetched = at
	if err := s.writeRecord(t, k, rec); err != nil {
		return fmt.Errorf("touch %s: %w", k, err)
	}
	return nil
}

// Answers returns the keys of a module to which there is an answer that may change, or
// that was not found: lists, @latest, branches, and versions there is no file of.
func (s *Store) Answers(t Tree, modPath string) ([]Key, error) {
	list, err := NewKey(modPath, "", List)
	if err != nil {
		return nil, err
	}
	latest := Key{modPath: modPath, kind: Latest}
	var keys []Key
	if s.disk.exists(recordName(t, latest)) {
		keys = append(keys, latest)
	}
	folder := path.Dir(recordName(t, list))
	files, err := s.disk.readDir(folder)
	if ignoreMissing(err) != nil {
		return nil, fmt.Errorf("list the answers about %s: %w", modPath, err)
	}
	for _, file := range files {
		k, err := ParseKey(path.Dir(list.String()) + "/" + strings.TrimSuffix(file.Name(), ".json"))
		if err == nil {
			keys = append(keys, k)
		}
	}
	return keys, nil
}

// Forget drops the answer to k if that may change, or says "not found". The files of a
// version stay.
func (s *Store) Forget(t Tree, k Key) error {
	unlock, err := s.lock(k.modPath)
	if err != nil {
		return err
	}
	defer unlock()
	name := recordName(t, k)
	defer s.recent.drop(name)
	if err := s.disk.at(name, (*os.Root).Remove); ignoreMissing(err) != nil {
		return fmt.Errorf("forget %s: %w", k, cause(err))
	}
	return nil
}
