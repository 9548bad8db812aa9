package cache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"
)

var (
	errCut = errors.New("connection reset")
	strong = Meta{Upstream: "https://mirror.example", ETag: `"v1"`}
)

// begin reads body into a draft of the zip and then breaks off.
func begin(t testing.TB, s *Store, tree Tree, m Meta, body []byte) *Draft {
	t.Helper()
	d, err := s.Draft(tree, kindKey(t, quoteV1, Zip))
	if err != nil {
		t.Fatal(err)
	}
	d.Begin(m)
	if _, err := d.ReadFrom(io.MultiReader(bytes.NewReader(body), iotest.ErrReader(errCut))); !errors.Is(err, errCut) {
		t.Fatalf("ReadFrom of a cut body: %v", err)
	}
	return d
}

// sent is n bytes that are no zip and all different.
func sent(n int) []byte {
	body := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(body)
	return body
}

func wantNoPartial(t testing.TB, s *Store, tree Tree) {
	t.Helper()
	if p, err := s.Partial(tree, kindKey(t, quoteV1, Zip)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Partial = %+v, %v; want a miss", p, err)
	}
}

// wantPartial takes a partial and returns it.
func wantPartial(t testing.TB, s *Store, tree Tree, m Meta, body []byte) *Partial {
	t.Helper()
	p, err := s.Partial(tree, kindKey(t, quoteV1, Zip))
	if err != nil {
		t.Fatal(err)
	}
	if p.Meta != m || p.Size != int64(len(body)) {
		t.Errorf("Partial of %+v, %d bytes; want %+v, %d", p.Meta, p.Size, m, len(body))
	}
	for range 2 {
		if got, err := io.ReadAll(p.NewReader()); err != nil || !bytes.Equal(got, body) {
			t.Errorf("read %d bytes, %v; want the %d that were sent", len(got), err, len(body))
		}
	}
	return p
}

func TestSuspend(t *testing.T) {
	body := sent(1 << 20)
	tests := []struct {
		name string
		meta Meta
		body []byte
		kept bool
	}{
		{"ETag", strong, body, true},
		{"Last-Modified", Meta{Upstream: "u", LastModified: "Mon, 02 Jan 2006 15:04:05 GMT"}, body, true},
		{"weak ETag and Last-Modified", Meta{Upstream: "u", ETag: `W/"1"`, LastModified: "Mon, 02 Jan 2006 15:04:05 GMT"}, body, true},
		{"just enough", strong, body[:partialMin], true},
		{"not a multiple of a chunk", strong, body[:300_001], true},
		{"too little", strong, body[:partialMin-1], false},
		{"no validator", Meta{Upstream: "u"}, body, false},
		{"weak ETag", Meta{Upstream: "u", ETag: `W/"1"`}, body, false},
		{"no upstream", Meta{ETag: `"1"`}, body, false},
		{"no Begin", Meta{}, body, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			d := begin(t, s, Private, tt.meta, tt.body)
			d.Suspend()
			d.Suspend()
			d.Discard()
			wantNoDrafts(t, s)
			wantNoPartial(t, s, Public) // not its tree
			if !tt.kept {
				wantNoPartial(t, s, Private)
				return
			}
			other := open(t, s.Dir())
			p := wantPartial(t, other, Private, tt.meta, tt.body)
			wantNoPartial(t, s, Private) // another process has it
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			p.Close()
			wantNoPartial(t, s, Private) // it was used
			wantNoDrafts(t, other)
		})
	}
}

func TestSuspendOfWhatIsNotBroken(t *testing.T) {
	s := open(t, t.TempDir())
	for name, body := range map[string]io.Reader{
		"whole":            bytes.NewReader(sent(1 << 20)),
		"too many entries": io.MultiReader(bytes.NewReader(sent(1<<20)), pattern("PK\x01\x02", 1<<20)),
	} {
		d, _ := s.Draft(Public, kindKey(t, quoteV1, Zip))
		d.Begin(strong)
		_, _ = d.ReadFrom(body)
		d.Suspend()
		wantNoDrafts(t, s)
		if p, err := s.Partial(Public, kindKey(t, quoteV1, Zip)); err == nil {
			t.Errorf("%s: a partial of %d bytes", name, p.Size)
		}
	}
	if _, err := s.Partial(Public, kindKey(t, quoteV1, Mod)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("partial of a .mod: %v", err)
	}
}

