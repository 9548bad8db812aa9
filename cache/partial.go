package cache

import (
	"io"
	"io/fs"
)

// Partial is the beginning of a .zip whose download broke off. Meta has the upstream
// that sent it and the validators that tell whether it still has the same bytes.
type Partial struct {
	Meta Meta
	Size int64

	content io.ReaderAt
}

// NewReader reads the bytes that are held, from the first. It may be called again.
func (p *Partial) NewReader() io.Reader { return io.NewSectionReader(p.content, 0, p.Size) }

// Partial takes what is held of a .zip that was not downloaded to its end. The caller
// closes it, which gives it up; a draft that breaks off again makes a new one. A miss
// Is fs.ErrNotExist.
func (s *Store) Partial(t Tree, k Key) (*Partial, error) { return nil, fs.ErrNotExist }

// Close removes the bytes.
func (p *Partial) Close() error { return nil }

// Begin tells the draft, before ReadFrom, where its bytes come from, so that what has
// come is not lost if the download breaks off or the process dies.
func (d *Draft) Begin(m Meta) {}

// Suspend ends a draft whose ReadFrom broke off. What it has is kept for
// [Store.Partial] if that is worth it, else discarded.
func (d *Draft) Suspend() { d.Discard() }
