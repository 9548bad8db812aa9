package cache

import (
	"bytes"
	"fmt"
	"io"
)

// chunk is what is written at once, and so what a kill may lose of a download. Less
// would be a system call for each frame of http2.
const chunk = 64 << 10

// readZip writes the body of a zip to the draft file.
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
	buf := d.store.unpacker.block()
	defer d.store.unpacker.free(buf)
	for {
		n, end := fillUp(r, buf[:])
		if _, err := w.Write(buf[:n]); err != nil {
			return w.size, err
		}
		if end == io.EOF { // itself: an error that wraps it is a fault
			d.removeNote() // of a whole body there is no rest to ask for; and nobody is to write a trailer to it
			return w.size, nil
		} else if end != nil {
			return w.size, end
		}
	}
}

// fillUp reads until buf is full or r ends. Unlike io.ReadFull it leaves the error
// as it is: that of a cut body must not pass for an end.
func fillUp(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err
}

// rewind empties the draft file for a body that starts over.
func (d *Draft) rewind() error {
	d.removeNote() // before the first byte from whoever sends now
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
	size    int64
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
	n, err := w.draft.store.disk.write(w.draft.zip, p)
	w.size += int64(n)
	w.draft.entries = w.entries
	if err == nil && w.size >= partialMin {
		w.draft.writeNote()
	}
	return n, err
}