// A partial that nobody read is put back: the upstream did not answer.
func TestPartialClose(t *testing.T) {
	s := open(t, t.TempDir())
	body := sent(1 << 20)
	take := func() *Partial {
		t.Helper()
		p, err := s.Partial(Public, kindKey(t, quoteV1, Zip))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	begin(t, s, Public, strong, body).Suspend()
	take().Close()
	p := take()
	if _, err := io.CopyN(io.Discard, p.NewReader(), p.Size-1); err != nil {
		t.Fatal(err)
	}
	p.Close() // half used

	p = take()
	begin(t, s, Public, strong, body[:partialMin]).Suspend()
	p.Close()
	wantPartial(t, s, Public, strong, body).Close() // the longer of two that are the same

	begin(t, s, Public, strong, body[:partialMin]).Suspend()
	p = take()
	begin(t, s, Public, strong, body).Suspend()
	p.Close()
	wantPartial(t, s, Public, strong, body).Close() // whichever came first

	begin(t, s, Public, strong, body).Suspend()
	p = take()
	changed := Meta{Upstream: strong.Upstream, ETag: `"v2"`}
	begin(t, s, Public, changed, body[:partialMin]).Suspend()
	p.Close()
	wantPartial(t, s, Public, changed, body[:partialMin]).Close() // the later of two that are not

	begin(t, s, Public, strong, body).Suspend()
	p = take()
	fillVersion(t, s, Public, quoteV1, Zip)
	p.Close()
	wantNoPartial(t, s, Public)
	wantNoDrafts(t, s)
}

// What a resumed answer goes through: the partial, the rest, a cut, another rest.
func TestResume(t *testing.T) {
	s := open(t, t.TempDir())
	k := kindKey(t, quoteV1, Zip)
	body := moduleZip(t, quoteV1, map[string]string{"go.mod": "module example.com/Quote\n", "big": string(sent(2 << 20))})
	begin(t, s, Public, strong, body[:300_000]).Suspend()
	for _, to := range []int{1_500_000, len(body)} {
		p, err := s.Partial(Public, k)
		if err != nil {
			t.Fatal(err)
		}
		d, _ := s.Draft(Public, k)
		d.Begin(strong)
		rest := io.MultiReader(p.NewReader(), bytes.NewReader(body[p.Size:to]))
		if to < len(body) {
			rest = io.MultiReader(rest, iotest.ErrReader(errCut))
		}
		if _, err := d.ReadFrom(rest); err != nil {
			d.Suspend()
		} else if err := errors.Join(d.Check(), d.Commit(strong)); err != nil {
			t.Fatal(err)
		}
		d.Discard()
		p.Close()
	}
	if got, _ := read(t, s, Public, k); !bytes.Equal(got, body) {
		t.Errorf("read %d bytes, want %d", len(got), len(body))
	}
	wantNoPartial(t, s, Public)
	wantNoDrafts(t, s)
}

func TestCommitRemovesThePartial(t *testing.T) {
	s := open(t, t.TempDir())
	begin(t, s, Public, strong, sent(1<<20)).Suspend()
	late := begin(t, s, Public, strong, sent(2<<20))
	fillVersion(t, s, Public, quoteV1, Zip)
	wantNoPartial(t, s, Public)
	late.Suspend()
	wantNoPartial(t, s, Public)
	if left := tree(t, filepath.Join(s.Dir(), partialDir)); len(left) != 0 {
		t.Errorf("%d partials are left", len(left))
	}
}

// A body that starts over must not keep the note of who sent the first.
func TestNoteOfAnotherBody(t *testing.T) {
	s := open(t, t.TempDir())
	d := begin(t, s, Public, strong, sent(1<<20))
	d.Begin(Meta{Upstream: "direct"})
	_, err := d.ReadFrom(io.MultiReader(pattern("other", 1<<20), iotest.ErrReader(errCut)))
	if !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	s.disk.rescue(s.disk.home) // as the next start does after a kill
	wantNoPartial(t, s, Public)
	d.Suspend()
	wantNoPartial(t, s, Public)
}

// What is whole has no note, so that no start and no stop writes one behind it while it
// waits for the disk.
func TestWholeZipsHaveNoNote(t *testing.T) {
	s := open(t, t.TempDir())
	d, _ := s.Draft(Public, kindKey(t, quoteV1, Zip))
	defer d.Discard()
	d.Begin(strong)
	body := moduleZip(t, quoteV1, map[string]string{"go.mod": "module example.com/Quote\n", "big": string(sent(1 << 20))})
	if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	for name := range tree(t, filepath.Join(s.Dir(), draftDir)) {
		if strings.HasSuffix(name, noteSuffix) {
			t.Errorf("a note of a whole zip: %s", name)
		}
	}
}

func TestSmallZipsHaveNoNote(t *testing.T) {
	s := open(t, t.TempDir())
	for _, size := range []int{1000, partialMin - 1, partialMin} {
		d := begin(t, s, Public, strong, sent(size))
		noted := slices.ContainsFunc(slices.Collect(maps.Keys(tree(t, filepath.Join(s.Dir(), draftDir)))), func(name string) bool { return strings.HasSuffix(name, noteSuffix) })
		if want := size >= partialMin; noted != want {
			t.Errorf("%d bytes: a note is there: %v, want %v", size, noted, want)
		}
		d.Discard()
		wantNoDrafts(t, s)
	}
}

func TestBadPartials(t *testing.T) {
	body := sent(1 << 20)
	k := kindKey(t, quoteV1, Zip)
	for name, harm := range map[string]func(file []byte) []byte{
		"empty":             func([]byte) []byte { return nil },
		"no note":           func([]byte) []byte { return body },
		"cut":               func(file []byte) []byte { return file[:len(file)-1] },
		"cut in the middle": func(file []byte) []byte { return file[:len(file)/2] },
		"cut at its start":  func(file []byte) []byte { return file[1:] },
		"longer":            func(file []byte) []byte { return append(file, 0) },
		"NULs":              func(file []byte) []byte { return make([]byte, len(file)) },
		"NULs at its end":   func(file []byte) []byte { return append(file[:len(file)-10], make([]byte, 10)...) },
		"flipped note":      func(file []byte) []byte { file[len(body)+5] ^= 1; return file },
		"another version's": func(file []byte) []byte {
			return note(t, body, func(n *partialNote) { n.Key = "example.com/!quote/@v/v1.0.1.zip" })
		},
		"a .mod's": func(file []byte) []byte {
			return note(t, body, func(n *partialNote) { n.Key = "example.com/!quote/@v/v1.0.0.mod" })
		},
		"of the other tree":  func(file []byte) []byte { return note(t, body, func(n *partialNote) { n.Tree = Private }) },
		"of no tree":         func(file []byte) []byte { return note(t, body, func(n *partialNote) { n.Tree = "../.." }) },
		"a week old":         func(file []byte) []byte { return note(t, body, func(n *partialNote) { n.At = n.At.Add(-partialAge) }) },
		"longer than it is":  func(file []byte) []byte { return note(t, body, func(n *partialNote) { n.Size++ }) },
		"shorter than it is": func(file []byte) []byte { return note(t, body, func(n *partialNote) { n.Size-- }) },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			begin(t, s, Public, strong, body).Suspend()
			place := filepath.Join(s.Dir(), partialName(Public, k))
			file, err := os.ReadFile(place)
			if err == nil {
				err = os.WriteFile(place, harm(file), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			wantNoPartial(t, s, Public)
			if left := tree(t, filepath.Join(s.Dir(), partialDir)); len(left) != 0 {
				t.Error("it is left")
			}
			wantNoDrafts(t, s)
			begin(t, s, Public, strong, body).Suspend()
			wantPartial(t, s, Public, strong, body).Close()
		})
	}
}

// note makes the file of a partial with a changed note.
func note(t testing.TB, body []byte, change func(*partialNote)) []byte {
	t.Helper()
	n := partialNote{Key: kindKey(t, quoteV1, Zip).String(), Tree: Public, Meta: strong, At: time.Now(), Size: int64(len(body))}
	change(&n)
	trailer, err := n.trailer()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(body, trailer)
}

func TestPartialsAreBounded(t *testing.T) {
	s := open(t, t.TempDir())
	folder := filepath.Join(s.Dir(), partialDir, string(Public))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	add := func(name string, size int64, age time.Duration) {
		t.Helper()
		file, at := filepath.Join(folder, name), time.Now().Add(-age)
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, size), os.Chtimes(file, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, names ...string) {
		t.Helper()
		var got []string
		files, _ := os.ReadDir(folder)
		for _, file := range files {
			got = append(got, file.Name())
		}
		if !slices.Equal(got, names) {
			t.Errorf("%s: %d are left: %q, want %q", when, len(got), got, names)
		}
	}
	add("old", 1, partialAge+time.Hour)
	add("young", 1, partialAge-time.Hour)
	open(t, s.Dir())
	want("after a start", "young")
	add("large1", partialBytes/2, 2*time.Hour)
	add("large2", partialBytes/2, time.Hour)
	open(t, s.Dir())
	want("over the bytes", "large1", "large2")
	for i := range partialCount + 5 {
		add(fmt.Sprintf("n%02d", i), 1, time.Duration(i)*time.Minute)
	}
	open(t, s.Dir())
	if files, _ := os.ReadDir(folder); len(files) != partialCount {
		t.Errorf("%d are left, want %d", len(files), partialCount)
	}
}

// soon is the fault of a disk that has space for half a MiB more, in pieces of a chunk.
func soon(fault error) func() error {
	writes := 0
	return func() error {
		if writes++; writes > 8 {
			return fault
		}
		return nil
	}
}

// What is too big for the disk must not fill it for what is not.
func TestPartialOnAFullDisk(t *testing.T) {
	other := Key{"example.com/other", "v1.0.0", Zip}
	tests := []struct {
		name  string
		fault error
		kept  bool
	}{
		{"full", syscall.ENOSPC, false},
		{"quota", &fs.PathError{Op: "write", Path: "x", Err: syscall.EDQUOT}, false},
		{"open files", syscall.EMFILE, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("other errors there")
			}
			s := open(t, t.TempDir())
			begin(t, s, Private, strong, sent(1<<20)).Suspend()
			d, _ := s.Draft(Public, kindKey(t, quoteV1, Zip))
			d.Begin(strong)
			s.disk.fault = soon(tt.fault)
			n, err := d.ReadFrom(bytes.NewReader(sent(1 << 20)))
			if full := (*FullError)(nil); !errors.As(err, &full) || n < partialMin {
				t.Fatalf("ReadFrom = %d, %v; want it full", n, err)
			}
			s.disk.fault = nil
			d.Suspend()
			if tt.kept {
				wantPartial(t, s, Public, strong, sent(1 << 20)[:n]).Close()
				return
			}
			wantNoPartial(t, s, Public)
			wantNoPartial(t, s, Private)
			wantNoDrafts(t, s)
			if err := fill(s, Public, other, bodies(t, other.Module())[Zip], Verified); err != nil {
				t.Error(err)
			}
		})
	}
}

