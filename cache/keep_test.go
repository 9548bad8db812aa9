package cache

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/sync/errgroup"
)

// goText makes n bytes that look and compress like Go source: 4 to 1.
func goText(rnd *rand.Rand, n int) []byte {
	verbs := strings.Fields("read write open close parse format check new make find add remove get set encode decode merge walk join split")
	nouns := strings.Fields("Key Store Entry Draft Meta File Name Size Path Body Tree Kind Error Hash Line Node Token Value Field Index Range Buffer Header Request Answer Option Client Server Reader Writer")
	pick := func(words []string) string { return words[rnd.IntN(len(words))] }
	var b bytes.Buffer
	fmt.Fprintf(&b, "package p%x\n\nimport (\n\t\"errors\"\n\t\"fmt\"\n)\n", rnd.Uint32())
	for b.Len() < n {
		name, noun := pick(verbs)+pick(nouns)+pick(nouns), pick(nouns)
		fmt.Fprintf(&b, "\n// %s %ss the %s of a %s, %d at most.\nfunc (x *%s) %s(v %s, n int) (%s, error) {\n", name, pick(verbs), pick(nouns), noun, rnd.IntN(1e6), noun, name, noun, pick(nouns))
		for range 2 + rnd.IntN(8) {
			switch rnd.IntN(4) {
			case 0:
				fmt.Fprintf(&b, "\tif err := x.%s%s(v, %d); err != nil {\n\t\treturn nil, fmt.Errorf(\"%s %s: %%w\", err)\n\t}\n", pick(verbs), pick(nouns), rnd.IntN(1000), pick(verbs), pick(nouns))
			case 1:
				fmt.Fprintf(&b, "\tfor i, %c := range x.%s {\n\t\tv.%s[i] += %c.%s\n\t}\n", 'a'+rune(rnd.IntN(26)), pick(nouns), pick(nouns), 'a'+rune(rnd.IntN(26)), pick(nouns))
			case 2:
				fmt.Fprintf(&b, "\t%s%d := %s%s(%q, 0x%x)\n", pick(verbs), rnd.IntN(100), pick(verbs), pick(nouns), pick(verbs), rnd.Uint64())
			default:
				fmt.Fprintf(&b, "\tx.%s, v.%s = v.%s, %d // %s %s\n", pick(nouns), pick(nouns), pick(nouns), rnd.IntN(1e5), pick(verbs), pick(nouns))
			}
		}
		b.WriteString("\treturn nil, errors.ErrUnsupported\n}\n")
	}
	return b.Bytes()[:n]
}

// packed is a file as it lies in a zip.
type packed struct {
	body []byte
	crc  uint32
	size int
}

// packFiles makes count files of Go source of 2 to 60 KB.
func packFiles(t testing.TB, rnd *rand.Rand, count int) []packed {
	t.Helper()
	files := make([]packed, count)
	for i := range files {
		text := goText(rnd, 2000+int(rnd.ExpFloat64()*22000)%58000)
		var body bytes.Buffer
		w, err := flate.NewWriter(&body, flate.DefaultCompression)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(text)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		files[i] = packed{body.Bytes(), crc32.ChecksumIEEE(text), len(text)}
	}
	return files
}

// packZip writes a zip of v of size bytes, more or less, from files.
func packZip(t testing.TB, w io.Writer, v module.Version, rnd *rand.Rand, files []packed, size int) {
	t.Helper()
	z := zip.NewWriter(w)
	for i := 0; size > 0; i++ {
		f := files[rnd.IntN(len(files))]
		h := &zip.FileHeader{
			Name: fmt.Sprintf("%s@%s/dir%d/file%d.go", v.Path, v.Version, i%9, i), Method: zip.Deflate, Flags: 8, // sizes after the body, as the go command writes them
			CRC32: f.crc, CompressedSize64: uint64(len(f.body)), UncompressedSize64: uint64(f.size),
		}
		raw, err := z.CreateRaw(h)
		if err == nil {
			_, err = raw.Write(f.body)
		}
		if err != nil {
			t.Fatal(err)
		}
		size -= len(f.body) + 150
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
}

// keep takes an answer the way that mirror does.
func keep(s *Store, k Key, r io.Reader) error {
	d, err := s.Draft(Public, k)
	if err != nil {
		return err
	}
	defer d.Discard()
	meta := Meta{Upstream: "https://mirror.example", ETag: `"up"`}
	d.Begin(meta)
	if _, err := d.ReadFrom(r); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return err
	}
	d.Judge(Verified)
	return d.Commit(meta)
}

