package sumdb

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// tileHeight is the height of the tiles of every Go checksum database.
	tileHeight = 8
	fullWidth  = 1 << tileHeight

	// spareBytes bounds what is kept in memory because the disk does not take it.
	spareBytes = 8 << 20

	// edgeFolder holds the partial tiles, a few at a time, so that a look for a wider
	// one reads a short folder.
	edgeFolder = "edge"

	// nameLimit is how long a file name may be: 255 bytes on most file systems.
	nameLimit = 200
)

// shelf keeps verified lookups and tiles of one database. Each file ends in the SHA-256
// of the rest, so that one damaged by a power cut or a bad disk counts as missing and
// is fetched again; therefore nothing here is synced, and no draft is renamed.
//
// Folders are flat: an [os.Root] opens every folder on the way to a file, and a pull
// of a project asks for a thousand of them.
type shelf struct {
	root *os.Root
	log  *slog.Logger

	mu    sync.Mutex
	spare map[string][]byte // what the disk refused
	size  int               // bytes in spare
}

// lookupFile returns the file of a lookup, by its path below the database's address.
func lookupFile(name string) string {
	file := strings.ReplaceAll(strings.TrimPrefix(name, "lookup/"), "/", ",")
	if len(file) > nameLimit {
		sum := sha256.Sum256([]byte(file))
		file = hex.EncodeToString(sum[:])
	}
	return "lookup/" + file
}

// tileFile returns the file of a tile, such as "tile/0,1234567" or "edge/1,1234,200".
func tileFile(t tlog.Tile) string {
	if t.W == fullWidth {
		return fmt.Sprintf("tile/%d,%d", t.L, t.N)
	}
	return fmt.Sprintf("%s/%d,%d,%d", edgeFolder, t.L, t.N, t.W)
}

// read returns the file, or an error if it is not there or not whole.
func (s *shelf) read(file string) ([]byte, error) {
	all, err := s.root.ReadFile(file)
	if err == nil && len(all) >= sha256.Size {
		data, sum := all[:len(all)-sha256.Size], all[len(all)-sha256.Size:]
		if want := sha256.Sum256(data); bytes.Equal(sum, want[:]) {
			return data, nil
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if data, ok := s.spare[file]; ok {
		return data, nil
	}
	return nil, &fs.PathError{Op: "read", Path: file, Err: fs.ErrNotExist}
}

// write keeps the file, in memory if need be.
func (s *shelf) write(file string, data []byte) {
	err := s.place(file, data)
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
	s.size += len(data) - len(s.spare[file])
	s.spare[file] = data
}

// place writes the file where it belongs. One that is cut short by a crash, or that
// another process reads too early, counts as missing, which is only work again.
func (s *shelf) place(file string, data []byte) error {
	sum := sha256.Sum256(data)
	all := append(data[:len(data):len(data)], sum[:]...)
	err := s.root.WriteFile(file, all, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.root.MkdirAll(path.Dir(file), 0o700); err == nil {
			err = s.root.WriteFile(file, all, 0o600)
		}
	}
	return err
}

// lookup returns a lookup by its path below the database's address.
func (s *shelf) lookup(name string) ([]byte, error) { return s.read(lookupFile(name)) }

func (s *shelf) writeLookup(name string, data []byte) { s.write(lookupFile(name), data) }

// tile returns a tile: as it is held, or cut from a wider one. A narrow tile is a
// prefix of every wider one at its place.
func (s *shelf) tile(t tlog.Tile) ([]byte, error) {
	tries := 1
	if t.W < fullWidth {
		// While we look for a wider one it may be replaced by one wider still, once or
		// twice; look again then.
		tries = 3
	}
	for range tries {
		for _, w := range s.widths(t) {
			wider := t
			wider.W = w
			data, err := s.read(tileFile(wider))
			if err == nil && len(data) == w*tlog.HashSize {
				return data[:t.W*tlog.HashSize], nil
			}
		}
	}
	return nil, fmt.Errorf("tile %s: %w", t.Path(), fs.ErrNotExist)
}

// widths returns the widths, t.W and more, in which the tile may be held.
func (s *shelf) widths(t tlog.Tile) []int {
	if t.W == fullWidth {
		return []int{fullWidth}
	}
	widths := slices.DeleteFunc(s.partial(t), func(w int) bool { return w < t.W })
	return append(widths, fullWidth)
}

// partial returns the widths of the partial tiles held at t's place.
func (s *shelf) partial(t tlog.Tile) []int {
	entries, _ := fs.ReadDir(s.root.FS(), edgeFolder) // no folder: none held
	var files []string
	for _, entry := range entries {
		files = append(files, edgeFolder+"/"+entry.Name())
	}
	s.mu.Lock()
	for file := range s.spare {
		files = append(files, file)
	}
	s.mu.Unlock()
	prefix := fmt.Sprintf("%s/%d,%d,", edgeFolder, t.L, t.N)
	var widths []int
	for _, file := range files {
		rest, here := strings.CutPrefix(file, prefix)
		if w, err := strconv.Atoi(rest); here && err == nil && w > 0 && w < fullWidth {
			widths = append(widths, w)
		}
	}
	return widths
}

// writeTile keeps a tile.
func (s *shelf) writeTile(t tlog.Tile, data []byte) {
	if len(data) == t.W*tlog.HashSize {
		s.write(tileFile(t), data)
	}
}

// prune drops the tiles at t's place that can be cut from t: a growing database would
// otherwise leave hundreds at each.
func (s *shelf) prune(t tlog.Tile) {
	if _, err := s.read(tileFile(t)); err != nil {
		return // not kept, so the narrower ones are still needed
	}
	narrow := t
	for _, narrow.W = range s.partial(t) {
		if narrow.W < t.W {
			s.root.Remove(tileFile(narrow))
		}
	}
}