// A write that fails for want of space goes on once the partials are gone.
func TestPartialsGiveWay(t *testing.T) {
	s := open(t, t.TempDir())
	files := bodies(t, quoteV1)
	begin(t, s, Private, strong, sent(1<<20)).Suspend()
	d, _ := s.Draft(Public, kindKey(t, quoteV1, Zip))
	defer d.Discard()
	s.disk.fault = func() error {
		if held, _ := s.disk.readDir(partialDir + "/" + string(Private)); len(held) > 0 {
			return syscall.ENOSPC
		}
		return nil
	}
	if n, err := d.ReadFrom(bytes.NewReader(files[Zip])); err != nil || n != int64(len(files[Zip])) {
		t.Fatalf("ReadFrom = %d, %v; want all", n, err)
	}
	if err := errors.Join(d.Check(), d.Commit(Meta{Upstream: "test"})); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, s, Public, kindKey(t, quoteV1, Zip)); !bytes.Equal(got, files[Zip]) {
		t.Error("other bytes are kept")
	}
}

// A partial and the draft made of it may be too much where either alone is not.
func TestTakenPartialGivesWay(t *testing.T) {
	s := open(t, t.TempDir())
	begin(t, s, Public, strong, sent(1<<20)).Suspend()
	p, err := s.Partial(Public, kindKey(t, quoteV1, Zip))
	if err != nil {
		t.Fatal(err)
	}
	d, _ := s.Draft(Public, kindKey(t, quoteV1, Zip))
	d.Begin(strong)
	s.disk.fault = soon(syscall.ENOSPC)
	if _, err := d.ReadFrom(p.NewReader()); !errors.As(err, new(*FullError)) {
		t.Fatalf("ReadFrom: %v, want it full", err)
	}
	d.Suspend()
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	s.disk.fault = nil
	wantNoPartial(t, s, Public)
}

