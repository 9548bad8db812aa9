package cache

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	klauspost "github.com/klauspost/compress/flate"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
)

// unpackerOf is an unpacker for a machine of another size.
func unpackerOf(procs int) *Store {
	runtime.GOMAXPROCS(procs)
	return &Store{unpacker: newUnpacker()}
}

// The h1 is the go command's for whatever a zip is made of.
func TestHashIsDirhash(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	rnd := rand.New(rand.NewPCG(7, 8))
	for round := range 4 {
		var buf bytes.Buffer
		z := zip.NewWriter(&buf)
		for i := range rnd.IntN(400) {
			h := &zip.FileHeader{Name: fmt.Sprintf("m@v1.0.0/d%d/f%d", rnd.IntN(5), i), Method: zip.Deflate}
			switch rnd.IntN(9) {
			case 0:
				h.Name = fmt.Sprintf("m@v1.0.0/d%d/", rnd.IntN(5)) // folders may come again
			case 1:
				h.Method = zip.Store
			}
			w, err := z.CreateHeader(h)
			if err == nil && h.Name[len(h.Name)-1] != '/' {
				_, err = w.Write(goText(rnd, int(rnd.ExpFloat64()*20_000)))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "x.zip")
		if err := os.WriteFile(file, buf.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		want, err := dirhash.HashZip(file, dirhash.Hash1)
		if err != nil {
			t.Fatal(err)
		}
		for _, procs := range []int{1, 2, 8} {
			got, err := unpackerOf(procs).hashZip(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
			if err != nil || got != want {
				t.Errorf("round %d on %d processors: %s, %v; want %s", round, procs, got, err, want)
			}
		}
	}
}

// One wrong byte in any of many files is found, whoever unpacks it.
func TestHashFindsABadEntry(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	files := make(map[string]string)
	for i := range 100 {
		files[fmt.Sprintf("m/%d", i)] = string(goText(rand.New(rand.NewPCG(9, uint64(i))), 5000))
	}
	body := plainZip(t, files)
	for _, procs := range []int{1, 4} {
		s := unpackerOf(procs)
		for i := range 20 {
			bad := bytes.Clone(body)
			bad[100+i*len(body)/25] ^= 0x10
			if h1, err := s.hashZip(bytes.NewReader(bad), int64(len(bad))); err == nil {
				t.Errorf("on %d processors: %s with byte %d wrong", procs, h1, 100+i*len(body)/25)
			}
		}
		if !s.unpacker.slots.TryAcquire(int64(procs)) {
			t.Error("a slot was not given back")
		}
	}
}

func TestCheckGivesUpWithItsContext(t *testing.T) {
	s := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u := s.unpacker
	large := moduleZip(t, quoteV1, map[string]string{"go.mod": "module example.com/Quote\n"})
	for range giantZip + 1 {
		large = append(large, "PK\x01\x02"...) // a giant by its looks
	}
	for name, tt := range map[string]struct {
		body []byte
		hold func() (release func())
	}{
		"no slot": {bodies(t, quoteV1)[Zip], func() func() {
			n := int64(u.procs)
			u.slots.TryAcquire(n)
			return func() { u.slots.Release(n) }
		}},
		"another giant": {large, func() func() { u.giants.TryAcquire(1); return func() { u.giants.Release(1) } }},
	} {
		t.Run(name, func(t *testing.T) {
			d, _ := s.Draft(Public, kindKey(t, quoteV1, Zip))
			defer d.Discard()
			if _, err := d.ReadFrom(bytes.NewReader(tt.body)); err != nil {
				t.Fatal(err)
			}
			release := tt.hold()
			err := d.CheckContext(ctx)
			if invalid := (*InvalidError)(nil); !errors.Is(err, context.Canceled) || errors.As(err, &invalid) {
				t.Errorf("got %v, want it canceled", err)
			}
			release()
			if err := d.Check(); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// One giant is in memory at a time; others wait and small zips do not.
func TestGiantsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		small := bodies(t, quoteV1)[Zip]
		giant := append(bytes.Clone(small), bytes.Repeat([]byte("PK\x01\x02"), giantZip+1)...)
		s.unpacker.giants.TryAcquire(1)
		var ended atomic.Bool
		go func() { // ends with the check
			if err := check(t, s, kindKey(t, quoteV1, Zip), bytes.NewReader(giant)); err != nil {
				t.Error(err)
			}
			ended.Store(true)
		}()
		synctest.Wait()
		if err := check(t, s, kindKey(t, quoteV1, Zip), bytes.NewReader(small)); err != nil || ended.Load() {
			t.Errorf("a small zip: %v; the giant did not wait: %v", err, ended.Load())
		}
		s.unpacker.giants.Release(1)
		synctest.Wait()
		if !ended.Load() {
			t.Error("the giant waits for ever")
		}
	})
}

// gate is a zip whose first and last block are held back.
type gate struct {
	io.ReaderAt
	size        int64
	first, last func()
}

func (g *gate) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		g.first()
	} else if off == chunk*5 {
		g.last()
	}
	return g.ReaderAt.ReadAt(p, off)
}

// On one processor a small zip need not wait for the end of a large one.
func TestChecksTakeTurns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	s := unpackerOf(1)
	large := plainZip(t, map[string]string{"a": string(bytes.Repeat([]byte("x"), 8<<20)), "b": string(sent(8 * chunk))})
	small := bodies(t, quoteV1)[Zip]
	done := make(chan struct{})
	limit := time.After(30 * time.Second)
	body := &gate{bytes.NewReader(large), int64(len(large)),
		func() {
			for s.unpacker.waiting.Load() == 0 {
				runtime.Gosched()
			}
		},
		func() {
			select {
			case <-done:
			case <-limit:
				t.Error("the small one waited for the large one")
			}
		}}
	begun := make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		close(begun)
		if _, err := s.hashZip(body, body.size); err != nil {
			t.Error(err)
		}
	})
	<-begun
	for s.unpacker.slots.TryAcquire(1) { // until the large one has it
		s.unpacker.slots.Release(1)
		runtime.Gosched()
	}
	if _, err := s.hashZip(bytes.NewReader(small), int64(len(small))); err != nil {
		t.Error(err)
	}
	close(done)
	group.Wait()
}

