package proxytest

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
)

// pool is text and noise in pieces that are packed already, so that a hundred
// megabytes of zips take no longer than their hashes.
type pool struct {
	text, noise [][]piece // by size, the largest first
	ratio       float64   // bytes of text to a byte of its zip
}

// piece is a stretch of a file, as it is and as a part of a deflate stream.
type piece struct{ plain, packed []byte }

// pieceSizes returns the lengths of pieces. Larger ones pack better, smaller ones come
// nearer to the size that is wanted.
func pieceSizes() [3]int { return [...]int{64 << 10, 8 << 10, 1 << 10} }

// variants is the number of different pieces of each size.
const variants = 8

func newPool() *pool {
	rng := rand.New(rand.NewPCG(1, 2))
	words := vocabulary(rng)
	p := &pool{}
	plain, packed := 0, 0
	for i, size := range pieceSizes() {
		var text, noise []piece
		for range variants {
			t := newPiece(prose(rng, words, size))
			text = append(text, t)
			if i == 0 {
				plain, packed = plain+len(t.plain), packed+len(t.packed)
			}
			b := make([]byte, size)
			for i := range b {
				b[i] = byte(rng.Uint32())
			}
			noise = append(noise, newPiece(b))
		}
		p.text, p.noise = append(p.text, text), append(p.noise, noise)
	}
	p.ratio = float64(plain) / float64(packed)
	return p
}

func newPiece(plain []byte) piece {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err != nil {
		panic(err) // a level that does not exist
	}
	w.Write(plain)
	w.Flush() // ends on a byte border, without the mark of the last block
	return piece{plain, b.Bytes()}
}

// lastBlock ends a deflate stream: an empty stored block that is marked as final.
const lastBlock = "\x01\x00\x00\xff\xff"

// vocabulary makes words of several lengths, the first of which are the most used.
func vocabulary(rng *rand.Rand) []string {
	words := []string{"return", "err", "if", "nil", "func", "string", "ctx", "range", "type", "struct"}
	for range 900 {
		var b strings.Builder
		for range 2 + rng.IntN(3) {
			b.WriteByte("bcdfghklmnprstvw"[rng.IntN(16)])
			b.WriteByte("aeiou"[rng.IntN(5)])
		}
		words = append(words, b.String())
	}
	return words
}

// prose makes lines that look and pack like Go source: about 4:1.
func prose(rng *rand.Rand, words []string, size int) []byte {
	word := func() string {
		f := rng.Float64()
		return words[int(f*f*f*float64(len(words)))]
	}
	b := make([]byte, 0, size+128)
	for len(b) < size {
		a, c := word(), word()
		switch rng.IntN(5) {
		case 0:
			b = fmt.Appendf(b, "\tif err := %s.%s(ctx, %s); err != nil {\n\t\treturn nil, err\n\t}\n", a, c, word())
		case 1:
			b = fmt.Appendf(b, "\t%s := %s.%s(%s)\n", a, c, word(), word())
		case 2:
			b = fmt.Appendf(b, "// %s %s the %s of a %s that %s.\n", a, c, word(), word(), word())
		case 3:
			b = fmt.Appendf(b, "func (x *%s) %s(%s string) error {\n\treturn x.%s\n}\n\n", a, c, word(), word())
		case 4:
			b = fmt.Appendf(b, "\t%s %s `json:\"%s,omitempty\"`\n", a, c, a)
		}
	}
	return b[:size]
}

// unpacked is a short stretch of a file as a stored block.
func unpacked(text string) piece {
	n := uint16(len(text))
	packed := append([]byte{0, byte(n), byte(n >> 8), byte(^n), byte(^n >> 8)}, text...)
	return piece{[]byte(text), packed}
}

// zip packs files and as much filling as the release is to have, and returns its h1.
func (p *pool) zip(r *release, files map[string]string) ([]byte, string, error) {
	return pack(p.entries(r, files))
}

// entries are the files of a zip in pieces.
func (p *pool) entries(r *release, files map[string]string) map[string][]piece {
	entries := p.fill(r, files, r.bytes)
	if size := packedSize(entries); r.bytes > 0 && size > r.bytes {
		// Small files pack worse than the pool's ratio says, so less has to do.
		entries = p.fill(r, files, r.bytes*r.bytes/size)
	}
	return entries
}