func TestCloseKeepsWhatWasBegun(t *testing.T) {
	dir := t.TempDir()
	body := sent(1 << 20)
	s := open(t, dir)
	begin(t, s, Public, strong, body)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if _, err := s.Partial(Public, kindKey(t, quoteV1, Zip)); err != nil { // taken, and not closed
		t.Fatal(err)
	}
	s.Close()
	wantPartial(t, open(t, dir), Public, strong, body).Close()
}

// playDownload writes what TestKilledDownload expects, until it is killed.
func playDownload(dir string) error {
	s, err := Open(Options{Dir: dir})
	if err != nil {
		return err
	}
	k := Key{quoteV1.Path, quoteV1.Version, Zip}
	d, err := s.Draft(Public, k)
	if err != nil {
		return err
	}
	d.Begin(strong)
	body := io.Reader(rand.NewChaCha8([32]byte{1}))
	if p, err := s.Partial(Public, k); err == nil {
		if _, err := io.CopyN(io.Discard, body, p.Size); err != nil {
			return err
		}
		body = io.MultiReader(p.NewReader(), body)
	}
	fmt.Println("begun")
	_, err = d.ReadFrom(io.MultiReader(io.LimitReader(body, 100<<20), asleep{}))
	return err
}

// asleep is the rest of a body that never becomes whole.
type asleep struct{}

