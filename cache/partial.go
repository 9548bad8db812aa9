package cache

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// partialMin is the size from which a beginning is worth keeping: at 1 MB/s a quarter
// of a second, against two files and a request that may not be answered by Range.
const partialMin = 256 << 10

// Partial is the beginning of a .zip whose download broke off. Meta has the upstream
// that sent it and the validators that tell whether it still has the same bytes.
//
// It is a hint and no more: a loss of power can leave NULs in it. What is made of it
// goes through Check and the checksum database as any answer does, and whoever
// resumed fetches from scratch what does not pass.
type Partial struct {
	Meta Meta
	Size int64

	store *Store
	note  partialNote
	short int64 // shortages of the disk when it was taken
	file  *os.File
	name  string       // in our own folder of drafts, where no other process looks
	read  atomic.Int64 // how far a reader came
	once  sync.Once
}

// Partial takes what is held of a .zip that was not downloaded to its end. No other
// process or goroutine gets the same until Close. A miss Is fs.ErrNotExist.
func (s *Store) Partial(t Tree, k Key) (*Partial, error) {
	p, err := s.takePartial(t, k)
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", k, err)
	}
	return p, nil
}

func (s *Store) takePartial(t Tree, k Key) (*Partial, error) {
	held, short := partialName(t, k), s.disk.shortages.Load()
	if k.kind != Zip || !s.disk.exists(held) {
		return nil, fs.ErrNotExist
	}
	home, err := s.disk.settle()
	if err != nil {
		return nil, err
	}
	name := s.disk.next(home) + takenSuffix
	if err := s.disk.rename(held, name); err != nil {
		return nil, err
	}
	f, err := s.disk.open(name)
	if err != nil {
		return nil, err
	}
	note, err := readPartial(f)
	if err == nil && (note.Key != k.String() || note.Tree != t || note.stale()) {
		err = fmt.Errorf("%w: it is another one's", fs.ErrNotExist)
	}
	if err != nil {
		f.Close()
		s.disk.remove(name)
		return nil, err
	}
	return &Partial{Meta: note.Meta, Size: note.Size, store: s, note: note, short: short, file: f, name: name}, nil
}

// NewReader reads the bytes that are held, from the first. It may be called again.
func (p *Partial) NewReader() io.Reader {
	return &partialReader{partial: p, body: io.NewSectionReader(p.file, 0, p.Size)}
}

// partialReader notes how far a Partial was read.
type partialReader struct {
	partial *Partial
	body    *io.SectionReader
}

func (r *partialReader) Read(b []byte) (int, error) {
	n, err := r.body.Read(b)
	if at, _ := r.body.Seek(0, io.SeekCurrent); at > r.partial.read.Load() {
		r.partial.read.Store(at)
	}
	return n, err
}

// Close ends the use of a Partial. One that was read to its end lives on in the draft
// that read it, and is removed. One that was not is put back, for an upstream that did
// not answer this time may do so the next; unless its version came in meanwhile, or the
// disk was too full for the partial and what is made of it.
func (p *Partial) Close() error {
	err := fs.ErrClosed
	p.once.Do(func() {
		err = p.file.Close()
		if p.read.Load() >= p.Size || p.short != p.store.disk.shortages.Load() {
			p.store.disk.remove(p.name)
			return
		}
		if err := p.store.disk.shelve(p.name, p.note); err != nil {
			p.store.log.Debug("partial not put back", "err", cause(err)) // it comes from scratch then
		}
	})
	return err
}

// Begin tells the draft, before ReadFrom, where its bytes come from, so that what has
// come is not lost if the download breaks off or the process dies.
func (d *Draft) Begin(m Meta) { d.begun = m }

// resumable reports whether who sent an answer can be asked for the rest of the same
// bytes. A weak validator does not promise that they are the same.
func (m Meta) resumable() bool {
	return m.Upstream != "" && (m.ETag != "" && !strings.HasPrefix(m.ETag, "W/") || m.LastModified != "")
}

// writeNote puts a note beside the draft file, once: with it the next process knows
// what the bytes are if this one is killed.
func (d *Draft) writeNote() {
	if d.noted || !d.begun.resumable() {
		return
	}
	d.noted = true // also if it fails: the download is what matters
	note, err := d.partialNote().marshal()
	if err == nil {
		err = d.store.disk.writeFile(d.name+noteSuffix, note)
	}
	if err != nil {
		d.store.log.Debug("no note of a download", "err", cause(err))
	}
}

func (d *Draft) removeNote() {
	if d.noted {
		d.store.disk.remove(d.name + noteSuffix)
		d.noted = false
	}
}

func (d *Draft) partialNote() partialNote {
	return partialNote{Key: d.key.String(), Tree: d.tree, Meta: d.begun, At: time.Now(), Size: d.size}
}

// Suspend ends a draft whose ReadFrom broke off. What it has is kept for
// [Store.Partial] if that is worth it, else discarded. An answer that was bad, or whole,
// is not worth it, nor is one that the disk had no space for: all that is smaller, and
// would fit, would find the disk full of it.
func (d *Draft) Suspend() {
	defer d.Discard()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.broken || d.full || d.name == "" || d.readers > 0 || d.size < partialMin || !d.begun.resumable() {
		return
	}
	// From here until it is sealed nobody could tell what the bytes are, which loses
	// them if we are killed. With the note still there they could be told wrongly.
	d.removeNote()
	note := d.partialNote()
	disk := d.store.disk
	err := disk.sealPartial(d.zip, &note)
	if err == nil {
		err = disk.shelve(d.name, note)
	}
	if err != nil {
		d.store.log.Debug("partial not kept", "err", cause(err))
		return
	}
	d.name = ""
	disk.trimPartials(partialBytes)
}

// errNoPartial is a file that is no partial, or a torn one. It is a miss.
var errNoPartial = fmt.Errorf("%w: torn", fs.ErrNotExist)
