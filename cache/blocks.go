package cache

import (
	"io"
	"sync"
)

// blocks reads a file in blocks and keeps the last few. archive/zip reads 30 bytes of a
// header here and 16 of a descriptor there: that was four system calls an entry. A zip
// whole in memory would do as well, but not four of 300 MiB.
type blocks struct {
	unpacker *unpacker
	file     io.ReaderAt
	size     int64

	mu   sync.Mutex
	kept []block // the last used first
}

type block struct {
	at   int64
	data []byte
	buf  *[chunk]byte
}

// keptBlocks is one for the goroutine that goes ahead, one for each that is behind in a
// long entry, and one for where entries meet.
func (u *unpacker) keptBlocks() int { return min(u.procs, 6) + 2 }

func (u *unpacker) reader(file io.ReaderAt, size int64) *blocks {
	return &blocks{unpacker: u, file: file, size: size, kept: make([]block, 0, u.keptBlocks())}
}

// release gives the blocks back. Nothing may be read any more.
func (b *blocks) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, kept := range b.kept {
		b.unpacker.free(kept.buf)
	}
	b.kept, b.size = nil, 0
}

// ReadAt reads through the kept blocks.
func (b *blocks) ReadAt(p []byte, off int64) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n < len(p) {
		at := off + int64(n)
		if at < 0 || at >= b.size {
			return n, io.EOF
		}
		data, err := b.block(at - at%chunk)
		if err != nil {
			return n, err
		}
		n += copy(p[n:], data[at%chunk:])
	}
	return n, nil
}

// block returns the block at a multiple of chunk.
func (b *blocks) block(at int64) ([]byte, error) {
	i := 0
	for i < len(b.kept) && b.kept[i].at != at {
		i++
	}
	if i == len(b.kept) {
		if i == cap(b.kept) {
			i-- // the one that was not used for longest gives way
		} else {
			b.kept = append(b.kept, block{buf: b.unpacker.block()})
		}
		use := &b.kept[i]
		use.at = -1 // nothing, if this fails
		want := min(chunk, b.size-at)
		if n, err := b.file.ReadAt(use.buf[:want], at); int64(n) < want {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		use.at, use.data = at, use.buf[:want]
	}
	first := b.kept[i]
	copy(b.kept[1:i+1], b.kept[:i])
	b.kept[0] = first
	return first.data, nil
}
