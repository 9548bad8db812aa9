package cache

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
)

// moduleZip makes the zip of a module from file names without prefix.
func moduleZip(t testing.TB, v module.Version, files map[string]string) []byte {
	t.Helper()
	named := make(map[string]string)
	for name, content := range files {
		named[v.Path+"@"+v.Version+"/"+name] = content
	}
	return plainZip(t, named)
}

func plainZip(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// bodies are the three good files of a version.
func bodies(t testing.TB, v module.Version) map[Kind][]byte {
	mod := "module " + v.Path + "\n"
	return map[Kind][]byte{
		Info: fmt.Appendf(nil, `{"Version":%q,"Time":"2024-05-06T07:08:09Z"}`, v.Version),
		Mod:  []byte(mod),
		Zip:  moduleZip(t, v, map[string]string{"go.mod": mod, "a.go": "package a // " + v.Version + "\n"}),
	}
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func key(t testing.TB, name string) Key {
	t.Helper()
	k, err := ParseKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// fill drafts, checks and commits one answer.
func fill(s *Store, tree Tree, k Key, body []byte, verdict Verdict) error {
	d, err := s.Draft(tree, k)
	if err != nil {
		return err
	}
	defer d.Discard()
	if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
		return err
	}
	if err := d.Check(); err != nil {
		return err
	}
	d.Judge(verdict)
	meta := Meta{Upstream: "test", ETag: `"up"`}
	err = d.Commit(meta)
	if contradiction := (*ContradictionError)(nil); errors.As(err, &contradiction) {
		d.Quarantine(meta, contradiction)
	}
	return err
}

// fillVersion fills the files of a version and returns them.
func fillVersion(t testing.TB, s *Store, tree Tree, v module.Version, kinds ...Kind) map[Kind][]byte {
	t.Helper()
	files := bodies(t, v)
	for _, kind := range kinds {
		if err := fill(s, tree, kindKey(t, v, kind), files[kind], Verified); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func kindKey(t testing.TB, v module.Version, kind Kind) Key {
	t.Helper()
	k, err := NewKey(v.Path, v.Version, kind)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func read(t testing.TB, s *Store, tree Tree, k Key) (body []byte, e *Entry) {
	t.Helper()
	e, err := s.Get(tree, k)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	body, err = io.ReadAll(e)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(body)) != e.Size {
		t.Errorf("%s: read %d bytes, Size is %d", k, len(body), e.Size)
	}
	return body, e
}

func wantMiss(t testing.TB, s *Store, tree Tree, k Key) {
	t.Helper()
	if e, err := s.Get(tree, k); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get(%s, %s) = %v, %v; want a miss", tree, k, e, err)
	}
}

var quoteV1 = module.Version{Path: "example.com/Quote", Version: "v1.0.0"}

func TestGetReturnsWhatWasCommitted(t *testing.T) {
	s := open(t, t.TempDir())
	for _, tree := range []Tree{Public, Private} {
		for _, kind := range []Kind{Info, Mod, Zip} {
			wantMiss(t, s, tree, kindKey(t, quoteV1, kind))
		}
	}
	files := fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	modH1, _ := hashMod(files[Mod])
	zipH1, _ := hashZip(bytes.NewReader(files[Zip]), int64(len(files[Zip])))
	tags := map[Kind]string{Info: bodyTag(files[Info]), Mod: quote(modH1), Zip: quote(zipH1)}
	for range 2 { // from disk, then from memory
		for kind, want := range files {
			got, e := read(t, s, Public, kindKey(t, quoteV1, kind))
			if !bytes.Equal(got, want) || e.Tag != tags[kind] {
				t.Errorf("kind %d: got %d bytes, tag %s; want %d, %s", kind, len(got), e.Tag, len(want), tags[kind])
			}
			if e.ModTime.IsZero() || !e.ModTime.Equal(e.Meta.Fetched) {
				t.Errorf("kind %d: ModTime %v, Fetched %v", kind, e.ModTime, e.Meta.Fetched)
			}
		}
	}
	m, err := s.VersionMeta(quoteV1)
	if err != nil {
		t.Fatal(err)
	}
	m.Fetched = time.Time{}
	if diff := cmp.Diff(Meta{Upstream: "test", ETag: `"up"`, H1: zipH1, GoModH1: modH1, Verdict: Verified}, m); diff != "" {
		t.Errorf("VersionMeta (-want +got):\n%s", diff)
	}
	hash, err := os.ReadFile(filepath.Join(s.Dir(), "download/example.com/!quote/@v/v1.0.0.ziphash"))
	if err != nil || string(hash) != zipH1 {
		t.Errorf(".ziphash = %q, %v; want %q", hash, err, zipH1)
	}
	if _, err := s.VersionMeta(module.Version{Path: "example.com/Quote", Version: "v1.0.1"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("VersionMeta of an unknown version: %v", err)
	}
}

func TestZipContentIsAFile(t *testing.T) {
	s := open(t, t.TempDir())
	fillVersion(t, s, Public, quoteV1, Zip)
	_, e := read(t, s, Public, kindKey(t, quoteV1, Zip))
	if _, ok := e.Content().(*os.File); !ok {
		t.Errorf("Content() is a %T, want an *os.File for sendfile", e.Content())
	}
}

func TestMutableAnswers(t *testing.T) {
	s := open(t, t.TempDir())
	for name, body := range map[string]string{
		"example.com/a/@v/list":          "v1.0.0\nv1.1.0 2024-05-06T07:08:09Z\n",
		"example.com/empty/@v/list":      "",
		"example.com/a/@latest":          `{"Version":"v1.1.0","Origin":{"Hash":"abc"}}`,
		"example.com/a/@v/main.info":     `{"Version":"v1.1.1-0.20240506070809-0123456789ab"}`,
		"example.com/a/@v/v1.info":       `{"Version":"v1.1.0", "X": "<&>\u2028"}`,
		"example.com/old/@v/latest.info": `{"Version":"v3.0.0+incompatible"}`,
	} {
		k := key(t, name)
		for _, tree := range []Tree{Public, Private} {
			wantMiss(t, s, tree, k)
			if err := fill(s, tree, k, []byte(body), ""); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for range 2 {
				got, e := read(t, s, tree, k)
				if string(got) != body || e.Meta.Status != 200 || e.Meta.ETag != `"up"` {
					t.Errorf("%s: got %q, %+v", name, got, e.Meta)
				}
			}
		}
	}
	k := key(t, "example.com/a/@latest")
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	if err := s.Touch(Public, k, at); err != nil {
		t.Fatal(err)
	}
	body, e := read(t, s, Public, k)
	if !e.Meta.Fetched.Equal(at) || e.Meta.OriginHash != "abc" || len(body) == 0 {
		t.Errorf("after Touch: %+v, %q", e.Meta, body)
	}
	if _, e := read(t, s, Private, k); e.Meta.Fetched.Equal(at) {
		t.Error("Touch reached the other tree")
	}
	if err := s.Touch(Public, key(t, "example.com/b/@latest"), at); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Touch of a miss: %v", err)
	}
}

func TestNegative(t *testing.T) {
	s := open(t, t.TempDir())
	info := kindKey(t, quoteV1, Info)
	for _, k := range []Key{key(t, "example.com/a/@latest"), info} {
		if err := s.Negative(Public, k, Meta{Status: 410, Upstream: "test"}); err != nil {
			t.Fatal(err)
		}
		body, e := read(t, s, Public, k)
		if e.Meta.Found() || e.Meta.Status != 410 || len(body) != 0 || e.Meta.Fetched.IsZero() {
			t.Errorf("%s: got %+v, %q", k, e.Meta, body)
		}
	}
	if err := s.Negative(Private, info, Meta{Status: 404}); err != nil {
		t.Fatal(err)
	}
	wantMiss(t, s, Private, info) // neither its own nor the public one
	files := fillVersion(t, s, Public, quoteV1, Info)
	if got, _ := read(t, s, Public, info); !bytes.Equal(got, files[Info]) {
		t.Errorf("after a commit: %q", got)
	}
	if err := s.Negative(Public, info, Meta{Status: 404}); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, s, Public, info); !bytes.Equal(got, files[Info]) {
		t.Errorf("a negative hides a held file: %q", got)
	}
}

func TestHeldAndKnown(t *testing.T) {
	s := open(t, t.TempDir())
	version := func(v string) module.Version { return module.Version{Path: quoteV1.Path, Version: v} }
	wantHeld := func(tree Tree, want ...string) {
		t.Helper()
		got, err := s.Held(tree, quoteV1.Path)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("Held(%s) = %q, %v; want %q", tree, got, err, want)
		}
	}
	wantList := func(tree Tree, want string) {
		t.Helper()
		got, err := os.ReadFile(filepath.Join(s.Dir(), string(tree), "example.com/!quote/@v/list"))
		if err != nil && want != "" || string(got) != want {
			t.Errorf("list in %s = %q, %v; want %q", tree, got, err, want)
		}
	}
	wantHeld(Public)
	if s.Known(Public, quoteV1.Path) || s.Known(Private, quoteV1.Path) || s.Known(Public, "not a path") {
		t.Error("known before anything is held")
	}
	fillVersion(t, s, Public, version("v1.10.0"), Zip, Mod)
	wantHeld(Public)
	wantList(Public, "")
	if !s.Known(Public, quoteV1.Path) || !s.Known(Private, quoteV1.Path) {
		t.Error("not known with files held")
	}
	fillVersion(t, s, Public, version("v1.10.0"), Info)
	fillVersion(t, s, Public, version("v1.2.0"), Info, Mod, Zip)
	fillVersion(t, s, Public, version("v1.3.0"), Info, Mod)
	wantHeld(Public, "v1.2.0", "v1.10.0")
	wantList(Public, "v1.2.0\nv1.10.0\n")
	fillVersion(t, s, Private, version("v1.3.0"), Zip)
	fillVersion(t, s, Private, version("v1.4.0-RC1"), Info, Mod, Zip)
	wantHeld(Public, "v1.2.0", "v1.10.0")
	wantHeld(Private, "v1.2.0", "v1.3.0", "v1.4.0-RC1", "v1.10.0")
	wantList(Private, "v1.4.0-RC1\n")

	for _, status := range []int{404, 200} {
		if err := s.Negative(Public, key(t, "example.com/b/@v/list"), Meta{Status: 404}); err != nil {
			t.Fatal(err)
		}
		if status == 200 {
			if err := fill(s, Public, key(t, "example.com/b/@v/list"), nil, ""); err != nil {
				t.Fatal(err)
			}
		}
		if got, want := s.Known(Public, "example.com/b"), status == 200; got != want {
			t.Errorf("after a list of status %d: Known = %v", status, got)
		}
	}
}

func TestCameFrom(t *testing.T) {
	s := open(t, t.TempDir())
	if s.CameFrom("", quoteV1.Path) || s.CameFrom("direct", "not a path") {
		t.Error("something came before anything did")
	}
	k := kindKey(t, quoteV1, Mod)
	d, err := s.Draft(Public, k)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadFrom(bytes.NewReader(bodies(t, quoteV1)[Mod])); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(d.Check(), d.Commit(Meta{Upstream: "direct"})); err != nil {
		t.Fatal(err)
	}
	for upstream, want := range map[string]bool{"direct": true, "https://mirror.example": false} {
		if got := s.CameFrom(upstream, quoteV1.Path); got != want {
			t.Errorf("CameFrom(%s) = %v, want %v", upstream, got, want)
		}
	}
	if s.CameFrom("direct", "example.com") {
		t.Error("what is above a module came from direct")
	}
}

func TestPrivateReadsPublicButDoesNotWriteThere(t *testing.T) {
	s := open(t, t.TempDir())
	files := fillVersion(t, s, Public, quoteV1, Zip)
	before := tree(t, filepath.Join(s.Dir(), "download"))
	if got, _ := read(t, s, Private, kindKey(t, quoteV1, Zip)); !bytes.Equal(got, files[Zip]) {
		t.Error("a private miss does not read the public tree")
	}
	fillVersion(t, s, Private, quoteV1, Info, Mod, Zip)
	fillVersion(t, s, Private, module.Version{Path: quoteV1.Path, Version: "v1.1.0"}, Info, Mod, Zip)
	if err := fill(s, Private, key(t, "example.com/!quote/@v/list"), []byte("v1.0.0\n"), ""); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, tree(t, filepath.Join(s.Dir(), "download"))); diff != "" {
		t.Errorf("private commits changed the public tree:\n%s", diff)
	}
	wantMiss(t, s, Public, kindKey(t, quoteV1, Info))
	wantMiss(t, s, Public, key(t, "example.com/!quote/@v/list"))
}