func (asleep) Read([]byte) (int, error) {
	time.Sleep(time.Hour)
	return 0, io.EOF
}

// Whenever the process dies, the next one finds nothing or the beginning of what was
// sent, and never less than an earlier one had.
func TestKilledDownload(t *testing.T) {
	const rounds = 25
	dir := t.TempDir()
	want := sent(100 << 20)
	rnd := rand.New(rand.NewPCG(5, 6))
	found, last := 0, int64(0)
	for range rounds {
		cmd := second(t, "download", dir)
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Duration(rnd.ExpFloat64() * float64(8*time.Millisecond))) // a random point
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was killed
		s := open(t, dir)
		wantNoDrafts(t, s)
		p, err := s.Partial(Public, kindKey(t, quoteV1, Zip))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err == nil {
			got, err := io.ReadAll(io.LimitReader(p.NewReader(), p.Size-1)) // one is left, so that Close puts it back
			if err != nil || p.Meta != strong || !bytes.Equal(got, want[:len(got)]) || p.Size < last {
				t.Fatalf("%d bytes of %+v, %v; want a beginning of what was sent, %d or more", p.Size, p.Meta, err, last)
			}
			found, last = found+1, p.Size
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
		} else if last > 0 {
			t.Fatal("a partial was lost")
		}
		s.Close()
		if last > 60<<20 { // begin again before it is whole
			last = 0
			if err := os.RemoveAll(filepath.Join(dir, partialDir)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if found < rounds/3 {
		t.Errorf("found a partial in %d of %d rounds", found, rounds)
	}
}
