package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/mod/zip"
)

// The most bytes that an answer may have. The go command has no limits but those
// of x/mod/zip; the others are wide enough for what is served today.
const (
	maxZip  = zip.MaxZipFile // 500 MiB
	maxMod  = zip.MaxGoMod   // 16 MiB
	maxInfo = 1 << 20
	maxList = 4 << 20
)

// maxZipEntries is the most files in a zip; large modules have 20,000. Reading the
// directory of a zip takes some 500 bytes of memory an entry.
const maxZipEntries = 200_000

// Draft is an answer on its way in. The order is ReadFrom, Check, Judge, Commit; a
// Draft that is not committed is discarded or quarantined. A .zip is written to a
// file, the rest stays in memory so that a full disk does not stop it.
//
// One goroutine at a time may use a Draft, but Entry and Discard may be called from
// several.
type Draft struct {
	store   *Store
	tree    Tree
	key     Key
	body    []byte // all but a .zip
	zip     *os.File
	size    int64
	meta    Meta // what is known so far
	h1      string
	verdict Verdict
	checked bool

	mu        sync.Mutex
	name      string // of the draft file of a .zip, while there is one
	readers   int    // open entries of it
	discarded bool
	refused   bool // in quarantine: never to be read again
	committed bool
}

// Draft starts an answer to k.
func (s *Store) Draft(t Tree, k Key) (*Draft, error) {
	if k.kind == 0 {
		return nil, errors.New("start a draft: no key")
	}
	return &Draft{store: s, tree: t, key: k}, nil
}

// Key returns what the draft answers.
func (d *Draft) Key() Key { return d.key }

// H1 returns the hash of a checked .zip or .mod as go.sum has it, "" of others.
func (d *Draft) H1() string { return d.h1 }

// Judge notes what the checksum database said about the bytes.
func (d *Draft) Judge(v Verdict) { d.verdict = v }

// Replace changes the body of a list, so that versions seen before can be merged in.
func (d *Draft) Replace(body []byte) {
	if d.key.kind == List {
		d.body, d.checked = body, d.checked && checkList(d.key, body) == nil
	}
}

// limit is the most bytes that an answer to the kind may have.
func (kind Kind) limit() int64 {
	switch kind {
	case Zip:
		return maxZip
	case Mod:
		return maxMod
	case List:
		return maxList
	}
	return maxInfo
}

// ReadFrom takes the whole answer from r and returns its size. A second call starts
// over. It is an *InvalidError if there is more than the kind may have, and a
// *FullError if the disk can't take it.
func (d *Draft) ReadFrom(r io.Reader) (int64, error) {
	d.checked, d.h1 = false, ""
	limit := d.key.kind.limit()
	r = io.LimitReader(r, limit+1)
	var err error
	if d.key.kind == Zip {
		d.size, err = d.readZip(r)
	} else {
		d.body, err = io.ReadAll(r)
		d.size = int64(len(d.body))
	}
	if err == nil && d.size > limit {
		err = &InvalidError{d.key, fmt.Sprintf("more than %d bytes", limit)}
	}
	return d.size, err
}

func (d *Draft) readZip(r io.Reader) (int64, error) {
	if d.zip == nil {
		f, name, err := d.store.disk.create()
		if err != nil {
			return 0, err
		}
		d.zip, d.name = f, name
	} else if err := d.rewind(); err != nil {
		return 0, err
	}
	w := &zipWriter{draft: d}
	return io.CopyBuffer(w, r, make([]byte, 64<<10))
}

func (d *Draft) rewind() error {
	if _, err := d.zip.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return d.zip.Truncate(0)
}

// zipWriter writes a draft and counts the entries of the zip as they pass. Every
// entry that archive/zip reads begins with the signature, so the count bounds the
// memory that it will take, whatever number the end of the zip claims.
type zipWriter struct {
	draft   *Draft
	entries int
	tail    []byte // the last bytes written, as a signature may be split
}

func (w *zipWriter) Write(p []byte) (int, error) {
	signature := []byte("PK\x01\x02")
	seam := append(w.tail, p[:min(len(p), len(signature)-1)]...)
	w.entries += bytes.Count(p, signature) + bytes.Count(seam, signature)
	if w.entries > maxZipEntries {
		return 0, &InvalidError{w.draft.key, fmt.Sprintf("more than %d files", maxZipEntries)}
	}
	if len(p) >= len(signature) {
		seam = p
	}
	w.tail = append(w.tail[:0], seam[max(0, len(seam)-len(signature)+1):]...)
	return w.draft.store.disk.write(w.draft.zip, p)
}

// Entry opens the draft itself, for when Commit could not keep it. It stays
// readable after Discard, until it is closed.
func (d *Draft) Entry() (*Entry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refused {
		return nil, fmt.Errorf("open draft of %s: it is in quarantine", d.key)
	}
	if d.committed {
		return d.store.Get(d.tree, d.key)
	}
	meta := d.meta
	if meta.Fetched.IsZero() {
		meta.Fetched = d.store.now()
	}
	if d.key.kind != Zip {
		return newEntry(meta, d.tag(), d.body), nil
	}
	if d.name == "" || d.discarded {
		return nil, fmt.Errorf("open draft of %s: it is gone", d.key)
	}
	f, err := d.store.disk.root.Open(d.name)
	if err != nil {
		return nil, fmt.Errorf("open draft of %s: %w", d.key, err)
	}
	d.readers++
	release := sync.OnceValue(func() error {
		err := f.Close()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.readers--
		d.drop()
		return err
	})
	return &Entry{Meta: meta, Tag: d.tag(), Size: d.size, ModTime: meta.Fetched, content: f, close: release}, nil
}

func (d *Draft) tag() string {
	if d.h1 != "" {
		return quote(d.h1)
	}
	return bodyTag(d.body)
}

// Discard ends a draft. It may follow a Commit and be called twice.
func (d *Draft) Discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.zip != nil {
		d.zip.Close() // what was written does not matter any more
	}
	d.discarded = true
	d.drop()
}

// drop removes the draft file after its last reader; Windows can't do it earlier.
func (d *Draft) drop() {
	if d.discarded && d.readers == 0 && d.name != "" {
		d.store.disk.remove(d.name)
		d.name = ""
	}
}