// tree returns the content of all files below dir.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		rel, _ := filepath.Rel(dir, name)
		files[filepath.ToSlash(rel)] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestVerdicts(t *testing.T) {
	s := open(t, t.TempDir())
	want := func(verdict Verdict, marked bool) {
		t.Helper()
		m, err := s.VersionMeta(quoteV1)
		if err != nil || m.Verdict != verdict {
			t.Errorf("verdict %q, %v; want %q", m.Verdict, err, verdict)
		}
		got, err := s.Unverified()
		if err != nil || slices.Contains(got, quoteV1) != marked {
			t.Errorf("Unverified() = %v, %v; want marked %v", got, err, marked)
		}
	}
	files := bodies(t, quoteV1)
	commit := func(kind Kind, verdict Verdict) {
		t.Helper()
		if err := fill(s, Public, kindKey(t, quoteV1, kind), files[kind], verdict); err != nil {
			t.Fatal(err)
		}
	}
	commit(Info, "")
	want("", false)
	commit(Mod, Verified)
	want(Verified, false)
	withoutZip, _ := s.VersionMeta(quoteV1)
	commit(Zip, Unverified)
	want(Unverified, true)
	commit(Mod, Verified) // says nothing about the zip
	want(Unverified, true)
	whole, _ := s.VersionMeta(quoteV1)
	set := func(judged Meta, verdict Verdict, want bool) {
		t.Helper()
		if got, err := s.SetVerdict(quoteV1, judged, verdict); got != want || err != nil {
			t.Errorf("SetVerdict: got %v, %v; want %v", got, err, want)
		}
	}
	set(withoutZip, Verified, false) // nobody has compared the zip
	want(Unverified, true)
	set(whole, Verified, true)
	want(Verified, false)
	set(whole, Unverified, true)
	want(Unverified, true)
	if _, err := s.SetVerdict(module.Version{Path: "example.com/no", Version: "v1.0.0"}, Meta{}, Verified); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SetVerdict of an unknown version: %v", err)
	}
}

