package cache

import (
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
	named   string // the version that an .info, @latest or query is about
	verdict Verdict
	checked bool
	begun   Meta       // as Begin told it
	entries int        // of the zip, or more: see zipWriter
	syncing chan error // has how the sync of the zip ended, once it did
	noted   bool       // a note lies beside the draft file
	broken  bool       // ReadFrom broke off: more may come
	full    bool       // because the disk is
	sound   func()     // as OnSound took it; may be nil

	mu        sync.Mutex
	name      string // of the draft file of a .zip, while there is one
	sealed    bool   // zip is closed
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

// OnSound has Commit call f when nothing is left that could refuse a .info, .mod or .zip:
// from then on [Draft.Entry] may be served, while Commit waits for the disk. A sync takes
// longer than an upstream near by, and go waits for each of these files. A .zip is in its
// place by then, for an open one can't be moved everywhere.
func (d *Draft) OnSound(f func()) { d.sound = f }

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
	d.checked, d.h1, d.broken = false, "", false
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
	_, invalid := errors.AsType[*InvalidError](err)
	full, ok := errors.AsType[*FullError](err)
	d.full = ok && !full.Files()
	d.broken = err != nil && !invalid
	return d.size, err
}

// Entry opens the draft itself, for when Commit could not keep it. It stays
// readable after Discard, until it is closed.
func (d *Draft) Entry() (*Entry, error) {
	d.mu.Lock()
	if d.committed && !d.refused {
		d.mu.Unlock() // Get may wait for the lock that Commit holds, and Commit waits for mu
		return d.store.Get(d.tree, d.key)
	}
	defer d.mu.Unlock()
	if d.refused {
		return nil, fmt.Errorf("open draft of %s: it is in quarantine", d.key)
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
	entry := &Entry{Meta: meta, Tag: d.tag(), Size: d.size, ModTime: meta.Fetched}
	f, err := d.store.disk.open(d.name)
	switch {
	case err == nil:
		entry.content = f
	case outOfFiles(err) && !d.sealed:
		entry.content = io.NewSectionReader(d.zip, 0, d.size) // that one is open
	default:
		return nil, fmt.Errorf("open draft of %s: %w", d.key, err)
	}
	d.readers++
	entry.close = sync.OnceValue(func() error {
		var err error
		if f != nil {
			err = f.Close()
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.readers--
		d.drop()
		return err
	})
	return entry, nil
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
	d.discarded = true
	d.drop()
}

// drop removes the draft file after its last reader; Windows can't do it earlier.
func (d *Draft) drop() {
	if !d.discarded || d.readers > 0 {
		return
	}
	if d.zip != nil {
		d.zip.Close() // what was written does not matter any more
	}
	if d.name != "" {
		d.removeNote()
		d.store.disk.remove(d.name)
		d.name = ""
	}
}
