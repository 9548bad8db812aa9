package cache

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/mod/sumdb/dirhash"
)

// Entry is one held answer, open for reading. The caller closes it.
type Entry struct {
	// Meta is whole for answers that may change. Of an immutable one it has Fetched
	// alone, so that a hit opens one file; [Store.VersionMeta] has the rest.
	Meta    Meta
	Tag     string // an ETag value with its quotes: the h1 of a .zip or .mod, else a SHA-256
	Size    int64
	ModTime time.Time

	content io.ReadSeeker
	close   func() error // nil if there is nothing to close
}

// Read reads the answer.
func (e *Entry) Read(p []byte) (int, error) { return e.content.Read(p) }

// Seek moves to an offset of the answer.
func (e *Entry) Seek(offset int64, whence int) (int64, error) { return e.content.Seek(offset, whence) }

// Content returns what Read reads from. It is an *os.File for a .zip, which
// net/http hands to sendfile; wrapped in an Entry it would not.
func (e *Entry) Content() io.ReadSeeker { return e.content }

// Close ends the reading.
func (e *Entry) Close() error {
	if e.close == nil {
		return nil
	}
	return e.close()
}

// newEntry makes an entry of what fits in memory.
func newEntry(meta Meta, tag string, body []byte) *Entry {
	return &Entry{Meta: meta, Tag: tag, Size: int64(len(body)), ModTime: meta.Fetched, content: bytes.NewReader(body)}
}

// Get opens a held answer. A miss Is fs.ErrNotExist. An answer whose Meta says that
// it was not found is a hit without content.
//
// A private .info, .mod or .zip that is not held is looked for in the public tree: a
// module that became private keeps the versions it had, so far as the checksum
// database vouched for them. Others may be a stranger's who knew the name.
func (s *Store) Get(t Tree, k Key) (*Entry, error) {
	e, err := s.lookUp(t, k)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", k, err)
	}
	return e, nil
}

func (s *Store) lookUp(t Tree, k Key) (*Entry, error) {
	if !k.Immutable() {
		return s.record(t, k)
	}
	e, err := s.file(t, k)
	if !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	if t == Private {
		if !s.vouched(k.Module()) {
			return nil, fs.ErrNotExist
		}
		return s.file(Public, k)
	}
	return s.record(t, k)
}

func fileName(t Tree, k Key) string { return string(t) + "/" + k.String() }

// file opens one immutable file of a tree.
func (s *Store) file(t Tree, k Key) (*Entry, error) {
	name := fileName(t, k)
	if k.kind == Zip {
		return s.zipFile(name)
	}
	if h := s.recent.get(name, s.disk.stat); h != nil {
		return newEntry(h.meta, h.tag, h.body), nil
	}
	body, info, err := s.disk.read(name)
	if err != nil {
		return nil, err
	}
	tag := bodyTag(body)
	if k.kind == Mod {
		h1, err := hashMod(body)
		if err != nil {
			return nil, fmt.Errorf("hash it: %w", err)
		}
		tag = quote(h1)
	}
	h := &held{info: info, meta: Meta{Fetched: info.ModTime()}, tag: tag, body: body}
	s.recent.add(name, h)
	return newEntry(h.meta, h.tag, h.body), nil
}

func (s *Store) zipFile(name string) (*Entry, error) {
	f, err := s.disk.open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	opened := func(string) (fs.FileInfo, error) { return info, nil }
	h := s.recent.get(name, opened)
	if h == nil {
		h1, err := s.zipHash(name, f, info.Size())
		if err != nil {
			f.Close()
			return nil, err
		}
		h = &held{info: info, tag: quote(h1)}
		s.recent.add(name, h)
	}
	return &Entry{
		Meta: Meta{Fetched: info.ModTime()}, Tag: h.tag, Size: info.Size(), ModTime: info.ModTime(),
		content: f, close: f.Close,
	}, nil
}

// zipHash returns the h1 of a held zip from the .ziphash beside it. One that is
// missing or torn is computed and put back.
func (s *Store) zipHash(name string, f *os.File, size int64) (string, error) {
	if line, _, err := s.disk.read(name + "hash"); err == nil && h1Form.Match(line) {
		return string(line), nil
	}
	h1, err := s.hashZip(f, size)
	if err != nil {
		return "", fmt.Errorf("hash it: %w", err)
	}
	if err := s.disk.put(name+"hash", []byte(h1)); err != nil {
		s.log.Debug("zip hash not kept", "err", cause(err)) // the next hit computes it again
	}
	return h1, nil
}

// h1Form is a hash as go.sum has it. A file of NULs, which a loss of power can
// leave, does not match.
var h1Form = regexp.MustCompile(`^h1:[0-9A-Za-z+/]{43}=$`)

// hashZip returns the h1 of a held zip. Few are asked for: a check computes it.
func (s *Store) hashZip(f io.ReaderAt, size int64) (string, error) {
	t := &turn{unpacker: s.unpacker}
	ctx := context.Background() // bounded by the size of a zip
	if err := t.begin(ctx); err != nil {
		return "", err
	}
	defer t.end()
	body := s.unpacker.reader(f, size)
	defer body.release()
	z, err := zip.NewReader(body, size)
	if err != nil {
		return "", err
	}
	return s.unpacker.hash(ctx, t, z)
}

// hashMod returns the h1 of a go.mod file as go.sum has it.
func hashMod(body []byte) (string, error) {
	return dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(body)), nil
	})
}

func bodyTag(body []byte) string {
	sum := sha256.Sum256(body)
	return quote(hex.EncodeToString(sum[:]))
}

func quote(s string) string { return `"` + s + `"` }

// read reads a whole file.
func (d *disk) read(name string) ([]byte, fs.FileInfo, error) {
	f, err := d.open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	body := make([]byte, info.Size())
	_, err = io.ReadFull(f, body)
	return body, info, err
}

// stat looks at a file by its plain path. It opens nothing, so that os.Root, which
// walks the path folder by folder, would cost time and guard nothing.
func (d *disk) stat(name string) (fs.FileInfo, error) {
	return os.Lstat(filepath.Join(d.dir, name))
}
