package upstream

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/gomirror/gomirror/cache"
)

// errNoRest is an answer to a request for the rest of a body that is not the rest of
// that body: the file has changed, or is shorter now.
var errNoRest = errors.New("has no rest of these bytes")

// mark is a validator that names one sequence of bytes, so that two answers which
// have it may be put together. The zero mark names none.
type mark struct{ header, value string }

// markOf returns the best mark of an answer. A weak ETag names no bytes, and If-Range
// takes none (RFC 9110, 13.1.5).
func markOf(etag, lastModified string) mark {
	switch {
	case strings.HasPrefix(etag, `"`):
		return mark{"ETag", etag}
	case lastModified != "":
		return mark{"Last-Modified", lastModified}
	}
	return mark{}
}

// rest is what is missing of a body. A nil rest is the whole of it.
type rest struct {
	from  int64
	total int64 // length of the whole, -1 if unknown
	mark
}

// restOf returns what is missing behind the bytes that an earlier process has left.
// Two upstreams may have other bytes for the same module: only the one that sent the
// beginning is asked for the end.
func restOf(p *cache.Partial, name string) *rest {
	if p == nil || p.Size <= 0 || p.Meta.Upstream != name {
		return nil
	}
	r := &rest{from: p.Size, total: -1, mark: markOf(p.Meta.ETag, p.Meta.LastModified)}
	if r.mark == (mark{}) {
		return nil
	}
	return r
}

// ask makes a request one for the rest.
func (r *rest) ask(header http.Header) {
	header.Set("Range", "bytes="+strconv.FormatInt(r.from, 10)+"-")
	header.Set("If-Range", r.value)
}

// fits returns the length of the whole body if an answer of 206 continues it. An
// answer without the mark does not: not every server that knows Range knows If-Range.
func (r *rest) fits(header http.Header) (total int64, ok bool) {
	from, total, ok := contentRange(header.Get("Content-Range"))
	return total, ok && from == r.from && (r.total < 0 || total == r.total) &&
		header.Get(r.header) == r.value && !encoded(header)
}

// contentRange reads "bytes FROM-TO/TOTAL". A range that does not tell the total is
// of no use to us, for it does not tell when the body is whole.
func contentRange(s string) (from, total int64, ok bool) {
	unit, s, _ := strings.Cut(s, " ")
	span, size, _ := strings.Cut(s, "/")
	first, last, _ := strings.Cut(span, "-")
	var n [3]uint64
	for i, digits := range []string{first, last, size} {
		var err error
		if n[i], err = strconv.ParseUint(digits, 10, 63); err != nil || digits[0] == '+' {
			return 0, 0, false
		}
	}
	if !strings.EqualFold(unit, "bytes") || n[0] > n[1] || n[1] >= n[2] {
		return 0, 0, false
	}
	return int64(n[0]), int64(n[2]), true
}

// encoded reports whether the bytes on the wire are not those of the file.
func encoded(header http.Header) bool {
	coding := header.Get("Content-Encoding")
	return coding != "" && !strings.EqualFold(coding, "identity")
}

// gunzip decodes a body that came in gzip although it was not asked to. The zero z
// waits for the first Read, for its header is on the network too.
type gunzip struct {
	r io.Reader
	z *gzip.Reader
}

func (g *gunzip) Read(p []byte) (n int, err error) {
	if g.z == nil {
		if g.z, err = gzip.NewReader(g.r); err != nil {
			return 0, err
		}
	}
	return g.z.Read(p)
}
