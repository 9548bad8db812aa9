package sumdb

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"strconv"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// tileHeight is the height of the tiles of every Go checksum database.
	tileHeight = 8
	fullWidth  = 1 << tileHeight

	// spareBytes bounds what is kept in memory because the disk does not take it.
	spareBytes = 8 << 20

	// draftFolder holds files until they are whole. What is older than draftAge was
	// left there by a process that died.
	draftFolder = "drafts"
	draftAge    = time.Hour
)

// shelf keeps verified lookups and tiles of one database by their path below the
// database's address, such as "tile/8/0/000". Each file ends in the SHA-256 of the
// rest, so that one damaged by a power cut or a bad disk counts as missing and is
// fetched again; therefore nothing here is synced.
type shelf struct {
	root *os.Root
	log  *slog.Logger

	mu    sync.Mutex
	spare map[string][]byte // what the disk refused
	size  int               // bytes in spare
}

// read returns the file, or an error if it is not there or not whole.
func (s *shelf) read(name string) ([]byte, error) {
	file, err := s.root.ReadFile(name)
	if err == nil && len(file) >= sha256.Size {
		data, sum := file[:len(file)-sha256.Size], file[len(file)-sha256.Size:]
		if want := sha256.Sum256(data); bytes.Equal(sum, want[:]) {
			return data, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.spare[name]; ok {
		return data, nil
	}
	return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
}

// write keeps the file, in memory if need be.
func (s *shelf) write(name string, data []byte) {
	err := s.place(name, data)
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size == 0 {
		s.log.Warn("checksum database's answers kept in memory only", "err", err)
	}
	if s.size+len(data) > spareBytes {
		return
	}
	if s.spare == nil {
		s.spare = map[string][]byte{}
	}
	s.size += len(data) - len(s.spare[name])
	s.spare[name] = data
}

// place writes a whole file or none.
func (s *shelf) place(name string, data []byte) error {
	draft := path.Join(draftFolder, rand.Text())
	if err := s.root.MkdirAll(draftFolder, 0o700); err != nil {
		return err
	}
	sum := sha256.Sum256(data)
	err := s.root.WriteFile(draft, append(data[:len(data):len(data)], sum[:]...), 0o600)
	if err == nil {
		err = s.root.MkdirAll(path.Dir(name), 0o700)
	}
	if err == nil {
		err = s.root.Rename(draft, name)
	}
	if err != nil {
		s.root.Remove(draft)
	}
	return err
}

// sweep removes the drafts of dead processes.
func (s *shelf) sweep(now time.Time) {
	drafts, err := fs.ReadDir(s.root.FS(), draftFolder)
	if err != nil {
		return // no drafts
	}
	for _, draft := range drafts {
		if info, err := draft.Info(); err == nil && now.Sub(info.ModTime()) > draftAge {
			s.root.Remove(path.Join(draftFolder, draft.Name()))
		}
	}
}

// tile returns a tile: as it is held, or cut from a wider one. A narrow tile is a
// prefix of every wider one at its place.
func (s *shelf) tile(t tlog.Tile) ([]byte, error) {
	// While we look for a wider one it may be replaced by one wider still, once or
	// twice; look again then.
	for range 3 {
		for _, w := range s.widths(t) {
			wider := t
			wider.W = w
			data, err := s.read(wider.Path())
			if err == nil && len(data) == w*tlog.HashSize {
				return data[:t.W*tlog.HashSize], nil
			}
		}
	}
	return nil, fmt.Errorf("tile %s: %w", t.Path(), fs.ErrNotExist)
}

// widths returns the widths, t.W and more, in which the tile may be held.
func (s *shelf) widths(t tlog.Tile) []int {
	widths := []int{t.W}
	if t.W == fullWidth {
		return widths
	}
	widths = append(widths, fullWidth)
	for _, w := range s.partial(t) {
		if w > t.W {
			widths = append(widths, w)
		}
	}
	return widths
}

// partial returns the widths of the partial tiles held at t's place.
func (s *shelf) partial(t tlog.Tile) []int {
	t.W = 1
	folder := path.Dir(t.Path())
	entries, _ := fs.ReadDir(s.root.FS(), folder) // no folder: none held
	var widths []int
	for _, entry := range entries {
		if w, err := strconv.Atoi(entry.Name()); err == nil && w > 0 && w < fullWidth {
			widths = append(widths, w)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.spare {
		if w, err := strconv.Atoi(path.Base(name)); err == nil && path.Dir(name) == folder {
			widths = append(widths, w)
		}
	}
	return widths
}

// writeTile keeps a tile and drops the narrower ones that can be cut from it: a
// growing database would otherwise leave hundreds at each place.
func (s *shelf) writeTile(t tlog.Tile, data []byte) {
	if len(data) != t.W*tlog.HashSize {
		return
	}
	s.write(t.Path(), data)
	if _, err := s.read(t.Path()); err != nil {
		return // not kept, so the narrower ones are still needed
	}
	narrow := t
	for _, narrow.W = range s.partial(t) {
		if narrow.W < t.W {
			s.root.Remove(narrow.Path())
		}
	}
}