func TestBlocks(t *testing.T) {
	body := sent(5*chunk + 77)
	u := newUnpacker()
	rnd := rand.New(rand.NewPCG(1, 1))
	b := u.reader(bytes.NewReader(body), int64(len(body)))
	for range 3000 {
		off := rnd.Int64N(int64(len(body)) + 10)
		p := make([]byte, rnd.IntN(2*chunk))
		n, err := b.ReadAt(p, off)
		want, wantErr := bytes.NewReader(body).ReadAt(make([]byte, len(p)), off)
		if n != want || (err == nil) != (wantErr == nil) && len(p) > 0 || !bytes.Equal(p[:n], body[min(off, int64(len(body))):][:n]) {
			t.Fatalf("ReadAt %d bytes at %d = %d, %v; want %d, %v", len(p), off, n, err, want, wantErr)
		}
	}
	short := u.reader(bytes.NewReader(body[:chunk+5]), int64(len(body)))
	if n, err := short.ReadAt(make([]byte, 100), chunk); err != io.ErrUnexpectedEOF {
		t.Errorf("ReadAt of a file that shrank = %d, %v", n, err)
	}
	b.release()
	if n, err := b.ReadAt(make([]byte, 1), 0); err != io.EOF {
		t.Errorf("ReadAt after release = %d, %v", n, err)
	}
}

// What is in hand is served when no more files can be open.
func TestOutOfFilesIsLikeAFullDisk(t *testing.T) {
	s := open(t, t.TempDir())
	for kind, body := range bodies(t, quoteV1) {
		k := kindKey(t, quoteV1, kind)
		d, _ := s.Draft(Public, k)
		if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		s.disk.fault = func() error { return &os.PathError{Op: "open", Path: "x", Err: syscall.EMFILE} }
		err := d.Commit(Meta{})
		s.disk.fault = nil
		full := (*FullError)(nil)
		if runtime.GOOS != "windows" && (!errors.As(err, &full) || full.Hint() == (&FullError{}).Hint()) {
			t.Errorf("kind %d: %v, want a FullError with a hint of its own", kind, err)
		}
		e, err := d.Entry()
		if err != nil {
			t.Fatal(err)
		}
		d.Discard()
		if got, err := io.ReadAll(e); err != nil || !bytes.Equal(got, body) {
			t.Errorf("kind %d: %d bytes, %v", kind, len(got), err)
		}
		e.Close()
	}
	wantNoDrafts(t, s)
}

// Folders that are kept open must not hide what others did to the cache.
func TestKeptFolders(t *testing.T) {
	s := open(t, t.TempDir())
	other := open(t, s.Dir())
	files := fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	for range 2 {
		if err := os.RemoveAll(filepath.Join(s.Dir(), "download")); err != nil {
			t.Fatal(err)
		}
		wantMiss(t, s, Public, kindKey(t, quoteV1, Mod))
		fillVersion(t, other, Public, quoteV1, Info, Mod, Zip) // into new folders of the same names
		for kind, want := range files {
			if got, _ := read(t, s, Public, kindKey(t, quoteV1, kind)); !bytes.Equal(got, want) {
				t.Errorf("kind %d: %d bytes", kind, len(got))
			}
		}
	}
	// One that is closed under its user's hands, for another to be opened.
	if s.disk.folders.lru != nil {
		for _, f := range s.disk.folders.lru.Values() {
			f.close()
		}
	}
	s.recent.lru.Purge()
	if got, _ := read(t, s, Public, kindKey(t, quoteV1, Zip)); !bytes.Equal(got, files[Zip]) {
		t.Errorf("read %d bytes", len(got))
	}
	fillVersion(t, s, Public, module.Version{Path: quoteV1.Path, Version: "v1.1.0"}, Info, Mod, Zip)
}

func TestMoreFoldersThanAreKept(t *testing.T) {
	s := open(t, t.TempDir())
	var group sync.WaitGroup
	for worker := range 8 {
		group.Go(func() {
			for i := range 12 {
				v := module.Version{Path: fmt.Sprintf("example.com/m%d", (worker*5+i)%40), Version: fmt.Sprintf("v1.%d.0", worker)}
				if err := fillAll(s, Public, v, Verified); err != nil {
					t.Error(err)
				}
				if err := readAll(s, v); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	wantWhole(t, s, Public)
}

// BenchmarkInflate says whether klauspost's decompressor is worth its place.
func BenchmarkInflate(b *testing.B) {
	files := packFiles(b, rand.New(rand.NewPCG(1, 2)), 200)
	for name, r := range map[string]io.Reader{"std": flate.NewReader(nil), "klauspost": klauspost.NewReader(nil)} {
		b.Run(name, func(b *testing.B) {
			buf, start := make([]byte, 32<<10), cpuTime()
			for b.Loop() {
				for _, f := range files {
					if err := r.(flate.Resetter).Reset(bytes.NewReader(f.body), nil); err != nil {
						b.Fatal(err)
					}
					if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, buf); err != nil {
						b.Fatal(err)
					}
				}
			}
			perOp(b, start)
		})
	}
}