// perOp reports the processor time since start, of user and kernel.
func perOp(b *testing.B, start time.Duration) {
	b.ReportMetric(float64(cpuTime()-start)/1e6/float64(b.N), "cpu-ms/op")
}

func BenchmarkKeepZip(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	files := packFiles(b, rnd, 200)
	for _, size := range []int{50 << 10, 500 << 10, 2 << 20, 8 << 20} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			s := open(b, b.TempDir())
			b.ReportAllocs()
			i, cpu := 0, time.Duration(0)
			for b.Loop() {
				b.StopTimer()
				v := module.Version{Path: fmt.Sprintf("example.com/group/m%d", i%50), Version: fmt.Sprintf("v1.%d.0", i)}
				var body bytes.Buffer
				packZip(b, &body, v, rnd, files, size)
				b.SetBytes(int64(body.Len()))
				k := kindKey(b, v, Zip)
				start := cpuTime()
				b.StartTimer()
				if err := keep(s, k, &body); err != nil {
					b.Fatal(err)
				}
				cpu += cpuTime() - start
				i++
			}
			perOp(b, cpuTime()-cpu)
		})
	}
}

func BenchmarkKeepMod(b *testing.B) {
	for _, kind := range []Kind{Mod, Info} {
		b.Run(map[Kind]string{Mod: "mod", Info: "info"}[kind], func(b *testing.B) {
			s := open(b, b.TempDir())
			b.ReportAllocs()
			i, start := 0, cpuTime()
			for b.Loop() {
				v := module.Version{Path: fmt.Sprintf("example.com/group/m%d", i%50), Version: fmt.Sprintf("v1.%d.0", i)}
				body := fmt.Appendf(nil, `{"Version":%q,"Time":"2024-05-06T07:08:09Z"}`, v.Version)
				if kind == Mod {
					body = []byte("module " + v.Path + "\n\ngo 1.23\n\nrequire (\n" + strings.Repeat("\texample.com/group/other v1.2.3 // indirect\n", 40) + ")\n")
				}
				if err := keep(s, kindKey(b, v, kind), bytes.NewReader(body)); err != nil {
					b.Fatal(err)
				}
				i++
			}
			perOp(b, start)
		})
	}
}

// BenchmarkKeepSet keeps the three files of 170 versions, 150 MB, four at a time: a
// cold pull of a large project.
func BenchmarkKeepSet(b *testing.B) {
	rnd := rand.New(rand.NewPCG(3, 4))
	files := packFiles(b, rnd, 400)
	dir := b.TempDir()
	var versions []module.Version
	for i := range 170 {
		v := module.Version{Path: fmt.Sprintf("example.com/group%d/m%d", i%20, i), Version: "v1.2.3"}
		versions = append(versions, v)
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err != nil {
			b.Fatal(err)
		}
		size := 40<<10 + int(rnd.ExpFloat64()*float64(rnd.IntN(1600<<10)))
		packZip(b, f, v, rnd, files, size)
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	var total int64
	for b.Loop() {
		b.StopTimer()
		s := open(b, b.TempDir())
		runtime.GC()
		start := cpuTime()
		b.StartTimer()
		var group errgroup.Group
		group.SetLimit(4)
		for i, v := range versions {
			group.Go(func() error {
				small := bodies(b, v)
				for _, kind := range []Kind{Mod, Info} {
					if err := keep(s, kindKey(b, v, kind), bytes.NewReader(small[kind])); err != nil {
						return err
					}
				}
				f, err := os.Open(filepath.Join(dir, fmt.Sprint(i)))
				if err != nil {
					return err
				}
				defer f.Close()
				info, _ := f.Stat()
				total += info.Size()
				return keep(s, kindKey(b, v, Zip), struct{ io.Reader }{f})
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		b.ReportMetric(float64(cpuTime()-start)/1e6, "cpu-ms")
		b.StartTimer()
	}
	b.SetBytes(total / int64(b.N))
}

func hashZip(r io.ReaderAt, size int64) (string, error) {
	return (&Store{unpacker: newUnpacker()}).hashZip(r, size)
}
