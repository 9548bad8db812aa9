package cache

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/mod/module"
)

// check drafts and checks one answer.
func check(t testing.TB, s *Store, k Key, r io.Reader) error {
	t.Helper()
	d, err := s.Draft(Public, k)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Discard()
	if _, err := d.ReadFrom(r); err != nil {
		return err
	}
	return d.Check()
}

func wantInvalid(t testing.TB, err error, reason string) {
	t.Helper()
	var invalid *InvalidError
	if !errors.As(err, &invalid) || !strings.Contains(invalid.Reason, reason) {
		t.Errorf("got %v, want an InvalidError with %q", err, reason)
	}
}

func TestBadZips(t *testing.T) {
	const prefix = "example.com/Quote@v1.0.0/"
	good := bodies(t, quoteV1)[Zip]
	symlink := func() []byte {
		var buf bytes.Buffer
		z := zip.NewWriter(&buf)
		h := &zip.FileHeader{Name: prefix + "link"}
		h.SetMode(fs.ModeSymlink | 0o777)
		w, err := z.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(w, "/etc/passwd")
		}
		if err := errors.Join(err, z.Close()); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	twice := func(a, b string) []byte {
		var buf bytes.Buffer
		z := zip.NewWriter(&buf)
		_, err1 := z.Create(prefix + a)
		_, err2 := z.Create(prefix + b)
		if err := errors.Join(err1, err2, z.Close()); err != nil {
			t.Fatal(err)
		}
		return buf.Bytes()
	}
	// declare changes the uncompressed size in the directory entry of the first file.
	declare := func(body []byte, size uint32) []byte {
		body = bytes.Clone(body)
		binary.LittleEndian.PutUint32(body[bytes.Index(body, []byte("PK\x01\x02"))+24:], size)
		return body
	}
	flip := func(body []byte, at int) []byte {
		body = bytes.Clone(body)
		body[at] ^= 0xff
		return body
	}
	one := func(name string) []byte { return plainZip(t, map[string]string{prefix + name: "x"}) }
	bomb := plainZip(t, map[string]string{prefix + "bomb": strings.Repeat("\x00", 8<<20)})
	tests := []struct {
		name   string
		body   []byte
		reason string
	}{
		{"empty", nil, "not a valid zip"},
		{"HTML", []byte("<!DOCTYPE html><html>log in</html>"), "not a zip but an HTML page"},
		{"NULs", make([]byte, 5000), "not a valid zip"},
		{"truncated", good[:len(good)-30], "not a valid zip"},
		{"first half", good[:len(good)/2], "not a valid zip"},
		{"without its first half", good[len(good)/2:], "unpack"},
		{"traversal", one("../../x"), `invalid path element ".."`},
		{"traversal before the prefix", plainZip(t, map[string]string{"../" + prefix + "x": "x"}), "prefix"},
		{"absolute", plainZip(t, map[string]string{"/etc/passwd": "x"}), "prefix"},
		{"absolute after the prefix", one("/etc/passwd"), "empty path element"},
		{"backslash", one(`..\x`), "invalid char"},
		{"NUL", one("a\x00b"), "invalid char"},
		{"Windows device", one("con.txt"), "Windows"},
		{"another module", moduleZip(t, module.Version{Path: "example.com/other", Version: "v1.0.0"}, map[string]string{"a": "x"}), "prefix"},
		{"another version", moduleZip(t, module.Version{Path: "example.com/Quote", Version: "v1.0.1"}, map[string]string{"a": "x"}), "prefix"},
		{"another case", moduleZip(t, module.Version{Path: "example.com/quote", Version: "v1.0.0"}, map[string]string{"a": "x"}), "prefix"},
		{"same name twice", twice("a.go", "a.go"), "multiple entries"},
		{"names that differ in case", twice("a.go", "A.go"), "case-insensitive"},
		{"file and folder", twice("a", "a/b"), "both a file and a directory"},
		{"nested go.mod", one("sub/go.mod"), "not in module root"},
		{"go.mod in capitals", one("GO.MOD"), "lowercase"},
		{"symbolic link", symlink(), "symbolic link"},
		{"declared larger", declare(good, 1<<20), ""},
		{"declared smaller", declare(good, 1), ""},
		{"declared 1 TiB in all", declare(one("big"), 0xfffffffe), "too large"},
		{"go.mod over its limit", declare(one("go.mod"), maxMod+1), "too large"},
		{"bomb over its declared size", declare(bomb, 1000), ""},
		{"flipped byte in the content", flip(good, len(prefix)+60), ""},
		{"flipped byte in the directory", flip(good, bytes.Index(good, []byte("PK\x01\x02"))+30), ""},
		{"zip in a zip", plainZip(t, map[string]string{"inner.zip": string(good)}), "prefix"},
		{"junk after the end", append(bytes.Clone(good), make([]byte, 70000)...), "not a valid zip"},
	}
	s := open(t, t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wantInvalid(t, check(t, s, kindKey(t, quoteV1, Zip), bytes.NewReader(tt.body)), tt.reason)
		})
	}
	if err := check(t, s, kindKey(t, quoteV1, Zip), iotest.OneByteReader(bytes.NewReader(good))); err != nil {
		t.Errorf("a good zip, byte by byte: %v", err)
	}
	wantNoDrafts(t, s)
	wantMiss(t, s, Public, kindKey(t, quoteV1, Zip))
}

