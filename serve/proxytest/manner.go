package proxytest

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"time"
)

// Manner is how an upstream gives sound answers. They differ in what a client can
// hold a later answer against: none of these is a fault.
type Manner struct {
	Validators Validators
	NoRanges   bool // every answer is whole, whatever the client asks for

	// Stored makes other zips of the same files, without compression: their bytes
	// differ from those of an upstream that compresses, their h1 is the same.
	Stored bool

	// Reversed makes others of the same length: only the order of the files differs.
	Reversed bool
}

// Validators is what an answer says about its bytes.
type Validators string

// The zero value of [Validators] is a strong ETag.
const (
	NoValidators Validators = "none"
	WeakETag     Validators = "weak"
	LastModified Validators = "modified" // and no ETag
	NewETag      Validators = "changing" // a strong one that no two answers share
)

// SetManner changes the manner while the upstream serves.
func (u *Upstream) SetManner(m Manner) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.manner = m
}

// manners is what one answer needs of them.
func (u *Upstream) manners() (m Manner, serial int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.answered++
	return u.manner, u.answered
}

// give writes the answer in the upstream's manner. Its Content-Type is set.
func (u *Upstream) give(w http.ResponseWriter, r *http.Request, b body) {
	m, serial := u.manners()
	if m.NoRanges && r.Header.Get("Range") != "" {
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	if m.Stored && path.Ext(b.name) == ".zip" {
		b = newBody(b.name, stored(b.bytes))
	}
	if m.Reversed && path.Ext(b.name) == ".zip" {
		b = newBody(b.name, reversed(b.bytes))
	}
	var modified time.Time
	tag := b.tag
	switch m.Validators {
	case NoValidators:
		tag = ""
	case WeakETag:
		tag = "W/" + tag
	case LastModified:
		tag, modified = "", released()
	case NewETag:
		tag = fmt.Sprintf("%q", fmt.Sprint(serial))
	}
	if tag != "" {
		w.Header().Set("ETag", tag)
	}
	http.ServeContent(w, r, "", modified, bytes.NewReader(b.bytes))
}

// stored packs a zip anew without compression. What it is given is a zip of ours, so
// that nothing in it can fail.
func stored(compressed []byte) []byte {
	in, err := zip.NewReader(bytes.NewReader(compressed), int64(len(compressed)))
	if err != nil {
		panic(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range in.File {
		text, err := f.Open()
		if err != nil {
			panic(err)
		}
		to, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Store})
		if err == nil {
			_, err = io.Copy(to, text)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// reversed packs a zip anew with its last file first.
func reversed(zipped []byte) []byte {
	in, err := zip.NewReader(bytes.NewReader(zipped), int64(len(zipped)))
	if err != nil {
		panic(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range slices.Backward(in.File) {
		if err := w.Copy(f); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return out.Bytes()
}