// fill makes entries that are about size bytes when packed.
func (p *pool) fill(r *release, files map[string]string, size int) map[string][]piece {
	rng := rand.New(rand.NewPCG(seed(r.Path+"@"+r.Version.Version), 0))
	prefix := r.Path + "@" + r.Version.Version + "/"
	entries := make(map[string][]piece)
	for name, text := range files {
		entries[prefix+name] = []piece{unpacked(text)}
	}
	filling := max(0, r.files-len(files))
	text, noise := p.mix(r, size-filling*(perEntry+2*len(prefix)))
	// What does not pack lies in few files, as pictures and archives do.
	lumps := (filling + 9) / 10
	for i, share := range shares(rng, lumps) {
		name := fmt.Sprintf("%sa%02d/d%03d.bin", prefix, i, i)
		entries[name] = pick(rng, p.noise, int(share*float64(noise)))
	}
	for i, share := range shares(rng, filling-lumps) {
		name := fmt.Sprintf("%sa%02d/f%03d.go", prefix, i/12, i)
		head := fmt.Sprintf("// File %d of %s.\n\npackage a%02d\n\n", i, r.Path, i/12)
		entries[name] = append([]piece{unpacked(head)}, pick(rng, p.text, int(share*float64(text)))...)
	}
	return entries
}

// perEntry is what a file costs in a zip beside its contents and the prefix of its
// name, twice: two headers, the rest of the name, the ends of two blocks.
const perEntry = 30 + 46 + 22 + 10

func packedSize(entries map[string][]piece) int {
	size := 0
	for name, pieces := range entries {
		size += 30 + 46 + 2*len(name) + len(lastBlock)
		for _, s := range pieces {
			size += len(s.packed)
		}
	}
	return size
}

// mix tells how many bytes of text and of noise have the size of the release when
// unpacked and fill room when packed.
func (p *pool) mix(r *release, room int) (text, noise int) {
	plain, packed := float64(r.text), float64(max(0, room))
	if plain/p.ratio >= packed {
		return int(packed * p.ratio), 0
	}
	n := min(plain, (packed-plain/p.ratio)/(1-1/p.ratio))
	return int(plain - n), int(n)
}

// shares splits 1 into n parts of very different sizes.
func shares(rng *rand.Rand, n int) []float64 {
	list := make([]float64, n)
	sum := 0.0
	for i := range list {
		list[i] = rng.ExpFloat64() * rng.ExpFloat64()
		sum += list[i]
	}
	for i := range list {
		list[i] /= sum
	}
	return list
}

// pick takes pieces of about size bytes together.
func pick(rng *rand.Rand, from [][]piece, size int) []piece {
	var list []piece
	for i, n := range pieceSizes() {
		for size >= n {
			list = append(list, from[i][rng.IntN(variants)])
			size -= n
		}
	}
	return list
}

// pack writes a zip of entries that are packed already.
func pack(entries map[string][]piece) ([]byte, string, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	sum := sha256.New()
	for _, name := range sortedKeys(entries) {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		file := sha256.New()
		for _, s := range entries[name] {
			file.Write(s.plain)
			h.CRC32 = crc32.Update(h.CRC32, crc32.IEEETable, s.plain)
			h.UncompressedSize64 += uint64(len(s.plain))
			h.CompressedSize64 += uint64(len(s.packed))
		}
		h.CompressedSize64 += uint64(len(lastBlock))
		to, err := w.CreateRaw(h)
		if err != nil {
			return nil, "", err
		}
		for _, s := range append(slices.Clone(entries[name]), piece{packed: []byte(lastBlock)}) {
			if _, err := to.Write(s.packed); err != nil {
				return nil, "", err
			}
		}
		fmt.Fprintf(sum, "%x  %s\n", file.Sum(nil), name) // as dirhash.Hash1 has it
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return out.Bytes(), "h1:" + base64.StdEncoding.EncodeToString(sum.Sum(nil)), nil
}

func seed(text string) uint64 {
	sum := sha256.Sum256([]byte(text))
	var n uint64
	for _, b := range sum[:8] {
		n = n<<8 | uint64(b)
	}
	return n
}