func TestBadFiles(t *testing.T) {
	const html = "<!DOCTYPE html>\n<html><body>Please log in</body></html>\n"
	tests := []struct {
		name, key, body, reason string
	}{
		{"info as HTML", "example.com/!quote/@v/v1.0.0.info", html, "an HTML page"},
		{"info empty", "example.com/!quote/@v/v1.0.0.info", "", "not JSON"},
		{"info cut", "example.com/!quote/@v/v1.0.0.info", `{"Version":"v1.0.0"`, "not JSON"},
		{"info of NULs", "example.com/!quote/@v/v1.0.0.info", "\x00\x00\x00", "not JSON"},
		{"info of another version", "example.com/!quote/@v/v1.0.0.info", `{"Version":"v1.0.1"}`, "about version"},
		{"info without version", "example.com/!quote/@v/v1.0.0.info", `{}`, "about version"},
		{"info with a bad time", "example.com/!quote/@v/v1.0.0.info", `{"Version":"v1.0.0","Time":"now"}`, "not JSON"},
		{"info not UTF-8", "example.com/!quote/@v/v1.0.0.info", "{\"Version\":\"v1.0.0\",\"X\":\"\xff\"}", "UTF-8"},
		{"info over its limit", "example.com/!quote/@v/v1.0.0.info", strings.Repeat(" ", maxInfo+1), "more than"},
		{"latest of another major", "example.com/!quote/@latest", `{"Version":"v2.0.0"}`, "not one of this module path"},
		{"latest not canonical", "example.com/!quote/@latest", `{"Version":"v1.0"}`, "not one of this module path"},
		{"query answered by a branch", "example.com/!quote/@v/main.info", `{"Version":"main"}`, "not one of this module path"},
		{"mod as HTML", "example.com/!quote/@v/v1.0.0.mod", html, "an HTML page"},
		{"mod empty", "example.com/!quote/@v/v1.0.0.mod", "", "no module line"},
		{"mod that does not parse", "example.com/!quote/@v/v1.0.0.mod", "module \"x", "go.mod:1"},
		{"mod of NULs", "example.com/!quote/@v/v1.0.0.mod", "\x00\x00", ""},
		{"mod over its limit", "example.com/!quote/@v/v1.0.0.mod", "module x\n" + strings.Repeat("//\n", maxMod/3), "more than"},
		{"list as HTML", "example.com/!quote/@v/list", html, "an HTML page"},
		{"list with junk", "example.com/!quote/@v/list", "v1.0.0\nnot found\n", `"not found" is not a version`},
		{"list of NULs", "example.com/!quote/@v/list", "\x00\x00", "not a version"},
		{"list with an endless line", "example.com/!quote/@v/list", "v1.0.0 " + strings.Repeat("x", 70<<10) + "\n", "a line of 71688 bytes"},
		{"list over its limit", "example.com/!quote/@v/list", strings.Repeat("v1.0.0\n", maxList/7+1), "more than"},
	}
	s := open(t, t.TempDir())
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := key(t, tt.key)
			wantInvalid(t, check(t, s, k, strings.NewReader(tt.body)), tt.reason)
			wantMiss(t, s, Public, k)
		})
	}
	for name, body := range map[string]string{
		"example.com/!quote/@v/v1.0.0.mod": "module example.com/fork\n\nfuture directive\n", // a fork that is replaced to
		"example.com/!quote/@v/list":       "v1.0.0\r\n\n  v1.1.0\n",
		"gopkg.in/yaml.v3/@latest":         `{"Version":"v3.0.1","Future":[1]}`,
	} {
		if err := check(t, s, key(t, name), strings.NewReader(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// pattern makes n bytes of a repeated pattern without holding them.
func pattern(p string, n int64) io.Reader {
	chunk := bytes.Repeat([]byte(p), 1<<16/len(p))
	pr, pw := io.Pipe()
	go func() { // ends when the reader has had n bytes or closes
		for n > 0 {
			part := chunk[:min(n, int64(len(chunk)))]
			if _, err := pw.Write(part); err != nil {
				return
			}
			n -= int64(len(part))
		}
		pw.Close()
	}()
	return pr
}

func TestZipEntriesAreCountedBeforeParsing(t *testing.T) {
	s := open(t, t.TempDir())
	k := kindKey(t, quoteV1, Zip)
	entry := "PK\x01\x02" + strings.Repeat("\x00", 42) + "a"
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	wantInvalid(t, check(t, s, k, pattern(entry, 64<<20)), "more than 200000 files")
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
		t.Errorf("%d bytes allocated", grown)
	}
	// Whatever the cuts between writes are, the count is the same.
	body := strings.Repeat("xPK\x01\x02y", 50)
	for size := 1; size < 20; size++ {
		d, _ := s.Draft(Public, k)
		if _, err := d.ReadFrom(strings.NewReader("")); err != nil {
			t.Fatal(err)
		}
		w := &zipWriter{draft: d}
		for i := 0; i < len(body); i += size {
			if _, err := io.WriteString(w, body[i:min(i+size, len(body))]); err != nil {
				t.Fatal(err)
			}
		}
		if w.entries != 50 {
			t.Errorf("in writes of %d bytes: %d entries, want 50", size, w.entries)
		}
		d.Discard()
	}
}

func TestLargeZipTakesLittleMemory(t *testing.T) {
	s := open(t, t.TempDir())
	k := kindKey(t, quoteV1, Zip)
	name := "example.com/Quote@v1.0.0/big"
	pr, pw := io.Pipe()
	go func() { // ends with the zip
		z := zip.NewWriter(pw)
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = io.Copy(w, pattern("0123456789abcdef", 100<<20))
		}
		pw.CloseWithError(errors.Join(err, z.Close()))
	}()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := check(t, s, k, pr); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
		t.Errorf("%d bytes allocated for a zip of 100 MiB", grown)
	}
}