func TestTornFiles(t *testing.T) {
	nuls := make([]byte, 200)
	for _, torn := range [][]byte{nil, nuls, []byte(`{"meta":{"upstr`), []byte("{\"meta\":{},\"body\":\"v1\x00\x00\"}")} {
		t.Run(fmt.Sprintf("%.20q", torn), func(t *testing.T) {
			s := open(t, t.TempDir())
			k := key(t, "example.com/a/@v/list")
			if err := fill(s, Public, k, []byte("v1.0.0\n"), ""); err != nil {
				t.Fatal(err)
			}
			files := fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
			before, err := s.VersionMeta(quoteV1)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{recordName(Public, k), ledgerName(kindKey(t, quoteV1, Info)), fileName(Public, kindKey(t, quoteV1, Zip)) + "hash"} {
				if err := os.WriteFile(filepath.Join(s.Dir(), name), torn, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			wantMiss(t, s, Public, k)
			for _, s := range []*Store{s, open(t, s.Dir())} {
				m, err := s.VersionMeta(quoteV1)
				if err != nil || m.H1 != before.H1 || m.GoModH1 != before.GoModH1 || m.Verdict != Unverified {
					t.Errorf("VersionMeta = %+v, %v; want the hashes of %+v, unverified", m, err, before)
				}
				if got, e := read(t, s, Public, kindKey(t, quoteV1, Zip)); !bytes.Equal(got, files[Zip]) || e.Tag != quote(before.H1) {
					t.Errorf("zip: %d bytes, tag %s", len(got), e.Tag)
				}
			}
			if hash, _ := os.ReadFile(filepath.Join(s.Dir(), fileName(Public, kindKey(t, quoteV1, Zip))+"hash")); string(hash) != before.H1 {
				t.Errorf(".ziphash = %q, want it mended", hash)
			}
			if got, _ := s.Unverified(); !slices.Contains(got, quoteV1) {
				t.Error("a version whose ledger was lost is not checked again")
			}
		})
	}
}

func TestLedgerWithoutFiles(t *testing.T) {
	s := open(t, t.TempDir())
	files := fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	if err := os.RemoveAll(filepath.Join(s.Dir(), "download")); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []Kind{Info, Mod, Zip} {
		wantMiss(t, s, Public, kindKey(t, quoteV1, kind)) // noticed although it was in memory
	}
	other := moduleZip(t, quoteV1, map[string]string{"go.mod": "module example.com/Quote\n", "b.go": "package b\n"})
	var contradiction *ContradictionError
	if err := fill(s, Public, kindKey(t, quoteV1, Zip), other, Verified); !errors.As(err, &contradiction) {
		t.Errorf("other bytes of an earlier version: %v", err)
	}
	if err := fill(s, Public, kindKey(t, quoteV1, Zip), files[Zip], Verified); err != nil {
		t.Errorf("the same bytes again: %v", err)
	}
}

func TestContradiction(t *testing.T) {
	s := open(t, t.TempDir())
	files := fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	other := map[Kind][]byte{
		Mod: []byte("module example.com/Quote\n\ngo 1.20\n"),
		Zip: moduleZip(t, quoteV1, map[string]string{"go.mod": "module example.com/Quote\n", "a.go": "package evil\n"}),
	}
	for range 3 { // the same bytes are kept once
		for _, tree := range []Tree{Public, Private} { // one ledger for both
			for kind, body := range other {
				err := fill(s, tree, kindKey(t, quoteV1, kind), body, Verified)
				var contradiction *ContradictionError
				if !errors.As(err, &contradiction) || contradiction.Got == contradiction.Want || contradiction.Authority != "first download from test" {
					t.Errorf("kind %d in %s: %v", kind, tree, err)
				}
				if got, _ := read(t, s, tree, kindKey(t, quoteV1, kind)); !bytes.Equal(got, files[kind]) {
					t.Errorf("kind %d in %s: the old bytes are gone", kind, tree)
				}
			}
		}
	}
	if err := fill(s, Public, kindKey(t, quoteV1, Info), []byte(`{"Version":"v1.0.0"}`), ""); err != nil {
		t.Errorf("an .info may differ between upstreams: %v", err)
	}
	if got, _ := read(t, s, Public, kindKey(t, quoteV1, Info)); !bytes.Equal(got, files[Info]) {
		t.Errorf("the first .info is gone: %s", got)
	}
	notes, err := s.Quarantined()
	if err != nil || len(notes) != 2 {
		t.Fatalf("Quarantined() = %+v, %v; want 2 notes", notes, err)
	}
	for _, q := range notes {
		if q.Module != quoteV1.Path || q.Version != "v1.0.0" || q.Upstream != "test" || q.Got == q.Want || q.Want == "" || q.At.IsZero() {
			t.Errorf("note %+v", q)
		}
		kept, err := os.ReadFile(filepath.Join(s.Dir(), q.name()+".bytes"))
		if want := other[key(t, q.Key).Kind()]; err != nil || !bytes.Equal(kept, want) {
			t.Errorf("kept %d bytes, %v; want %d", len(kept), err, len(want))
		}
	}
	wantNoDrafts(t, s)
}

func wantNoDrafts(t testing.TB, s *Store) {
	t.Helper()
	for name := range tree(t, filepath.Join(s.Dir(), "drafts")) {
		if !strings.HasSuffix(name, "/lock") {
			t.Errorf("draft left: %s", name)
		}
	}
}

func TestEvict(t *testing.T) {
	s := open(t, t.TempDir())
	next := module.Version{Path: quoteV1.Path, Version: "v1.1.0"}
	fillVersion(t, s, Public, next, Info, Mod, Zip)
	fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	fillVersion(t, s, Private, quoteV1, Zip)
	other := open(t, s.Dir())
	for _, s := range []*Store{s, other} { // in memory
		read(t, s, Public, kindKey(t, quoteV1, Mod))
		read(t, s, Public, kindKey(t, quoteV1, Zip))
	}
	meta, err := s.VersionMeta(quoteV1)
	if err != nil {
		t.Fatal(err)
	}
	if set, err := s.SetVerdict(quoteV1, meta, Unverified); !set || err != nil {
		t.Fatalf("got verdict set %v, %v", set, err)
	}
	if err := s.Evict(quoteV1, "the database has another hash"); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Store{s, other} {
		for _, kind := range []Kind{Info, Mod, Zip} {
			wantMiss(t, s, Public, kindKey(t, quoteV1, kind))
			wantMiss(t, s, Private, kindKey(t, quoteV1, kind))
		}
		read(t, s, Public, kindKey(t, next, Zip))
	}
	if got, err := s.Held(Private, quoteV1.Path); err != nil || !slices.Equal(got, []string{"v1.1.0"}) {
		t.Errorf("Held = %q, %v", got, err)
	}
	if got := tree(t, filepath.Join(s.Dir(), "download"))["example.com/!quote/@v/list"]; got != "v1.1.0\n" {
		t.Errorf("list = %q", got)
	}
	if m, err := s.VersionMeta(quoteV1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("VersionMeta = %+v, %v; want it forgotten", m, err)
	}
	if got, err := s.Unverified(); err != nil || len(got) != 0 {
		t.Errorf("Unverified = %v, %v", got, err)
	}
	if notes, err := s.Quarantined(); err != nil || len(notes) != 3 {
		t.Errorf("Quarantined = %+v, %v; want 3 notes", notes, err)
	}
	if err := s.Evict(quoteV1, "again"); err != nil {
		t.Errorf("Evict of what is gone: %v", err)
	}
	right := moduleZip(t, quoteV1, map[string]string{"go.mod": "module example.com/Quote\n", "right.go": "package right\n"})
	if err := fill(s, Public, kindKey(t, quoteV1, Zip), right, Verified); err != nil {
		t.Errorf("the right bytes after an eviction: %v", err)
	}
}

// A full disk must not keep wrong bytes in use: neither a draft that the database
// contradicts nor a version that a recheck does.
func TestRefuseOnAFullDisk(t *testing.T) {
	s := open(t, t.TempDir())
	files := fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	drafts := make(map[Kind]*Draft)
	for kind, body := range files {
		d, _ := s.Draft(Private, kindKey(t, quoteV1, kind))
		if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		drafts[kind] = d
	}
	s.disk.fault = func() error { return syscall.ENOSPC }
	for kind, d := range drafts {
		d.Quarantine(Meta{}, &ContradictionError{Key: d.Key()})
		if e, err := d.Entry(); err == nil {
			t.Errorf("kind %d: a refused draft opens: %v", kind, e)
		}
	}
	if err := s.Evict(quoteV1, "test"); err != nil {
		t.Error(err)
	}
	for kind := range files {
		wantMiss(t, s, Public, kindKey(t, quoteV1, kind))
	}
	s.disk.fault = nil
	wantNoDrafts(t, s)
	for name := range tree(t, s.Dir()) {
		if strings.Contains(name, "v1.0.0") || strings.HasSuffix(name, "/list") || strings.HasPrefix(name, quarantineDir) {
			t.Errorf("left: %s", name)
		}
	}
}

func TestQuarantineIsBounded(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range quarantineNotes + 5 {
		d, _ := s.Draft(Public, key(t, fmt.Sprintf("example.com/m%d/@v/v1.0.0.info", i)))
		if _, err := d.ReadFrom(strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		d.Quarantine(Meta{Upstream: "test"}, &ContradictionError{Key: d.Key(), Want: "h1:other"})
	}
	notes, err := s.Quarantined()
	if err != nil || len(notes) != quarantineNotes {
		t.Fatalf("%d notes, %v; want %d", len(notes), err, quarantineNotes)
	}
	if notes[0].Module == "example.com/m0" || notes[len(notes)-1].Module != fmt.Sprintf("example.com/m%d", quarantineNotes+4) {
		t.Errorf("kept %s to %s, want the newest", notes[0].Module, notes[len(notes)-1].Module)
	}
	if files := tree(t, filepath.Join(s.Dir(), quarantineDir)); len(files) != 2*quarantineNotes {
		t.Errorf("%d files", len(files))
	}
}

// What lost its note with the power goes: it would count for no bound.
func TestQuarantineWithoutNotes(t *testing.T) {
	s := open(t, t.TempDir())
	folder := filepath.Join(s.Dir(), quarantineDir)
	if err := os.Mkdir(folder, folderMode); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-24 * time.Hour)
	for name, content := range map[string]string{"aa.bytes": "x", "aa.json": "", "bb.bytes": "x", "cc.bytes": "x", "cc.json": "{}\n"} {
		name = filepath.Join(folder, name)
		if err := errors.Join(os.WriteFile(name, []byte(content), fileMode), os.Chtimes(name, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	d, _ := s.Draft(Public, kindKey(t, quoteV1, Info))
	if _, err := d.ReadFrom(strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	d.Quarantine(Meta{Upstream: "test"}, &ContradictionError{Key: d.Key(), Want: "h1:other"})
	files := tree(t, folder)
	for name := range files {
		if strings.HasPrefix(name, "aa.") || strings.HasPrefix(name, "bb.") {
			t.Errorf("left: %s", name)
		}
	}
	if len(files) != 4 {
		t.Errorf("%d files, want two notes with their bytes", len(files))
	}
	wantNoDrafts(t, s)
}

func TestFullDisk(t *testing.T) {
	s := open(t, t.TempDir())
	held := fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	next := module.Version{Path: quoteV1.Path, Version: "v1.1.0"}
	files := bodies(t, next)
	before := tree(t, s.Dir())
	noSpace := func() error { return &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC} }

	wantFull := func(err error) {
		t.Helper()
		var full *FullError
		if !errors.As(err, &full) || full.Dir != s.Dir() || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v, want a FullError of %s", err, s.Dir())
		}
	}
	for _, kind := range []Kind{Info, Mod, Zip, List} {
		k, body := kindKey(t, next, kind), files[kind]
		d, err := s.Draft(Public, k)
		if err != nil {
			t.Fatal(err)
		}
		if kind != Zip { // a zip is on the disk by then
			s.disk.fault = noSpace
		}
		if _, err := d.ReadFrom(bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		s.disk.fault = noSpace
		wantFull(d.Commit(Meta{Upstream: "test"}))
		e, err := d.Entry()
		if err != nil {
			t.Fatal(err)
		}
		d.Discard()
		if got, err := io.ReadAll(e); err != nil || !bytes.Equal(got, body) || e.Size != int64(len(body)) || e.Meta.Upstream != "test" {
			t.Errorf("draft of %s: %d bytes, %v; want %d", k, len(got), err, len(body))
		}
		for kind, want := range held { // hits go on
			if got, _ := read(t, s, Public, kindKey(t, quoteV1, kind)); !bytes.Equal(got, want) {
				t.Errorf("held kind %d changed", kind)
			}
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		s.disk.fault = nil
	}
	s.disk.fault = noSpace
	d, _ := s.Draft(Public, kindKey(t, next, Zip))
	_, err := d.ReadFrom(bytes.NewReader(files[Zip]))
	wantFull(err)
	d.Discard()
	wantFull(s.Negative(Public, key(t, "example.com/b/@latest"), Meta{Status: 404}))
	s.disk.fault = nil
	after := tree(t, s.Dir())
	for _, files := range []map[string]string{before, after} {
		maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasPrefix(name, lockDir) })
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("a full disk changed the cache:\n%s", diff)
	}
	fillVersion(t, s, Public, next, Info, Mod, Zip) // there is space again
}

// A disk that fills at the n-th write leaves whole files, whatever n is.
func TestDiskFullAnywhere(t *testing.T) {
	files := bodies(t, quoteV1)
	for n := range 40 {
		s := open(t, t.TempDir())
		writes := 0
		s.disk.fault = func() error {
			if writes++; writes > n {
				return syscall.ENOSPC
			}
			return nil
		}
		for _, kind := range []Kind{Info, Mod, Zip} {
			var full *FullError
			if err := fill(s, Public, kindKey(t, quoteV1, kind), files[kind], Unverified); err != nil && !errors.As(err, &full) {
				t.Fatalf("n=%d: %v", n, err)
			}
		}
		s.disk.fault = nil
		wantNoDrafts(t, s)
		wantWhole(t, s, Public)
		fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	}
}

// wantWhole checks what must hold of a tree at any moment: files are whole, have the
// hash that the ledger says, and the list names no version that lacks a file.
func wantWhole(t testing.TB, s *Store, tr Tree) {
	t.Helper()
	for name, content := range tree(t, s.Dir()) {
		rel, ok := strings.CutPrefix(name, string(tr)+"/")
		if !ok || strings.HasSuffix(name, ".ziphash") {
			continue
		}
		k := key(t, rel)
		if k.Kind() == List {
			for line := range strings.Lines(content) {
				for _, kind := range []Kind{Info, Mod, Zip} {
					k, err := NewKey(k.Module().Path, strings.TrimSpace(line), kind)
					if err != nil || !s.disk.exists(fileName(tr, k)) {
						t.Errorf("%s names %q, which has no %s", name, line, k)
					}
				}
			}
			continue
		}
		v := k.Module()
		if want := bodies(t, v)[k.Kind()]; content != string(want) {
			t.Errorf("%s has %d bytes, want %d", name, len(content), len(want))
		}
		if m, err := s.VersionMeta(v); k.Kind() != Info && (err != nil || k.Kind() == Zip && m.H1 == "" || k.Kind() == Mod && m.GoModH1 == "") {
			t.Errorf("ledger of %s: %+v, %v", name, m, err)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	shared := filepath.Join(dir, "shared")
	if err := errors.Join(os.Mkdir(shared, 0o700), os.Chmod(shared, 0o777)); err != nil {
		t.Fatal(err)
	}
	for dir, hint := range map[string]string{file: "gomirror config set cache.dir", shared: "chmod go-w " + shared} {
		s, err := Open(Options{Dir: dir})
		if err == nil {
			s.Close()
			t.Errorf("Open(%s) succeeds", dir)
			continue
		}
		var hinted interface{ Hint() string }
		if !strings.Contains(err.Error(), dir) || !errors.As(err, &hinted) || !strings.Contains(hinted.Hint(), hint) {
			t.Errorf("Open(%s): %v; want the folder and a hint with %q", dir, err, hint)
		}
	}
}

func TestCacheRemovedWhileOpen(t *testing.T) {
	s := open(t, t.TempDir())
	fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	folders, err := os.ReadDir(s.Dir())
	for _, folder := range folders {
		err = errors.Join(err, os.RemoveAll(filepath.Join(s.Dir(), folder.Name())))
	}
	if err != nil {
		t.Fatal(err)
	}
	wantMiss(t, s, Public, kindKey(t, quoteV1, Mod))
	fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	read(t, s, Public, kindKey(t, quoteV1, Zip))
}

// The go command reads the tree with gomirror gone.
func TestTreeIsAFileProxy(t *testing.T) {
	s := open(t, t.TempDir())
	fillVersion(t, s, Public, quoteV1, Info, Mod, Zip)
	fillVersion(t, s, Public, module.Version{Path: quoteV1.Path, Version: "v1.1.0"}, Info, Mod) // newer, but not whole
	s.Close()
	dir, modCache := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module example.com/main\n\ngo 1.20\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOPROXY=file://"+filepath.ToSlash(filepath.Join(s.Dir(), "download")), "GOSUMDB=off", "GONOSUMDB=*", "GOFLAGS=-mod=mod -modcacherw",
			"GOMODCACHE="+modCache, "GOENV=off", "GOWORK=off", "GOTOOLCHAIN=local", "GOPRIVATE=", "GONOPROXY=none", "GOVCS=*:off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("get", "example.com/Quote@latest")
	run("mod", "download")
	if got := run("list", "-m", "all"); !strings.Contains(got, "example.com/Quote v1.0.0") {
		t.Errorf("go list -m all: %s", got)
	}
	m, err := open(t, s.Dir()).VersionMeta(quoteV1)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	want := fmt.Sprintf("example.com/Quote v1.0.0 %s\nexample.com/Quote v1.0.0/go.mod %s\n", m.H1, m.GoModH1)
	if err != nil || string(sum) != want {
		t.Errorf("go.sum = %q, %v; want %q", sum, err, want)
	}
	const name = "cache/download/example.com/!quote/@v/v1.0.0.ziphash"
	if ours, theirs := tree(t, s.Dir())[strings.TrimPrefix(name, "cache/")], tree(t, modCache)[name]; ours != theirs || ours == "" {
		t.Errorf(".ziphash is %q, the go command writes %q", ours, theirs)
	}
}

func TestHashZipIsDirhash(t *testing.T) {
	body := bodies(t, quoteV1)[Zip]
	file := filepath.Join(t.TempDir(), "x.zip")
	if err := os.WriteFile(file, body, 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := dirhash.HashZip(file, dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := hashZip(bytes.NewReader(body), int64(len(body))); err != nil || got != want {
		t.Errorf("hashZip = %s, %v; want %s", got, err, want)
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, b.TempDir())
	v := module.Version{Path: "github.com/BurntSushi/toml", Version: "v1.5.0"}
	fillVersion(b, s, Public, v, Info, Mod, Zip)
	list := key(b, "github.com/!burnt!sushi/toml/@v/list")
	if err := fill(s, Public, list, []byte(strings.Repeat("v1.0.0\n", 50)), ""); err != nil {
		b.Fatal(err)
	}
	for name, k := range map[string]Key{"info": kindKey(b, v, Info), "mod": kindKey(b, v, Mod), "zip": kindKey(b, v, Zip), "list": list} {
		for _, memory := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/memory=%v", name, memory), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if !memory {
						s.recent.lru.Purge()
					}
					e, err := s.Get(Public, k)
					if err != nil {
						b.Fatal(err)
					}
					e.Close()
				}
			})
		}
	}
}