// The parser of go.mod files takes two hundred times the memory of an odd one.
func TestLargeModTakesLittleMemory(t *testing.T) {
	s := open(t, t.TempDir())
	body := []byte("module example.com/Quote\n" + strings.Repeat("a\n", maxMod/2-64))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := check(t, s, kindKey(t, quoteV1, Mod), bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 12*maxMod {
		t.Errorf("%d bytes allocated for a go.mod of %d", grown, len(body))
	}
}

func TestDraftLifecycle(t *testing.T) {
	s := open(t, t.TempDir())
	k := kindKey(t, quoteV1, Zip)
	body := bodies(t, quoteV1)[Zip]
	d, err := s.Draft(Public, k)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(Meta{}); err == nil || !strings.Contains(err.Error(), "was not checked") {
		t.Errorf("Commit before Check: %v", err)
	}
	cut := io.MultiReader(bytes.NewReader(body[:50]), iotest.ErrReader(io.ErrUnexpectedEOF))
	if _, err := d.ReadFrom(cut); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadFrom of a cut body: %v", err)
	}
	if n, err := d.ReadFrom(bytes.NewReader(body)); err != nil || n != int64(len(body)) { // starts over
		t.Errorf("ReadFrom = %d, %v", n, err)
	}
	if err := d.Check(); err != nil || d.H1() == "" || d.Key() != k {
		t.Fatalf("Check: %v; H1 %q of %s", err, d.H1(), d.Key())
	}
	early, err := d.Entry()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(Meta{Upstream: "test"}); err != nil {
		t.Fatal(err)
	}
	late, err := d.Entry()
	if err != nil {
		t.Fatal(err)
	}
	d.Discard()
	d.Discard()
	for name, e := range map[string]*Entry{"before the commit": early, "after it": late} {
		if got, err := io.ReadAll(e); err != nil || !bytes.Equal(got, body) || e.Tag != quote(d.H1()) {
			t.Errorf("entry opened %s: %d bytes, %v, tag %s", name, len(got), err, e.Tag)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	read(t, s, Public, k)
	wantNoDrafts(t, s)

	d, _ = s.Draft(Public, k)
	d.Discard()
	if e, err := d.Entry(); err == nil {
		t.Errorf("Entry of a discarded draft = %v", e)
	}
	if _, err := s.Draft(Public, Key{}); err == nil {
		t.Error("a draft of the zero key")
	}
}

func TestReplace(t *testing.T) {
	s := open(t, t.TempDir())
	k := key(t, "example.com/a/@v/list")
	for _, merged := range []string{"v1.0.0\nv1.1.0\n", "junk\n"} {
		d, _ := s.Draft(Public, k)
		if _, err := d.ReadFrom(strings.NewReader("v1.1.0\n")); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		d.Replace([]byte(merged))
		if err := d.Commit(Meta{}); (err != nil) != (merged == "junk\n") {
			t.Errorf("Commit of %q: %v", merged, err)
		}
		d.Discard()
	}
	if got, _ := read(t, s, Public, k); string(got) != "v1.0.0\nv1.1.0\n" {
		t.Errorf("got %q", got)
	}
}

func TestOpenSweepsDeadDraftsOnly(t *testing.T) {
	s := open(t, t.TempDir())
	alive, _ := s.Draft(Public, kindKey(t, quoteV1, Zip))
	if _, err := alive.ReadFrom(bytes.NewReader(bodies(t, quoteV1)[Zip])); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"drafts/1-1", "drafts/2-2"} {
		if err := s.disk.root().MkdirAll(name, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := s.disk.root().WriteFile(fmt.Sprintf("%s/%d", name, i), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(s.disk.root().WriteFile("drafts/3", nil, 0o600), s.disk.root().Mkdir("drafts/4-4", 0o700))
	if err != nil {
		t.Fatal(err)
	}
	// Nobody can tell of this one: its lock is a link to itself.
	untold := os.Symlink("lock", filepath.Join(s.Dir(), "drafts", "4-4", "lock")) == nil
	open(t, s.Dir())
	if _, err := os.Lstat(filepath.Join(s.Dir(), "drafts", "4-4")); untold && err != nil {
		t.Errorf("what may be in use is gone: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(s.Dir(), "drafts", "4-4")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(filepath.Join(s.Dir(), "drafts", "3")); err == nil {
		t.Error("a file among the folders is left")
	}
	for name := range tree(t, s.Dir()) {
		if strings.HasPrefix(name, "drafts/1-1") || strings.HasPrefix(name, "drafts/2-2") {
			t.Errorf("%s is left", name)
		}
	}
	if err := errors.Join(alive.Check(), alive.Commit(Meta{})); err != nil {
		t.Errorf("another start broke a draft in use: %v", err)
	}
}

// A draft that is sound may be served before it is in the tree; one that contradicts what
// came first never is.
func TestOnSound(t *testing.T) {
	s := open(t, t.TempDir())
	k := kindKey(t, quoteV1, Mod)
	commit := func(body string) (sound int, err error) {
		d, err := s.Draft(Public, k)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Discard()
		d.OnSound(func() {
			sound++
			if s.disk.exists(fileName(Public, k)) {
				t.Error("the file is there already, so somebody has waited for it")
			}
			entry, err := d.Entry()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(entry); string(got) != body || err != nil || !entry.Meta.Fetched.Equal(d.meta.Fetched) {
				t.Errorf("served %q, %v; want %q", got, err, body)
			}
		})
		if _, err := d.ReadFrom(strings.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		err = d.Commit(Meta{Upstream: "test"})
		return sound, err
	}
	if n, err := commit("module example.com/Quote\n"); n != 1 || err != nil {
		t.Errorf("told %d times, %v; want once", n, err)
	}
	if n, err := commit("module example.com/Quote\n"); n != 0 || err != nil {
		t.Errorf("what is held: told %d times, %v; want never", n, err)
	}
	if err := s.disk.root().Remove(fileName(Public, k)); err != nil {
		t.Fatal(err)
	}
	if n, err := commit("module example.com/Quote // evil\n"); n != 0 || !errors.As(err, new(*ContradictionError)) {
		t.Errorf("another go.mod: told %d times, %v; want never, and a contradiction", n, err)
	}
}
